"""The rows that ended differently in two runs: how many of each change, and some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from curate.page.drawn_rows import drawn_places, read_rows, row_ends

# How a row ended: outcome, step and reason; a run that does not have the row has no end for it.
End = tuple[str, str, str]
ABSENT: End = ("absent", "", "")


class Change(NamedTuple):
    """How rows ended in one run and in the other, and how many did so."""

    before: End
    after: End
    rows: int


class ChangedRows(NamedTuple):
    """What became of the rows of two runs.

    `both`, `first` and `second` count rows that both kept, and that only one of them kept; `shared`
    those that are in both runs. `changes` are the ways in which rows changed sides, the most
    frequent first; `columns` are the texts of drawn rows, whose `end` is the number of a change.
    """

    shared: int
    both: int
    first: int
    second: int
    changes: tuple[Change, ...]
    columns: dict[str, list[Any]]

    @property
    def changed(self) -> int:
        """The number of rows that ended differently, or for another reason."""
        return sum(change.rows for change in self.changes)


def changed_rows(first: Path, second: Path, most: int) -> ChangedRows:
    """Compare how each row ended in two runs, and draw at most `most` of those that changed.

    At least 20 rows of every change are drawn, where so many are. A row that both runs dropped (or
    failed on) for different reasons has changed, too.
    """
    import numpy as np

    runs = row_ends(first), row_ends(second)
    names = list(dict.fromkeys((ABSENT, *runs[0].names, *runs[1].names)))
    ids = np.union1d(runs[0].ids, runs[1].ids)
    # Of each id its place in either run, and the number of how it ended there.
    (places, ends), (later_places, later_ends) = (run.of(ids, names, ABSENT) for run in runs)
    kept = names.index(("kept", "", "")) if ("kept", "", "") in names else -1
    shared = (places >= 0) & (later_places >= 0)
    moved = np.flatnonzero(ends != later_ends)
    pairs = ends[moved] * len(names) + later_ends[moved]
    codes, numbers, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    found = [
        Change(names[code // len(names)], names[code % len(names)], count)
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    ]
    order = sorted(range(len(found)), key=lambda k: (-found[k].rows, found[k]))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    own = rank[numbers]
    drawn = drawn_places(ids[moved], own, most)
    # A row is shown as the second run has it, or as the first where only that has it.
    at, later = places[moved[drawn]], later_places[moved[drawn]]
    columns: dict[str, list[Any]] = {"end": []}
    for run, of, mask in ((second, later, later >= 0), (first, at, later < 0)):
        sorted_ = np.argsort(of[mask], kind="stable")
        texts, _ = read_rows(run, of[mask][sorted_])
        columns["end"] += own[drawn][mask][sorted_].tolist()
        for name, values in texts.items():
            columns.setdefault(name, []).extend(values)
    return ChangedRows(
        int(shared.sum()),
        int(((ends == kept) & (later_ends == kept)).sum()),
        int(((ends == kept) & (later_ends != kept)).sum()),
        int(((ends != kept) & (later_ends == kept)).sum()),
        tuple(found[k] for k in order),
        columns,
    )
