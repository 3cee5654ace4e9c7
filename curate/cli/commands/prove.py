"""`curate prove`: did a curation help, against random draws, the longest rows, and all of them?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from curate.cli.flags import Debug, Json, share
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.evaluate.proof.arms import ArmProgress
    from curate.evaluate.proof.judging import JudgeRequest
    from curate.evaluate.proof.proving import PreparedProof, ProofRequest
    from curate.pipeline import Pipeline
    from curate.train.pace import TrainingProgress

Reference = Literal["answers", "untrained"]
ADAPTERS = ("full", "lora", "qlora", "prefix", "prompt")


def command(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE...",
            help="A recipe; with --between several recipes, runs or data, or ways to train.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="MODEL", help="A folder, a name on the Hugging Face Hub, or local."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", metavar="DIR", help="The folder of the proof (runs/NAME-proof)."),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", min=3, metavar="K", help="Random draws (8 for slow models).")
    ] = 12,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, metavar="S", help="Training seeds of every arm.")
    ] = 1,
    versions: Annotated[
        int,
        typer.Option(
            "--versions",
            min=1,
            metavar="R",
            help="Run a recipe that draws, as generators do, with R seeds; their mean is compared.",
        ),
    ] = 1,
    held_out: Annotated[
        str,
        typer.Option(
            "--held-out",
            metavar="N|FILE",
            help="The number of raw rows to hold out, or a file of neutral rows.",
        ),
    ] = "1000",
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME,...",
            help="For SFT loss, contrast (default: loss); for DPO "
            "accuracy, margin (default: both).",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="MODEL",
            help="Let this model (or one of the recipe's) compare the answers of every run with "
            "the held-out ones: one more metric.",
        ),
    ] = None,
    judge_rows: Annotated[
        int | None,
        typer.Option("--judge-rows", min=2, metavar="N", help="Prompts for the judge (200)."),
    ] = None,
    reference: Annotated[
        Reference | None,
        typer.Option(
            "--reference", help="What answers are compared with: held-out ones, or the model's own."
        ),
    ] = None,
    judge_labels: Annotated[
        str | None,
        typer.Option(
            "--judge-labels",
            metavar="DATA",
            help="Labelled pairs: correct the judge by what it gets wrong on them.",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=1, metavar="N", help="Of an answer to be judged (256)."),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option("--sizes", metavar="N,N,...", help="Compare at each of these sizes."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="COLUMN", help="Compare groups of the recipe's rows: source."),
    ] = None,
    between: Annotated[
        bool,
        typer.Option(
            "--between",
            help="Compare the named datasets, or training methods such as full and lora, pairwise.",
        ),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Training settings, as for curate train."),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option("--max-steps", min=1, metavar="N", help="Steps of every training run."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", min=0, max=1, help="The probability of a false claim.")
    ] = 0.01,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="The seed of the split, the draws and the training."),
    ] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a value of the recipe."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="The store of replies (.curate).")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option("--max-cost", min=0, metavar="USD", help="Never spend more in all."),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option("--max-requests", min=0, metavar="N", help="Never send more in all."),
    ] = None,
    allow_failed: Annotated[
        float,
        typer.Option(
            "--allow-failed",
            parser=share,
            metavar="SHARE",
            help="The share of rows that may fail, e.g. 0.05 or 5%.",
        ),
    ] = 0.0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again where a stored reply was unusable.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Report how many training runs there would be, and how long they would take.",
        ),
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train on curated, random, longest and all rows, and report if the curation helped.

    The same command continues an interrupted proof; a changed plan needs another folder. Exit code
    4 means that an arm failed.
    """
    from curate.cli.progress import listening
    from curate.cli.step_arguments import settings_of
    from curate.cli.text_layout import json_text
    from curate.evaluate.proof.model_arms import ModelTrainer, check_training
    from curate.evaluate.proof.proof_text import proof_text
    from curate.evaluate.proof.proving import RESULT, ProofRequest, run_proof
    from curate.pipeline import Pipeline
    from curate.system import package_data

    variants, datasets = _compared(recipes, between=between)
    request = ProofRequest(
        draws=draws,
        seeds=seeds,
        alpha=alpha,
        metrics=tuple(metric.split(",")) if metric else (),
        held_out=int(held_out) if held_out.isdigit() else held_out,
        seed=seed,
        sizes=_numbers("--sizes", sizes),
        by=by,
        between=datasets,
        variants=variants,
        versions=versions,
        judge=_judge(judge, rows=judge_rows, reference=reference, labels=judge_labels,
                     max_tokens=max_tokens),
    )  # fmt: skip
    pipeline = None if datasets else Pipeline.from_yaml(package_data.recipe(recipes[0]))
    if pipeline is not None and changes:
        pipeline = pipeline.with_settings(settings_of(changes))
    check_training(model, metrics=request.metrics, config=config, max_steps=max_steps,
                   variants=variants)  # fmt: skip
    options = {"store": store, "max_cost": max_cost, "max_requests": max_requests,
               "allow_failed": allow_failed, "retry_failed": retry_failed}  # fmt: skip
    options = {name: value for name, value in options.items() if value is not None}
    folder = output or Path("runs") / f"{Path(recipes[0]).stem or 'data'}-proof"
    with _shown() as (arm_listener, step_listener):

        def trainer_of(kind: str) -> ModelTrainer:
            return ModelTrainer(
                model, kind, metrics=request.metrics, config=config, max_steps=max_steps,
                variants=variants, listener=step_listener,
            )  # fmt: skip

        if dry_run:
            _echo_plan(pipeline, trainer_of, request, options, as_json=as_json)
            return
        prepared = _prepared(pipeline, trainer_of, request, folder, options)
        proof = run_proof(prepared, arm_listener, listening)
    if as_json:
        typer.echo(json_text(proof.record))
    else:
        typer.echo(proof_text(proof.record))
        typer.echo(f"\nproof      {folder / RESULT}")
    if find_spec("matplotlib") is not None and any("scores" in a for a in proof.record["arms"]):
        from curate.evaluate.proof.proof_text import draw_proof

        draw_proof(proof.record, folder / "proof.png")
        if not as_json:
            typer.echo(f"plot       {folder / 'proof.png'}")
    if proof.exit_code:
        raise typer.Exit(proof.exit_code)


