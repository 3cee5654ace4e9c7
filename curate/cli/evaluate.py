"""`curate evaluate`: how far a judge can be trusted, measured on labelled rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.flags import Flags, runs_that_begin, shared_flags, steps_that_begin
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.pipeline import Result
    from curate.step import Step

app = typer.Typer(
    help="Measure a judge on labelled rows: agreement, biases and calibration.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)
On = Annotated[
    str, typer.Option("--on", metavar="LABELLED", help="A file, glob or folder of labelled rows.")
]
JudgingStep = Annotated[
    str | None,
    typer.Option(
        "--step",
        metavar="STEP[:key=value,...]",
        help="The step to measure, with its fields.",
        autocompletion=steps_that_begin,
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="COLUMN",
        help="Measure the values of this column apart (default: language or lang).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
@shared_flags
def pairs(
    on: On,
    step: JudgingStep = None,
    recorded: Annotated[
        str | None,
        typer.Option(
            "--recorded",
            metavar="COLUMN[,SWAPPED]",
            help="Ask nobody: the verdicts stand in this column, those of swapped answers in that.",
        ),
    ] = None,
    annotators: Annotated[
        str | None,
        typer.Option(
            "--annotators",
            metavar="COLUMN,COLUMN,...",
            help="Ask nobody: how far the verdicts in these columns agree, two by two.",
        ),
    ] = None,
    by: By = None,
    as_json: Json = False,
    *,
    flags: Flags,
) -> None:
    """Measure a judge of pairs: accuracy, both orders, kappa, and bias of place, length and self.

    LABELLED holds preferences, or ranked answers with scores. Every accuracy stands beside that of
    always preferring the longest answer.
    """
    from curate.evaluate.pairs import measured_pairs, pair_judges
    from curate.evaluate.recorded import recorded_agreement, recorded_pairs
    from curate.evaluate.text import pairs_text, recorded_text
    from curate.steps import Prefer

    if recorded is not None or annotators is not None:
        _check_alone(flags, step, recorded=recorded, annotators=annotators)
        result = _run([], on, "recorded", flags)
        if recorded is not None:
            given, _, swapped = recorded.partition(",")
            found = recorded_pairs(result.kept, given, swapped or None, by=by)
            _show(result, found, pairs_text(found), flags, as_json=as_json)
            return
        found = recorded_agreement(result.kept, (annotators or "").split(","))
        _show(result, found, recorded_text(found), flags, as_json=as_json)
        return
    judging: Step | None = _step(step, flags)
    if judging is None and flags.model == "local":
        judging = Prefer(model="judge", **Prefer.for_small_models)
    judges = pair_judges(judging)
    result = _run(judges, on, "pairs", flags)
    if not flags.dry_run:
        found = measured_pairs(result, judges, by=by)
        _show(result, found, pairs_text(found), flags, as_json=as_json)


@app.command()
@shared_flags
def judge(
    on: On,
    step: JudgingStep = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="COLUMN", help="The column with the labels."),
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option("--at-least", help="From which score on the judge calls a row good."),
    ] = None,
    correct: Annotated[
        Path | None,
        typer.Option(
            "--correct",
            metavar="RUN",
            help="Correct the share of good rows that the same step found in another run.",
            autocompletion=runs_that_begin,
        ),
    ] = None,
    recorded: Annotated[
        str | None,
        typer.Option(
            "--recorded",
            metavar="COLUMN,...",
            help="Ask nobody: the scores stand in these columns, or below them.",
        ),
    ] = None,
    by: By = None,
    as_json: Json = False,
    *,
    flags: Flags,
) -> None:
    """Measure a judge that gives scores: rank correlation, AUC, bias of length, calibration.

    LABELLED holds rows with a label each, a number or true and false. Every measure stands beside
    that of the answer's length. The step is `rubric` unless another is named.
    """
    from curate.evaluate.judge import measured_scores, scoring_step
    from curate.evaluate.recorded import recorded_scores
    from curate.evaluate.text import recorded_text, scores_text

    if recorded is not None:
        _check_alone(flags, step, recorded=recorded, correct=correct)
        result = _run([], on, "recorded", flags)
        found = recorded_scores(result.kept, recorded.split(","), label, at_least)
        _show(result, found, recorded_text(found), flags, as_json=as_json)
        return
    scoring = scoring_step(_step(step, flags))
    result = _run([scoring], on, "judge", flags)
    if flags.dry_run:
        return
    found = measured_scores(result, scoring, label=label, at_least=at_least, by=by, correct=correct)
    _show(result, found, scores_text(found), flags, as_json=as_json)


def _step(text: str | None, flags: Flags) -> Step | None:
    from curate.cli.step_arguments import step_of

    return None if text is None else step_of(text, answered=bool(flags.model))


def _check_alone(flags: Flags, step: str | None, **given: Any) -> None:
    """Refuse to ask a model and to read what was recorded at once."""
    named = [f"--{name}" for name, value in given.items() if value is not None]
    both = [f"--{name}" for name, value in (("model", flags.model), ("step", step)) if value]
    if len(named) + len(both) > 1:
        raise UsageError(
            f"{' and '.join([*named, *both])} say different things: judgements that are recorded "
            "are read, and nobody is asked; leave all but one out"
        )


def _run(steps: Any, on: str, what: str, flags: Flags) -> Result:
    """Run the steps over labelled rows; an evaluation is a run like any other."""
    from curate.cli.filter import stem
    from curate.cli.running import finish, start
    from curate.pipeline import Pipeline
    from curate.system.lazy_pandas import set_up_pyarrow

    set_up_pyarrow()
    run = flags.run or Path("runs") / f"{stem(Path(on))}-{what}"
    result = start(Pipeline(list(steps), inputs=on), flags, run=run)
    if flags.dry_run:
        finish(result, flags)
    return result


def _show(
    result: Result, found: Mapping[str, Any], text: str, flags: Flags, *, as_json: bool
) -> None:
    """Print the measures, and leave with the run's exit code."""
    from curate.cli.failures import say
    from curate.cli.text_layout import headed
    from curate.evaluate.evaluation_file import plain

    if as_json:
        typer.echo(json.dumps(plain(found), indent=1, ensure_ascii=False))
    else:
        typer.echo(headed(text))
        typer.echo(f"\nrun        {result.folder}")
    if result.message:
        say(result.message)
    elif result.exit_code == 1:
        say(
            f"{result.summary['failed']:,} rows failed, more than --allow-failed "
            f"{flags.allow_failed:g} allows, and are measured by nothing above; "
            f"`curate explain {result.folder}` shows some"
        )
    if result.exit_code:
        raise typer.Exit(result.exit_code)
