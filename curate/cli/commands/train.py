"""`curate train`: from a run or a file to a trained model, or only the check before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.flags import Debug, Shape, methods_that_begin, runs_that_begin, share
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.step import Filter
    from curate.train.pace import Listener, TrainingProgress
    from curate.train.preflight import Checked


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
        bool, typer.Option("--strict", help="Stop on warnings of the check, too.")
    ] = False,
    reward: Annotated[
        str | None,
        typer.Option(
            "--reward",
            metavar="REWARD",
            help="What scores the answers, for grpo, rloo, ppo and "
            "--rounds: DIR of a reward model, "
            "FILE.py:FUNCTION, a step (verify:number), or, with --rounds, RECIPE.yaml.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            min=1,
            metavar="N",
            help="Sample answers to the prompts of DATA, score them, train on the best or on "
            "pairs, and do so N times, each from the model before (sft, dpo, kto, orpo, simpo).",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", metavar="MODEL", help="With --rounds: the model that a scoring step asks."
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            "--max-cost", min=0, metavar="USD", help="Never spend more on all rounds together."
        ),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(
            "--max-requests", min=0, metavar="N", help="Never send more in all rounds together."
        ),
    ] = None,
    allow_failed: Annotated[
        float,
        typer.Option(
            "--allow-failed",
            parser=share,
            metavar="SHARE",
            help="Rows of a round that may fail, such as answers that are cut off.",
        ),
    ] = 0.5,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", metavar="DIR", help="The folder of stored replies (default: .curate)."
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="Also write the model with the adapter merged, to DIR/merged."
        ),
    ] = False,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, metavar="N", help="End after N steps.")
    ] = None,
    shape: Shape = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another training run in the folder.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON: folder, report; with --check-only: findings, figures, memory_bytes, "
            "largest (of scar figures alone).",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Train a model on a run or a file: SFT, DPO, reward models, RL, SCAR rankers."""
    from curate.cli.failures import say
    from curate.cli.progress import listening
    from curate.system.credentials import refuse_address
    from curate.system.launched_processes import require_one_process
    from curate.train.describe import summary_text
    from curate.train.job import Job
    from curate.train.settings import method_called, settings_for
    from curate.train.training import prepare, train

    if rounds is not None:
        require_one_process("--rounds")
    if output is None and not check_only:
        raise UsageError("name the folder of the trained model: -o DIR (or add --check-only)")
    refuse_address(
        output,
        "the folder of the trained model (-o)",
        "choose one of this machine, and copy it when training is done",
    )
    if rounds is None and (judge is not None or max_cost is not None or max_requests is not None):
        raise UsageError("--judge, --max-cost and --max-requests are for training in --rounds N")
    way = method_called(method)
    if way.trainer == "ranker":
        if reward is not None or merge or rounds is not None:
            raise UsageError(
                f"{way.name} takes no --reward, no --merge and no --rounds; leave them out"
            )
        _train_ranker(data, model, output, config, max_steps, shape, check_only, replace, as_json)
        return
    settings = settings_for(way, config, max_steps=max_steps)
    scorer = None if reward is None else reward_of(reward)
    job = Job(way, settings, data, model, output or Path(), scorer, shape, merge, replace)
    if rounds is not None:
        from curate.evaluate.rounds import Display, Rounds, prepare_rounds, train_rounds
        from curate.evaluate.rounds_report import rounds_text

        spending = {"max_cost": max_cost, "max_requests": max_requests, "store": store}
        loop = Rounds(job, rounds, judge, allow_failed, strict, spending)
        begun = prepare_rounds(loop)
        _say_checked(begun.prompts.checked, strict, check_only, as_json)
        if begun.prompts.repeated:
            said = f"{begun.prompts.repeated:,} repeated prompts are asked once"
            typer.echo(said, err=as_json or not check_only)
        if check_only:
            return
        report = train_rounds(loop, begun, Display(say, listening, _shown))
        card = f"its card is {job.out / 'README.md'}, each round below it"
        _show_report(report, rounds_text, job.out, card, as_json=as_json)
        return
    prepared = prepare(job)
    _say_checked(prepared.checked, strict, check_only, as_json)
    if check_only:
        return
    with _shown() as listener:
        report = train(job, prepared, listener)
    card = f"its card is {job.out / 'README.md'}"
    _show_report(report, summary_text, job.out, card, as_json=as_json)