def _judge(model: str | None, **options: Any) -> JudgeRequest | None:
    """Return who judges and how, `None` where nobody does."""
    from curate.evaluate.proof.judging import JudgeRequest

    given = {name: value for name, value in options.items() if value is not None}
    if model is not None:
        return JudgeRequest(model=model, **given)
    if given:
        flag = {"rows": "--judge-rows", "labels": "--judge-labels"}
        name = next(iter(given))
        raise UsageError(f"{flag.get(name, '--' + name.replace('_', '-'))} is for answers that are "
                         "judged: give --judge MODEL")  # fmt: skip
    return None


def _compared(given: list[str], *, between: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ways to train, and the datasets, that a command compares."""
    if not between:
        if len(given) > 1:
            raise UsageError(
                f"{len(given)} recipes are given; prove looks at one, or compares all: --between"
            )
        return (), ()
    variants = tuple(one for one in given if one in ADAPTERS)
    rest = tuple(one for one in given if one not in ADAPTERS)
    if not variants:
        return (), rest
    if len(rest) != 1 or len(variants) < 2 or given[0] != rest[0]:
        raise UsageError(
            "ways to train are compared on one recipe: curate prove RECIPE --between full lora"
        )
    return variants, ()


def _numbers(flag: str, text: str | None) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")] if text else []
    if wrong := next((word for word in words if not word.isdigit() or not int(word)), None):
        raise UsageError(f"{flag} takes numbers of rows, e.g. 100,200,400; found '{wrong}'")
    return tuple(map(int, words))


def _prepared(
    pipeline: Pipeline | None,
    trainer_of: Callable[[str], Any],
    request: ProofRequest,
    folder: Path,
    options: dict[str, Any],
    *,
    dry_run: bool = False,
) -> PreparedProof:
    from curate.cli.progress import listening
    from curate.evaluate.proof.proving import prepare_proof
    from curate.system.lazy_pandas import set_up_pyarrow

    set_up_pyarrow()
    with listening() as listener:
        return prepare_proof(
            pipeline, trainer_of, request, folder, dry_run=dry_run, progress=listener, **options
        )


def _echo_plan(
    pipeline: Pipeline | None,
    trainer_of: Callable[[str], Any],
    request: ProofRequest,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Print the number of trainings and the time of all, from a short one; nothing stays."""
    from curate.cli.progress import clock
    from curate.cli.text_layout import json_text
    from curate.row import printable

    with tempfile.TemporaryDirectory(prefix="curate-prove-") as where:
        prepared = _prepared(pipeline, trainer_of, request, Path(where) / "plan", options,
                             dry_run=True)  # fmt: skip
        first = next(
            s for s in prepared.design.subsets if s.name == prepared.design.asked[-1].one[0]
        )
        trainer: Any = prepared.trainer
        each = trainer.seconds(first, prepared.budget, Path(where) / "probe")
    groups, arms = prepared.design.groups(), dict[str, dict[str, int]]()
    for one in prepared.plan["arms"]:
        group = arms.setdefault(groups[one["name"]], {"draws": 0, "rows": one["rows"]})
        group["draws"] += 1
    found = {
        "runs": prepared.runs,
        "seconds_each": round(each, 1),
        "seconds": round(each * prepared.runs),
        "steps": prepared.budget.steps,
        "supervised_tokens": prepared.budget.tokens,
        "candidates": prepared.plan["candidates"]["rows"],
        "held_out": prepared.plan["held_out"]["rows"],
        "arms": arms,
        "notes": list(prepared.notes),
    }
    if prepared.judging is not None:
        # Two orders; equal answers of several runs are judged once.
        found["judge_requests_at_most"] = 2 * prepared.runs * len(prepared.judging.places)
    if as_json:
        typer.echo(json_text(found))
        return
    typer.echo(
        f"would train {prepared.runs:,} runs of {prepared.budget.steps:,} steps and "
        f"{prepared.budget.tokens:,} supervised tokens each, about {clock(each)} a run and "
        f"{clock(found['seconds'])} in all"
    )
    if "judge_requests_at_most" in found:
        typer.echo(f"the judge would be sent {found['judge_requests_at_most']:,} requests at most")
    typer.echo(f"{found['candidates']:,} candidates, {found['held_out']:,} rows held out")
    for name, one in arms.items():
        draws = f"{one['draws']} draws of " if one["draws"] > 1 else ""
        typer.echo(f"  {printable(name)}: {draws}{one['rows']:,} rows")
    for note in prepared.notes:
        typer.echo(f"note: {printable(note)}")
    typer.echo("nothing was asked, and nothing is kept")


@contextmanager
def _shown() -> Iterator[tuple[Callable[[ArmProgress], None], Callable[[TrainingProgress], None]]]:
    """Give listeners of runs and of steps, which show them in one line."""
    from curate.cli.commands.train import live_line
    from curate.cli.progress import clock

    run = ""
    with live_line() as show:

        def arm(progress: ArmProgress) -> None:
            nonlocal run
            run = f"run {progress.done + 1:,} of {progress.runs:,} ({progress.name})"
            left = progress.seconds_left
            show(run if left is None else f"{run} | {clock(left)} left")

        def step(progress: TrainingProgress) -> None:
            loss = f" | loss {progress.metrics['loss']:.4f}" if "loss" in progress.metrics else ""
            show(f"{run} | step {progress.step:,} of {progress.steps:,}{loss}")

        yield arm, step
