"""The parts of `curate evaluate model`: what its flags ask for, run, measured and printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from curate.cli.flags import Flags
from curate.errors import InputError, UsageError

if TYPE_CHECKING:
    from curate.evaluate.model.stages import Stages


def stages_of(
    name: str, baseline: str, judge: str | None, flags: Flags, *, as_json: bool
) -> Stages:
    """Return the stages of the evaluation, which run as the flags say."""
    from curate.cli.commands.measured_run import open_stages

    models = {"candidate": _model(name), "judge": judge}
    if _is_model(baseline):
        models["baseline"] = _model(baseline)
    stem = Path(name.rpartition(":")[2]).name or "model"
    folder = flags.run or Path("runs") / f"{stem}-evaluation"
    given = {key: spec for key, spec in models.items() if spec is not None}
    return open_stages(folder, flags, given, as_json=as_json)


def measure_parts(
    stages: Stages,
    found: dict[str, Any],
    *,
    on: str | None,
    baseline: str,
    judge: str | None,
    constant: str | None,
    against: Path | None,
    mt_bench: str | None,
    held_out: str | None,
    pairs: str | None,
    flags: Flags,
) -> None:
    """Measure what is wanted, cheap things first, and note it in `found`."""
    from curate.evaluate.model.held_out import held_out_loss, order_of_pairs, scores_pairs_by
    from curate.evaluate.model.judged import judge_win_rate, judging_step
    from curate.evaluate.model.mt_bench import rate_turns, rating_step

    tokens = {} if flags.max_tokens is None else {"max_tokens": flags.max_tokens}
    if held_out is not None:
        found["held_out"] = held_out_loss(stages, held_out)
    if pairs is not None:
        how = scores_pairs_by(str(stages.models["candidate"]))
        found["pairs"] = order_of_pairs(stages, pairs, by=how)
    if on is not None:
        found["win_rate"] = judge_win_rate(
            stages,
            on,
            baseline=None if _is_model(baseline) else baseline,
            judge=judging_step(judge),
            constant=constant,
            answer=tokens,
            against=against,
        )
    if mt_bench is not None:
        found["mt_bench"] = rate_turns(stages, mt_bench, rating_step(judge), limit=flags.limit)


def run_benchmarks(
    name: str,
    tasks: str,
    folder: Path,
    flags: Flags,
    include: Path | None,
    *,
    download: bool,
    run_code: bool,
) -> Mapping[str, Any]:
    """Run tasks of lm-eval on a model of transformers; any other is refused."""
    from curate.evaluate.model.harness import run_tasks

    spec = _model(name)
    if ":" in spec and not spec.startswith("hf:"):
        raise UsageError(
            f"closed-ended benchmarks need a folder or hf:NAME as the model; found '{name}'"
        )
    return run_tasks(
        spec.removeprefix("hf:"),
        tasks.split(","),
        folder,
        include=include,
        download=download,
        run_code=run_code,
        limit=flags.limit,
    )


def report_parts(stages: Stages, found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was found, write it into the folder, and leave with the worst exit code."""
    from curate.cli.failures import say
    from curate.cli.text_layout import headed, json_text
    from curate.evaluate.evaluation_file import FILE, plain
    from curate.evaluate.model.model_text import evaluation_text
    from curate.system.posix import write_atomically

    data = plain(found)
    text = json.dumps(data, indent=1, ensure_ascii=False)
    write_atomically(stages.folder / FILE, text + "\n")
    if as_json:
        typer.echo(json_text(data))
    else:
        typer.echo(headed(evaluation_text(found)))
        typer.echo(f"\nruns       {stages.folder}")
    short = [result for result in stages.results if result.exit_code]
    for result in short:
        say(
            result.message
            or f"{result.summary['failed']:,} rows failed in {result.folder}, and are measured by "
            f"nothing above; `curate explain {result.folder}` shows some"
        )
    if short:
        raise typer.Exit(max(result.exit_code for result in short))


def measure_recorded(
    name: str,
    recorded: str,
    verdicts: str | None,
    difficulty: Path | None,
    weights: Path | None,
    flags: Flags,
    *,
    as_json: bool,
) -> None:
    """Measure annotations that were recorded: AlpacaEval's, or the columns of `verdicts`."""
    from curate.cli.commands.measured_run import run_over, show_found
    from curate.evaluate.evaluation_file import write_evaluation
    from curate.evaluate.model.contest_rows import (
        recorded_contests,
        recorded_soft_labels,
        recorded_verdicts,
    )
    from curate.evaluate.model.contests import contest_groups, contest_measures
    from curate.evaluate.model.length_control import difficulty_of, read_weights
    from curate.evaluate.model.model_text import contests_text

    given = None if weights is None else read_weights(weights)
    if given is not None and name not in given:
        raise UsageError(
            f"{weights} has no weights of '{name}', but of {len(given):,} other models, as "
            f"{', '.join(sorted(given)[:3])}"
        )
    if given is not None and difficulty is None and given[name].difficulty:
        raise UsageError(
            f"{weights} has a weight for the difficulty of instructions, which is unknown: give "
            "--difficulty FILE, which AlpacaEval publishes with the weights, or leave --weights "
            "out to fit without it"
        )
    hard = None
    if difficulty is not None:
        try:
            hard = difficulty_of(json.loads(difficulty.read_text("utf-8")), str(difficulty))
        except (OSError, ValueError) as error:
            raise InputError(f"{difficulty} cannot be read as JSON: {error}") from error
    result = run_over([], recorded, "recorded", flags, as_json=as_json)
    if verdicts is None:
        contests = list(recorded_contests(result.kept, hard))
    else:
        as_given, _, swapped = verdicts.partition(",")
        contests = list(recorded_verdicts(result.kept, name, as_given, swapped or None, hard))
    found = contest_measures(contests, None if given is None else given[name])
    if verdicts is None and (labels := recorded_soft_labels(result.kept)):
        found["soft_labels"] = labels
    if groups := contest_groups(contests):
        found["groups"] = groups
    write_evaluation(result, found)
    show_found(result, found, contests_text(found), flags, as_json=as_json)


def _is_model(name: str) -> bool:
    """Tell whether a baseline is a model: a column's name has no colon, and is not a folder."""
    return ":" in name or name == "local" or Path(name).is_dir()


def _model(name: str) -> str:
    """Return a model as a recipe writes it; a folder is one of transformers."""
    return f"hf:{name}" if Path(name).is_dir() else name
