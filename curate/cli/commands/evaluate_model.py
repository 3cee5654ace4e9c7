"""`curate evaluate model`: what a model is worth, beside honest baselines and controls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from curate.cli.flags import Flags, Json, shared_flags
from curate.errors import UsageError


@shared_flags
def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A model, the folder of a trained one, or a recorded one's name."
        ),
    ],
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="PROMPTS", help="Prompts for a win rate: needs --judge."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="MODEL", help="The model that judges.")
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline",
            metavar="MODEL|COLUMN",
            help="A model, or the column with answers; answers: the conversations' own.",
        ),
    ] = "answers",
    constant: Annotated[
        str | None,
        typer.Option("--constant", metavar="TEXT", help="The constant answer of the control."),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls", help="Judge a constant answer in the model's place, too."
        ),
    ] = True,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="DIR",
            help="Compare with another model's evaluation on the same prompts.",
        ),
    ] = None,
    mt_bench: Annotated[
        str | None,
        typer.Option("--mt-bench", metavar="FILE", help="Questions of two turns: needs --judge."),
    ] = None,
    held_out: Annotated[
        str | None,
        typer.Option("--held-out", metavar="DATA", help="Conversations whose loss is measured."),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs", metavar="DATA", help="Preference pairs to be ordered by the model."
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks", metavar="NAME,...", help="Closed-ended benchmarks, run by lm-eval."
        ),
    ] = None,
    include: Annotated[
        Path | None, typer.Option("--include", metavar="DIR", help="Tasks of your own for lm-eval.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Let lm-eval download the data of its tasks.")
    ] = False,
    run_code: Annotated[
        bool,
        typer.Option("--run-code", help="Let tasks such as humaneval run what the model wrote."),
    ] = False,
    recorded: Annotated[
        str | None,
        typer.Option(
            "--recorded",
            metavar="FILE",
            help="Use no model: read recorded annotations of this model's "
            "answers, such as AlpacaEval's.",
        ),
    ] = None,
    verdicts: Annotated[
        str | None,
        typer.Option(
            "--verdicts",
            metavar="COLUMN[,SWAPPED]",
            help="Columns of the verdicts that --recorded holds, in one order or in both.",
        ),
    ] = None,
    difficulty: Annotated[
        Path | None,
        typer.Option(
            "--difficulty",
            metavar="FILE",
            help="The difficulty of each instruction (JSON), for the length-controlled win rate.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Published weights of the length-controlled win rate (CSV), instead of fitting.",
        ),
    ] = None,
    as_json: Json = False,
    *,
    flags: Flags,
) -> None:
    """Measure a model: win rate against a baseline, MT-bench, losses, pairs, benchmarks.

    Every measure has an interval and is shown next to its controls. Everything is kept in one
    folder (runs/MODEL-evaluation, or --run), and the same command continues after an interruption.
    """
    from curate.cli.commands.model_evaluation import (
        measure_parts,
        measure_recorded,
        report_parts,
        run_benchmarks,
        stages_of,
    )
    from curate.cli.failures import say
    from curate.evaluate.model.judged import CONSTANT

    if flags.model is not None:
        raise UsageError(
            "--model would answer for all; name the models: MODEL, --judge, --baseline"
        )
    if verdicts is not None and recorded is None:
        raise UsageError(f"--verdicts {verdicts} names columns of --recorded FILE; give that, too")
    if recorded is not None:
        measure_recorded(name, recorded, verdicts, difficulty, weights, flags, as_json=as_json)
        return
    for flag, file in (("--difficulty", difficulty), ("--weights", weights)):
        if file is not None:
            raise UsageError(f"{flag} belongs to annotations that were made: give --recorded FILE")
    wanted = {"--on": on, "--mt-bench": mt_bench, "--held-out": held_out, "--pairs": pairs,
              "--tasks": tasks}  # fmt: skip
    if not any(wanted.values()):
        raise UsageError(
            f"nothing to measure the model by: give {', '.join(wanted)} or --recorded FILE"
        )
    for flag in ("--on", "--mt-bench"):
        if wanted[flag] and judge is None:
            raise UsageError(f"{flag} needs a judge: --judge MODEL")
    if judge in (name, baseline):
        # Zheng et al. 2023, section 3.3: some judges favour what they wrote themselves.
        say(f"the judge '{judge}' judges its own answers, which judges favour; take another one")
    stages = stages_of(name, baseline, judge, flags, as_json=as_json)
    found: dict[str, Any] = {"model": name}
    # The harness first: what it lacks is known before anything is asked or paid.
    if tasks is not None:
        found["tasks"] = run_benchmarks(
            name, tasks, stages.folder, flags, include, download=download, run_code=run_code
        )
    measure_parts(
        stages, found, on=on, baseline=baseline, judge=judge, against=against, mt_bench=mt_bench,
        held_out=held_out, pairs=pairs, flags=flags,
        constant=(constant or CONSTANT) if controls else None,
    )  # fmt: skip
    if not flags.dry_run:
        report_parts(stages, found, as_json=as_json)
