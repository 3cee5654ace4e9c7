"""Audit a preference dataset: read its rows as a run, and say what its labels reward."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from curate.engine.options import Progress
from curate.errors import UsageError
from curate.evaluate.evaluation_file import write_evaluation
from curate.evaluate.preference.findings import FoundPairs
from curate.evaluate.preference.measures import all_findings, group_measures, label_measures
from curate.evaluate.preference.sketches import Sketches, sketched
from curate.evaluate.row_groups import no_such_group
from curate.pipeline import Pipeline, Result
from curate.read.finished_runs import is_run
from curate.row import Row
from curate.runs.rows import Rows
from curate.steps.generate.expand import Expand
from curate.system.package_data import require_extra

FINDINGS = "findings.jsonl"
# Rows of a finding that the measures name; the file has all of them.
MOST_NAMED = 20
_SPLIT = re.compile(
    r"(?:^|[^a-z])(train|test|validation|valid|val|dev|eval|held[-_]?out)(?:[^a-z]|$)"
)


def evaluate_preference(
    data: Any,
    *,
    by: str | None = None,
    split: str | None = None,
    annotators: Sequence[str] = (),
    **options: Any,
) -> tuple[dict[str, Any], Result]:
    """Audit preferences, or ranked answers with scores or votes.

    Args:
        data: a path or rows; of OpenAssistant's trees the ranked answers are taken.
        by: a column whose values are measured apart, beside languages and annotators.
        split: the column that says which split a row belongs to (see `splits`).
        annotators: the columns of ranked rows with a verdict of each annotator.
        options: those of `Pipeline.run`.

    Returns:
        The measures as JSON data, which also stand in the run's `evaluation.json` and, those that
        are one number, in its `report.json`; and the run, whose `findings.jsonl` has a line for
        every row that was found.

    Raises:
        UsageError: no row is a labelled pair, or none has the column `by`.
    """
    result = audit_pipeline().run(data, **options)
    source = data if isinstance(data, str | os.PathLike) else None
    found = audited(
        result, source, by=by, split=split, annotators=annotators, listen=options.get("progress")
    )
    return found, result


def audit_pipeline(inputs: Any = None) -> Pipeline:
    """Return the recipe that an audit runs: it reads rows, and ranks the answers of trees.

    Raises:
        MissingExtra: scikit-learn, which fits the models, is not installed.
    """
    require_extra("vectors", "the audit of preferences", "sklearn", "scipy")
    return Pipeline([Expand(into="ranked")], inputs=inputs)


def audited(
    result: Result,
    source: str | os.PathLike[str] | None = None,
    *,
    by: str | None = None,
    split: str | None = None,
    annotators: Sequence[str] = (),
    listen: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Return the measures of the rows that a run kept, and write them into its folder.

    Args:
        result: a run of `audit_pipeline`.
        source: what was read, if it is a path: a finished run knows the split of its rows.
        by: see `evaluate_preference`, like the others.
        split: the column with a row's split.
        annotators: the columns with a verdict of each annotator.
        listen: called with the progress.
    """
    progress = Progress(phase="sketching pairs", total=len(result.kept))

    def told(rows: int) -> None:
        progress.done = progress.rows = rows
        if listen is not None:
            listen(progress)

    def phase(name: str) -> None:
        progress.phase, progress.total = name, 0
        told(progress.rows)

    with sketched(
        result.kept,
        result.folder / ".audit",
        split_of=splits(result, source, split),
        by=by,
        annotators=annotators,
        listen=told,
    ) as sketches:
        if not len(sketches.pairs.row):
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in sketches.others.items()) or "none"
            raise UsageError(
                f"{result.folder} has no labelled pair (rows read: {kinds}; failed: "
                f"{result.summary['failed']:,}); an audit needs preferences, or ranked answers "
                "with scores or annotators' verdicts: --shape or --columns say how to read a file"
            )
        if by is not None and by not in sketches.groups:
            raise no_such_group(by)
        phase("looking for duplicates and contradictions")
        findings = all_findings(sketches)
        phase("cross-validating linear models")
        found, crossed_style, doubts = label_measures(sketches)
        findings["doubtful_label"] = doubts
        counts: dict[str, Any] = {
            "rows": len(sketches.ids),
            "pairs": len(sketches.pairs.row),
            "ties": int(sketches.pairs.tie.sum()),
            "prompts": len(np.unique(sketches.pairs.prompt)),
            "other_rows": sketches.others,
            "failed": result.summary["failed"],
        }
        names = [name for name in sketches.split if name is not None]
        counts["splits"] = {name: names.count(name) for name in sorted(set(names))}
        found = counts | found
        found["findings"] = {
            name: {
                "pairs": len(one.pairs),
                "rows": [line for line in islice(_lines(sketches, one), MOST_NAMED)],
            }
            for name, one in findings.items()
        }
        found["groups"] = group_measures(sketches, crossed_style, findings)
        part = result.folder / f"{FINDINGS}.tmp"
        with part.open("w", encoding="utf-8") as file:
            for name, one in findings.items():
                for line in _lines(sketches, one):
                    file.write(json.dumps({"finding": name, **line}) + "\n")
        part.replace(result.folder / FINDINGS)
    write_evaluation(result, found)
    return found


def splits(
    result: Result, source: str | os.PathLike[str] | None, column: str | None
) -> Callable[[Row], str | None]:
    """Return what says which split a row belongs to.

    That is the `column` (by default one called split), else what the step `split` said where a
    finished run is audited, else a name such as train or test in the path of the row's file.
    """
    noted: dict[str, str] = {}
    if source is not None and is_run(Path(source)):
        for row in Rows(Path(source) / "kept"):
            notes = json.loads(row.notes or "{}").values()
            sides = [note["split"] for note in notes if isinstance(note, dict) and "split" in note]
            if sides:
                noted[row.id] = str(sides[-1])
    files: dict[tuple[int, ...], str | None] = {}
    numbers: dict[str, list[int]] = {}
    for entry in result.recipe["inputs"]:
        own = numbers.setdefault(entry["input"], [len(numbers), -1])
        own[1] += 1
        named = _SPLIT.findall(str(entry["file"]).lower())
        files[own[0], own[1]] = named[-1] if named else None

    def split_of(row: Row) -> str | None:
        said = json.loads(row.extra or "{}").get(column or "split")
        if isinstance(said, str) and said:
            return said
        if column is not None and said is not None:
            raise UsageError(f"row {row.id}: column '{column}' holds {said!r:.40}, no split's name")
        return noted.get(row.id) or files.get(row.seq[:2])

    return split_of


def _lines(sketches: Sketches, found: FoundPairs) -> Iterator[dict[str, Any]]:
    """Yield a line for each pair of a finding, with the ids of its row and of its partner's."""
    pairs = sketches.pairs
    values = [None] * len(found.pairs) if found.values is None else found.values.tolist()
    for place, partner, value in zip(found.pairs, found.partners, values, strict=True):
        line: dict[str, Any] = {"row": sketches.ids[pairs.row[place]].tobytes().hex()}
        if pairs.places[place, 0] >= 0:
            line["candidates"] = pairs.places[place].tolist()
        if partner >= 0:
            line["partner"] = sketches.ids[pairs.row[partner]].tobytes().hex()
        if value is not None:
            line["value"] = round(value, 6)
        yield line
