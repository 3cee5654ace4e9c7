"""The rows of a proof: raw, cleaned, split, curated, each kept in the proof's folder.

The split comes first: the recipe sees candidates only. Mandatory cleaning is the same for all arms:
unreadable lines, exact duplicates, and what the recipe's own `contamination` steps drop.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.errors import FolderTaken, StoppedShort, UsageError
from curate.evaluate.proof.held_out_split import HeldOutSplit, apart_from, hold_out_rows
from curate.evaluate.proof.subsets import fingerprint
from curate.pipeline import Pipeline, Result
from curate.read.finished_runs import is_run
from curate.read.shapes.record_fields import extra_columns
from curate.row import Row, printable
from curate.runs.folder import RunFolder
from curate.runs.rows import as_record
from curate.steps import Contamination, Exact, Split
from curate.system.package_data import names_rows, recipe
from curate.system.posix import write_atomically

# What a recipe may make of rows, and how that is trained.
METHODS: Mapping[str, str] = {"sft": "sft", "preference": "dpo"}


class Material(NamedTuple):
    """Rows by what they are for, groups of the curated ones where asked for, and what to know."""

    held_out: list[Row]
    clusters: NDArray[np.int64]
    candidates: list[Row]
    curated: list[Row]
    groups: dict[str, list[Row]]
    notes: list[str]
    kind: str
    # What further versions of the recipe keep.
    versions: list[list[Row]] = []  # noqa: RUF012


def recipe_material(
    pipeline: Pipeline,
    out: Path,
    *,
    held_out: int | str,
    seed: int,
    by: str | None = None,
    versions: int = 1,
    asks: bool = True,
    **options: Any,
) -> Material:
    """Clean, split and curate what a recipe reads.

    It is run once for each of `versions`, each with a seed of its own. Without `asks` a recipe that
    asks models is not run: all candidates then stand for its rows.

    Raises:
        UsageError: the recipe has no input, mixes kinds of rows, or makes another kind.
        StoppedShort: rows failed in the recipe.
    """
    if pipeline.inputs is None:
        raise UsageError("the recipe has no inputs; name them in it, or with --set inputs=PATH")
    cleaning = [Exact(), *(one for one in pipeline.steps if isinstance(one, Contamination))]
    raw = _run(dataclasses.replace(pipeline, steps=tuple(cleaning), outputs=None), out / "raw",
               **options)  # fmt: skip
    notes = [f"{raw.summary['failed']:,} raw records could not be read, or failed while cleaning"]
    notes = notes if raw.summary["failed"] else []
    rows = list(raw.kept)
    if isinstance(held_out, str):
        neutral = _run(Pipeline([Exact()], inputs=held_out), out / "neutral", **options)
        split = apart_from(list(neutral.kept), rows)
    elif not 0 < held_out <= len(rows) // 2:
        raise UsageError(
            f"--held-out {held_out:,} cannot be taken of {len(rows):,} raw rows: at most half of "
            "them can; name a file of neutral rows (--held-out FILE), or fewer rows"
        )
    else:
        split = hold_out_rows(rows, held_out, seed)
    if not split.candidates:
        raise UsageError(
            f"no candidate is left of {len(rows):,} raw rows: every prompt is like one that is "
            "held out; hold other rows out"
        )
    if split.removed:
        notes.append(f"{split.removed:,} candidates were removed: prompts like held-out ones")
    runs = [split.candidates] * versions
    if asks or not any(step.reads_models() for step in pipeline.steps):
        inputs = _write_candidates(split.candidates, pipeline, out / "candidates")
        given = dataclasses.replace(pipeline, inputs=inputs, outputs=None)
        runs, split = curated_versions(given, split, out, versions, notes, options)
    else:
        notes.append("the recipe asks models and was not run: figures are as if it kept all rows")
    curated = runs[0]
    kind = kind_of(curated)
    others = Counter(row.kind for row in split.candidates if row.kind != kind)
    notes += [f"{count:,} {other} rows are not candidates" for other, count in others.items()]
    candidates = [row for row in split.candidates if row.kind == kind]
    if not candidates:
        raise UsageError(
            f"the recipe makes {kind} rows of others, and prove compares rows with others of their "
            "own kind; give it a recipe that starts from such rows"
        )
    own = np.array([row.kind == kind for row in split.held_out], np.bool_)
    held = [row for row in split.held_out if row.kind == kind]
    groups = grouped(curated, by, notes) if by is not None else {}
    return Material(held, split.clusters[own], candidates, curated, groups, notes, kind, runs[1:])


def curated_versions(
    pipeline: Pipeline,
    split: HeldOutSplit,
    out: Path,
    versions: int,
    notes: list[str],
    options: Mapping[str, Any],
) -> tuple[list[list[Row]], HeldOutSplit]:
    """Return what a recipe keeps, once for each seed, and the split without what failed in it.

    A candidate that failed, or of which all rows did, is in no arm: draws of it would be compared
    with a choice that never was one, and a judge that fails on bad rows would seem to have taste.

    Raises:
        UsageError: all versions are the same.
    """
    runs, lost = list[list[Row]](), set[str]()
    for number in range(versions):
        version = dataclasses.replace(pipeline, seed=pipeline.seed + number)
        result = _run(version, out / (f"curated-{number + 1}" if number else "curated"), **options)
        kept, whole = result.kept, len(result.kept)
        if any(isinstance(step, Split) for step in pipeline.steps):
            kept = kept.split("train")
            notes.append(f"{whole - len(kept):,} rows that the recipe's `split` tests on are out")
        curated = list(kept)
        if result.summary["failed"]:
            succeeded = {one for row in curated for one in row.parents}
            failed = {one for row in result.failed for one in (row.id, *row.parents)}
            lost |= failed - succeeded
        # Rows that the recipe makes may come close to what is held out.
        known_ids = {row.id for row in split.candidates}
        made = [row for row in curated if row.id not in known_ids]
        if made and (close := apart_from(split.held_out, made)).removed:
            apart = {row.id for row in close.candidates} | known_ids
            curated = [row for row in curated if row.id in apart]
            notes.append(f"{close.removed:,} rows that the recipe made are out: like held-out ones")
        runs.append(curated)
    if versions > 1 and len({fingerprint(rows) for rows in runs}) == 1:
        raise UsageError(
            f"{versions} versions of the recipe kept the same rows: no step of it draws by the "
            "seed, so leave --versions out"
        )
    decided = [row for row in split.candidates if row.id not in lost]
    if count := len(split.candidates) - len(decided):
        notes.append(
            f"{count:,} of {len(split.candidates):,} candidates "
            f"({count / len(split.candidates):.1%}) failed in the recipe, and are in no arm"
        )
        runs = [[row for row in rows if row.id not in lost] for rows in runs]
    return runs, split._replace(candidates=decided)


def dataset_material(
    given: Sequence[str], out: Path, *, held_out: int | str, **options: Any
) -> Material:
    """Read datasets that are compared: recipes, runs or data, with rows held out in a file.

    Raises:
        UsageError: no file of held-out rows is named, or kinds of rows differ.
    """
    if not isinstance(held_out, str):
        raise UsageError(
            "--between needs --held-out FILE: rows held out of one dataset would favour it"
        )
    neutral = _run(Pipeline([Exact()], inputs=held_out), out / "neutral", **options)
    held, groups, notes = list(neutral.kept), dict[str, list[Row]](), list[str]()
    for number, where in enumerate(given):
        data = names_rows(where) or is_run(Path(where))
        pipeline = Pipeline([Exact()], inputs=where) if data else Pipeline.from_yaml(recipe(where))
        result = _run(dataclasses.replace(pipeline, outputs=None), out / f"dataset-{number}",
                      **options)  # fmt: skip
        split = apart_from(held, list(result.kept))
        if split.removed:
            notes.append(f"{split.removed:,} rows of {where} were removed: like held-out ones")
        groups[where] = split.candidates
        clusters = split.clusters
    if len(groups) < len(given):
        raise UsageError(f"--between names a dataset twice: {', '.join(given)}")
    every = [row for rows in groups.values() for row in rows]
    kind = kind_of(every)
    own = np.array([row.kind == kind for row in held], np.bool_)
    return Material([row for row in held if row.kind == kind], clusters[own], every, every,
                    groups, notes, kind)  # fmt: skip


def share_spending(folder: Path) -> None:
    """Let a run of a proof count its spending with all others: a ceiling holds over the proof."""
    run = RunFolder(folder)
    # A run that was begun without them goes on with its own.
    if not run.state.exists():
        run.share_spending(RunFolder(folder.parent / ".spending"))


def _run(pipeline: Pipeline, folder: Path, **options: Any) -> Result:
    """Run a pipeline in a folder of the proof, or read what it has left there."""
    share_spending(folder)
    try:
        result = pipeline.run(run=folder, **options)
    except FolderTaken as taken:
        raise UsageError(
            f"{taken.found}: data, recipe or options have changed since this proof began; choose "
            "another folder (-o)"
        ) from taken
    if result.exit_code:
        share = result.summary["failed"] / max(1, result.summary["in"] + result.summary["made"])
        failed = (
            f"{result.summary['failed']:,} rows failed ({share:.1%}): --retry-failed asks again "
            "where a reply was unusable, --allow-failed SHARE goes on without such rows"
        )
        raise StoppedShort(
            f"{folder} stopped short: {result.message or failed}; curate report {folder}"
        )
    return result


def kind_of(rows: Iterable[Row]) -> str:
    """Return the one kind of rows that can be trained.

    Raises:
        UsageError: there is none, or more than one.
    """
    counts = Counter(row.kind for row in rows)
    if len(counts) != 1 or not set(counts) <= set(METHODS):
        found = " and ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
        raise UsageError(
            f"found {found or 'no'} rows; prove trains sft rows, or preference rows, and one kind "
            "at a time"
        )
    return next(iter(counts))


def _write_candidates(rows: Sequence[Row], pipeline: Pipeline, folder: Path) -> Any:
    """Write the rows of each source as a file, and return the recipe's inputs with those files."""
    folder.mkdir(exist_ok=True)
    named = isinstance(pipeline.inputs, str)
    names = [None] if named else list(pipeline.inputs or {})
    files = {}
    for number, name in enumerate(names):
        own = [row for row in rows if named or row.source == name]
        if own:
            lines = (json.dumps(as_record(row), ensure_ascii=False) for row in own)
            files[name or ""] = str(folder / f"{number}.jsonl")
            write_atomically(Path(files[name or ""]), "\n".join(lines) + "\n")
    return files[""] if named else {name: {"path": path} for name, path in files.items()}


def grouped(rows: Sequence[Row], by: str, notes: list[str]) -> dict[str, list[Row]]:
    """Return rows by the value of an extra column; `source` is otherwise the input's name.

    Raises:
        UsageError: no row has it.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        value = extra_columns(row).get(by)
        if value is None and by == "source":
            value = row.source
        if value is not None:
            groups.setdefault(printable(str(value)), []).append(row)
    if not groups:
        raise UsageError(f"no row has a value of '{by}'; --by takes `source` or an extra column")
    left = len(rows) - sum(map(len, groups.values()))
    if left:
        notes.append(f"{left:,} rows have no value of '{by}' and belong to no group")
    return dict(sorted(groups.items()))
