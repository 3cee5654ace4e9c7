"""`curate evaluate`: what judges and preference data are worth, measured on labelled rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.commands import evaluate_model
from curate.cli.commands.measured_run import open_stages, run_over, show_found
from curate.cli.flags import Flags, Json, runs_that_begin, shared_flags, steps_that_begin
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.step import Step

app = typer.Typer(
    help="Measure judges, preference data and models: agreement, biases, win rates.",
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
        help="Measure each value of this column separately (default: the language).",
    ),
]


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
            help="Use no model: read the verdicts from this column, those "
            "of swapped answers from that.",
        ),
    ] = None,
    annotators: Annotated[
        str | None,
        typer.Option(
            "--annotators",
            metavar="COLUMN,COLUMN,...",
            help="Use no model: report how well the verdicts in these columns agree, pairwise.",
        ),
    ] = None,
    by: By = None,
    as_json: Json = False,
    *,
    flags: Flags,
) -> None:
    """Measure a judge on pairs: accuracy, both orders, kappa; position, length and self bias.

    LABELLED has preferences, or ranked answers with scores. The step is `prefer` unless another is
    named; a step that scores answers (rubric, scar ...) scores both sides. Every accuracy is shown
    next to that of always preferring the longest answer.
    """
    from curate.evaluate.pair_judges import pair_judges
    from curate.evaluate.pairs import measured_pairs
    from curate.evaluate.recorded import recorded_agreement, recorded_pairs
    from curate.evaluate.text import pairs_text, recorded_text
    from curate.steps import Prefer

    if recorded is not None or annotators is not None:
        _check_alone(flags, step, recorded=recorded, annotators=annotators)
        result = run_over([], on, "recorded", flags, as_json=as_json)
        if recorded is not None:
            given, _, swapped = recorded.partition(",")
            found = recorded_pairs(result.kept, given, swapped or None, by=by)
            show_found(result, found, pairs_text(found), flags, as_json=as_json)
            return
        found = recorded_agreement(result.kept, (annotators or "").split(","))
        show_found(result, found, recorded_text(found), flags, as_json=as_json)
        return
    judging: Step | None = _step(step, flags)
    if judging is None and flags.model == "local":
        judging = Prefer(model="judge", **Prefer.for_small_models)
    judges = pair_judges(judging)
    result = run_over(judges, on, "pairs", flags, as_json=as_json)
    found = measured_pairs(result, judges, by=by)
    show_found(result, found, pairs_text(found), flags, as_json=as_json)


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
            help="Use no model: read the scores from these columns, or from below them.",
        ),
    ] = None,
    by: By = None,
    as_json: Json = False,
    *,
    flags: Flags,
) -> None:
    """Measure a judge that gives scores: rank correlation, AUC, length bias, calibration.

    LABELLED has rows with one label each, a number or true and false. Every measure is shown next
    to that of the answer's length. The step is `rubric` unless another is named.
    """
    from curate.evaluate.judge import measured_scores, scoring_step
    from curate.evaluate.recorded import recorded_scores
    from curate.evaluate.text import recorded_text, scores_text

    if recorded is not None:
        _check_alone(flags, step, recorded=recorded, correct=correct)
        result = run_over([], on, "recorded", flags, as_json=as_json)
        found = recorded_scores(result.kept, recorded.split(","), label, at_least)
        show_found(result, found, recorded_text(found), flags, as_json=as_json)
        return
    scoring = scoring_step(_step(step, flags))
    result = run_over([scoring], on, "judge", flags, as_json=as_json)
    found = measured_scores(result, scoring, label=label, at_least=at_least, by=by, correct=correct)
    show_found(result, found, scores_text(found), flags, as_json=as_json)


@app.command()
@shared_flags
def preference(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A file, glob, folder or RUN of preferences.")
    ],
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="Measure each value of this column separately, in "
            "addition to languages and annotators.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split-column",
            metavar="COLUMN",
            help="The column that names a row's split (default: split, or the file's name).",
        ),
    ] = None,
    annotators: Annotated[
        str | None,
        typer.Option(
            "--annotators",
            metavar="COLUMN,COLUMN,...",
            help="Label ranked rows by the majority of the annotators, each of whom has a column.",
        ),
    ] = None,
    as_json: Json = False,
    *,
    flags: Flags,
) -> None:
    """Audit a preference dataset: what its labels reward, and which rows look wrong.

    Length and style bias (cross-validated), duplicates, contradictions, cycles, leakage between
    splits, doubtful labels, refusals among the chosen, empty sides. Uses no model.
    """
    from curate.cli.progress import listening
    from curate.evaluate.preference.audit import FINDINGS, audit_pipeline, audited
    from curate.evaluate.preference.audit_text import audit_text

    if flags.model is not None:
        raise UsageError("--model has nothing to answer: an audit asks no model; leave it out")
    result = run_over(audit_pipeline().steps, data, "preference", flags, as_json=as_json)
    names = () if annotators is None else tuple(annotators.split(","))
    with listening() as listen:
        found = audited(result, data, by=by, split=split, annotators=names, listen=listen)
    text = audit_text(found, str(result.folder / FINDINGS))
    show_found(result, found, text, flags, as_json=as_json)


@app.command()
@shared_flags
def contamination(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A file, glob, folder or RUN.")],
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against", metavar="[NAME=]TESTS", help="A test set; may be given several times."
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step",
            metavar="contamination:key=value,...",
            help="The step to measure (default: both modes).",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--hide", min=1, metavar="N", help="Items hidden in each way.")
    ] = 200,
    clean: Annotated[
        str | None,
        typer.Option(
            "--clean", metavar="DATA", help="Rows that hold no item: how many are flagged?"
        ),
    ] = None,
    as_json: Json = False,
    *,
    flags: Flags,
) -> None:
    """Measure how many test items `contamination` finds, by hiding known ones in your rows.

    Prints the recall for six ways of hiding (verbatim, in short lines, embedded in a turn, in the
    answer, with other case and punctuation, with other numbers), false alarms, and the count of
    flagged rows of yours.
    """
    from curate.cli.commands.filter import stem
    from curate.evaluate.hidden_items import hidden_items_text, measure_hidden_items
    from curate.steps import Contamination

    if flags.model is not None:
        raise UsageError("--model has nothing to answer: give the step's encoder; leave it out")
    measured = Contamination(mode=("ngrams", "semantic")) if step is None else _step(step, flags)
    if not isinstance(measured, Contamination):
        raise UsageError(f"--step is '{step}'; what is measured here is the step contamination")
    if against:
        measured = dataclasses.replace(measured, against=tuple(against))
    if not measured.against:
        raise UsageError("nothing to look for: name test sets with --against [NAME=]TESTS")
    measured.check()
    folder = flags.run or Path("runs") / f"{stem(Path(data))}-hidden-items"
    stages = open_stages(folder, flags, as_json=as_json)
    found = measure_hidden_items(stages, data, measured, count=count, clean=clean)
    text = hidden_items_text(found, measured)
    show_found(stages.results[0], found, text, flags, as_json=as_json)


app.command("model")(evaluate_model.command)


def _step(text: str | None, flags: Flags) -> Step | None:
    from curate.cli.step_arguments import step_of

    return None if text is None else step_of(text, answered=bool(flags.model))


def _check_alone(flags: Flags, step: str | None, **given: Any) -> None:
    """Refuse to ask a model and to read what was recorded at once."""
    named = [f"--{name}" for name, value in given.items() if value is not None]
    both = [f"--{name}" for name, value in (("model", flags.model), ("step", step)) if value]
    if len(named) + len(both) > 1:
        raise UsageError(
            f"{' and '.join([*named, *both])} exclude each other: recorded judgements are read, "
            "and no model is used; give only one of them"
        )