def reward_of(text: str) -> str | Filter:
    """Return the step that `--reward` names, or the text as it is.

    `verify:number` is short for `verify:checker=number`.

    Raises:
        UsageError: the step, or a field of it, is wrong, or it scores nothing.
    """
    from curate.cli.step_arguments import step_of
    from curate.recipe.catalog import operators
    from curate.step import Filter

    name, _, rest = text.partition(":")
    if name not in operators() or Path(text).exists():
        return text
    short = name == "verify" and rest and "=" not in rest
    step = step_of(f"verify:checker={rest}" if short else text, answered=True)
    if not isinstance(step, Filter):
        raise UsageError(f"'{name}' scores no single row, so it is not a reward; use a filter step")
    return step


def _say_checked(checked: Checked, strict: bool, check_only: bool, as_json: bool) -> None:
    """Say what the check found; raise `UsageError` where it stops training."""
    from curate.cli.text_layout import json_text
    from curate.system.launched_processes import is_first_process
    from curate.train.preflight import described, memory_text
    from curate.train.training import check_data

    say = typer.echo if is_first_process() else lambda *_, **__: None
    aside = as_json or not check_only
    say(described(checked.findings), err=aside)
    figures, memory = checked.figures, checked.memory
    said = "nothing to train on"
    if figures:
        rows, tokens, longest = (int(figures[name]) for name in ("rows", "tokens", "longest"))
        learnt = figures["supervised_share"]
        said = f"{rows:,} rows ({len(checked.held_out):,} held out), {tokens:,} tokens, "
        said += f"{learnt:.1%} of them learnt, " if learnt else ""
        said += f"the longest row {longest:,}"
        said += f"\nmemory: {memory_text(memory)}" if memory is not None else ""
    say(said, err=aside)
    if as_json and check_only:
        say(json_text(check_data(checked)))
    if checked.stops(strict=strict):
        found = [f.code for f in checked.findings if f.severity != "note"]
        raise UsageError(f"the check stops training: {', '.join(found)}; see above what helps")


def _train_ranker(
    data: str,
    model: str,
    output: Path | None,
    config: Path | None,
    max_steps: int | None,
    shape: str | None,
    check_only: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Train a style ranker on triples."""
    from curate.cli.text_layout import json_text
    from curate.system.launched_processes import require_one_process
    from curate.train.job import RankerJob
    from curate.train.settings import ranker_settings_for, require_packages

    require_packages("torch", "transformers", "safetensors")
    require_one_process("scar")
    from curate.train.ranker import prepare_ranker, ranker_summary, train_ranker

    changes = {} if max_steps is None else {"max_steps": max_steps}
    settings = ranker_settings_for(config, **changes)
    job = RankerJob(settings, data, model, output or Path(), shape, replace)
    prepared = prepare_ranker(job)
    lines = [f"{count:,} {name}" for name, count in prepared.figures.items()]
    typer.echo("\n".join(lines), err=as_json or not check_only)
    if check_only:
        if as_json:
            typer.echo(json_text({"figures": prepared.figures}))
        return
    with _shown() as listener:
        report = train_ranker(job, prepared, listener)
    use = f"rank with it: curate filter DATA scar --model scar:{output}"
    _show_report(report, ranker_summary, job.out, use, as_json=as_json)


def _show_report(
    report: dict[str, Any],
    text_of: Callable[[dict[str, Any]], str],
    folder: Path,
    use: str,
    *,
    as_json: bool,
) -> None:
    """Print what a training brought and where the model is."""
    from curate.cli.text_layout import json_text
    from curate.system.launched_processes import is_first_process

    if not is_first_process():
        return
    if as_json:
        typer.echo(json_text({"folder": str(folder), "report": report}))
        return
    typer.echo(text_of(report))
    typer.echo(f"written to {folder}; {use}")


@contextmanager
def _shown() -> Iterator[Listener | None]:
    """Give a listener that shows progress on stderr, in the first of several processes."""
    from curate.system.launched_processes import is_first_process

    if not is_first_process():
        yield None
        return
    with live_line() as show:
        yield lambda progress: show(progress_text(progress))


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """Give what shows texts on stderr: in one line, or one every few seconds in a log."""
    import sys
    import time

    from curate.cli.progress import PLAIN_SECONDS

    live, last = sys.stderr.isatty(), time.monotonic()

    def show(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if live:
            typer.echo(f"\r\x1b[K{text}", err=True, nl=False)
        elif now - last >= PLAIN_SECONDS:
            last = now
            typer.echo(text, err=True)

    yield show
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
