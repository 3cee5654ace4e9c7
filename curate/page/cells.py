"""Controlled diversity: how many rows each cell was planned to have, and how many it has."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.runs.rows import Rows

# The steps that plan cells, count them, and mix tasks in given shares.
PLAN, COUNT, MIX = "attributes", "cell_coverage", "mix"
KEPT = "kept"
_MEAN = " mean"
_BEFORE = ": rows before"


class CellTable(NamedTuple):
    """The cells of one attribute (or of several, joined by slashes), or the tasks of a mixture.

    Each cell has a value and a number for every column, `None` where a column says nothing of it.
    `planned` and `there` are the places of the columns to compare: what was planned, and what there
    is.
    """

    title: str
    columns: tuple[str, ...]
    cells: tuple[tuple[str, tuple[float | None, ...]], ...]
    planned: int | None
    there: int | None

    @property
    def empty(self) -> int:
        """The number of cells that were planned and of which there is no row."""
        if self.planned is None or self.there is None:
            return 0
        return sum(bool(n[self.planned]) and not n[self.there] for _, n in self.cells)


def cell_tables(run: Path, summary: Mapping[str, Any]) -> list[CellTable]:
    """Return the tables of a run that planned what its rows are about, or that mixed tasks."""
    figures = summary.get("figures", {})
    labels: dict[str, list[str]] = {PLAN: [], COUNT: [], MIX: []}
    for step in summary["steps"]:
        if step["label"] in figures:
            labels.get(step["name"], []).append(step["label"])
    # By attribute and value, what each step says; in the order in which they say it.
    found: dict[str, dict[str, dict[str, float]]] = {}
    means: dict[str, dict[str, float]] = {}
    for label in (*labels[PLAN], *labels[COUNT]):
        for name, number in figures[label].items():
            path, equals, value = name.partition("=")
            if equals:
                found.setdefault(path, {}).setdefault(value, {})[label] = number
            elif name.endswith(_MEAN) and label in labels[PLAN]:
                means.setdefault(name.removesuffix(_MEAN), {})[label] = number
    planned = {
        path
        for path, cells in found.items()
        if any(label in said for said in cells.values() for label in labels[PLAN])
    }
    paths = [path for path in found if path in planned]
    counts, sums = _kept_cells(run, paths, list(means)) if labels[PLAN] else ({}, {})
    for path, counter in counts.items():
        for value, rows in counter.items():
            found[path].setdefault(value, {})[KEPT] = float(rows)
        for cells in found[path].values():
            cells.setdefault(KEPT, 0.0)
    for name, mean in sums.items():
        means[name][KEPT] = mean
    tables = [_table(path, cells, labels) for path, cells in found.items()]
    tables += [_table(f"{name}, mean", {"": cells}, labels) for name, cells in means.items()]
    for label in labels[MIX]:
        # Rows before, rows taken and their share, of each task.
        own, parts = figures[label], ("rows before", "rows", "share")
        tasks = [name.removesuffix(_BEFORE) for name in own if name.endswith(_BEFORE)]
        lines = tuple((task, tuple(own.get(f"{task}: {part}") for part in parts)) for task in tasks)
        tables.append(CellTable(label, parts, lines, None, None))
    return tables


def _table(
    title: str, cells: Mapping[str, Mapping[str, float]], labels: Mapping[str, Sequence[str]]
) -> CellTable:
    """Return a table with a column for each step that says something, and for the kept rows."""
    said = {label for each in cells.values() for label in each}
    columns = [one for one in (*labels[PLAN], *labels[COUNT], KEPT) if one in said]
    planned = next((columns.index(one) for one in labels[PLAN] if one in said), None)
    there = len(columns) - 1 if columns[-1] not in labels[PLAN] else None
    rows = tuple((value, tuple(each.get(c) for c in columns)) for value, each in cells.items())
    return CellTable(title, tuple(columns), rows, planned, there)


def _kept_cells(
    run: Path, paths: Sequence[str], means: Sequence[str]
) -> tuple[dict[str, Counter[str]], dict[str, float]]:
    """Count the kept rows of each cell by their columns, and take the means of others.

    A path of which no kept row has a column is absent: nothing was made by that plan.
    """
    split = {path: path.split("/") for path in paths}
    counts: dict[str, Counter[str]] = {path: Counter() for path in paths}
    numbers: dict[str, list[float]] = {name: [] for name in means}
    for table in Rows(run / "kept").tables(["extra"]):
        for text in table.column("extra").to_pylist():
            columns = json.loads(text) if text else {}
            for path, names in split.items():
                if all(name in columns for name in names):
                    values = (columns[name] for name in names)
                    texts = (
                        v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)
                        for v in values
                    )
                    counts[path]["/".join(texts)] += 1
            for name in means:
                value = columns.get(name)
                if isinstance(value, int | float) and not isinstance(value, bool):
                    numbers[name].append(float(value))
    return (
        {path: counter for path, counter in counts.items() if counter},
        {name: math.fsum(own) / len(own) for name, own in numbers.items() if own},
    )
