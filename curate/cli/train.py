"""`curate train`: from a run or a file to a trained model, or only the check before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.cli.flags import Debug, Shape, methods_that_begin, runs_that_begin
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.train.pace import Listener, TrainingProgress


def command(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="sft, dpo, reward, kto, orpo, simpo, rrhf, pro, coh, cloning, grpo, rloo, ppo, or "
            "scar.",
            autocompletion=methods_that_begin,
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A run, or data.", autocompletion=runs_that_begin),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="MODEL", help="A folder, a name on the Hugging Face Hub, or local."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", metavar="DIR", help="The folder of the trained model.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings that differ from the defaults."),
    ] = None,
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Check data, tokens and memory; train nothing.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Let warnings of the check stop training, too.")
    ] = False,
    reward: Annotated[
        str | None,
        typer.Option(
            "--reward",
            metavar="DIR|FILE.py:NAME",
            help="Of grpo, rloo and ppo: a trained reward model, or a function.",
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Also write model and adapter as one, in DIR/merged.")
    ] = False,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, metavar="N", help="End after N steps.")
    ] = None,
    shape: Shape = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another training in the folder.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Train a model on a run or a file: SFT, DPO, reward models, reinforcement, SCAR."""
    from curate.train.describe import summary_text
    from curate.train.job import Job
    from curate.train.preflight import described, memory_text
    from curate.train.settings import method_called, settings_for
    from curate.train.training import prepare, train

    if output is None and not check_only:
        raise UsageError("name the folder of the trained model: -o DIR (or add --check-only)")
    if method == "scar":
        if reward is not None or merge:
            raise UsageError("scar takes no --reward and no --merge; leave them out")
        _train_scar(data, model, output, config, max_steps, shape, check_only, replace)
        return
    way = method_called(method)
    settings = settings_for(way, config, max_steps=max_steps)
    job = Job(way, settings, data, model, output or Path(), reward, shape, merge, replace)
    prepared = prepare(job)
    typer.echo(described(prepared.checked.findings), err=not check_only)
    figures, memory = prepared.checked.figures, prepared.checked.memory
    if figures:
        rows, tokens, longest = (int(figures[name]) for name in ("rows", "tokens", "longest"))
        said = (
            f"{rows:,} rows ({len(prepared.checked.held_out):,} held out), {tokens:,} tokens, "
            f"{figures['supervised_share']:.1%} of them learnt, the longest row {longest:,}"
        )
        said += f"\nmemory: {memory_text(memory)}" if memory is not None else ""
    else:
        said = "nothing to train on"
    typer.echo(said, err=not check_only)
    if prepared.checked.stops(strict=strict):
        found = [f.code for f in prepared.checked.findings if f.severity != "note"]
        raise UsageError(f"the check stops training: {', '.join(found)}; see above what helps")
    if check_only:
        return
    with _shown() as listener:
        report = train(job, prepared, listener)
    typer.echo(summary_text(report))
    typer.echo(f"written to {output}; its card is {job.out / 'README.md'}")


def _train_scar(
    data: str,
    model: str,
    output: Path | None,
    config: Path | None,
    max_steps: int | None,
    shape: str | None,
    check_only: bool,
    replace: bool,
) -> None:
    """Train a style ranker on triples."""
    from curate.train.job import RankerJob
    from curate.train.settings import ranker_settings_for, require_packages

    require_packages("torch", "transformers", "safetensors")
    from curate.train.ranker import prepare_ranker, ranker_summary, train_ranker

    changes = {} if max_steps is None else {"max_steps": max_steps}
    settings = ranker_settings_for(config, **changes)
    job = RankerJob(settings, data, model, output or Path(), shape, replace)
    prepared = prepare_ranker(job)
    lines = [f"{count:,} {name}" for name, count in prepared.figures.items()]
    typer.echo("\n".join(lines), err=not check_only)
    if check_only:
        return
    with _shown() as listener:
        report = train_ranker(job, prepared, listener)
    typer.echo(ranker_summary(report))
    typer.echo(f"written to {output}; rank with it: curate filter DATA scar --model scar:{output}")


@contextmanager
def _shown() -> Iterator[Listener]:
    """Give a listener that shows progress on stderr: a line, or one every few seconds in a log."""
    import sys
    import time

    from curate.cli.progress import PLAIN_SECONDS

    live, last = sys.stderr.isatty(), time.monotonic()

    def listener(progress: TrainingProgress) -> None:
        nonlocal last
        now = time.monotonic()
        if live:
            typer.echo(f"\r\x1b[K{progress_text(progress)}", err=True, nl=False)
        elif now - last >= PLAIN_SECONDS:
            last = now
            typer.echo(progress_text(progress), err=True)

    yield listener
    if live:
        typer.echo(err=True)


def progress_text(progress: TrainingProgress) -> str:
    """Return step, loss or reward, speed and the time left in one line."""
    from curate.cli.progress import clock

    parts = [f"step {progress.step:,} of {progress.steps:,}"]
    for name in ("loss", "reward", "rewards/accuracies", "accuracy", "eval_accuracy", "kl"):
        if name in progress.metrics:
            parts.append(f"{name} {progress.metrics[name]:.4f}")
    parts.append(f"{progress.tokens_per_second:,.0f} tokens/s")
    if progress.seconds_left is not None:
        parts.append(f"{clock(progress.seconds_left)} left")
    return " | ".join(parts)
