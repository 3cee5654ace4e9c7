"""The rows whose texts a page carries: a sample by row id, with some of every reason."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.runs.report import ENDINGS
from curate.runs.rows import Rows, endings

if TYPE_CHECKING:
    import numpy as np

    from curate.chunk import Chunk
    from curate.row import On

PER_REASON = 20
CHARACTERS = 400
# An odd number near 2 ** 64 divided by the golden ratio: it scatters ids that are close together.
_SCATTER = 0x9E3779B97F4A7C15


class DrawnRows(NamedTuple):
    """Columns of the sampled rows, and how many rows they were drawn from.

    `ends` are the ways in which rows of the run end, each as outcome, step and reason; the column
    `end` holds their numbers. `chunks` are the rows themselves, in the same order.
    """

    columns: dict[str, list[Any]]
    ends: tuple[tuple[str, str, str], ...]
    drawn_from: int
    chunks: list[Chunk]

    def some(self, outcome: str, count: int) -> list[dict[str, Any]]:
        """Return `count` rows that ended so, those that every larger draw has too.

        Each has its `id`, `ask` and `answer`, and `why` it ended so.
        """
        import numpy as np

        of = [k for k, end in enumerate(self.columns["end"]) if self.ends[end][0] == outcome]
        ids = np.array([int(self.columns["id"][k][:16], 16) for k in of], np.uint64)
        chosen = (of[k] for k in np.argsort(ids * np.uint64(_SCATTER), kind="stable")[:count])
        return [
            {name: self.columns[name][k] for name in ("id", "ask", "answer")}
            | {"why": ": ".join(filter(None, self.ends[self.columns["end"][k]][1:]))}
            for k in chosen
        ]

    def texts(self, on: On) -> dict[str, str]:
        """Return the whole text that `on` names of each row, by id."""
        texts = [text or "" for chunk in self.chunks for text in chunk.texts(on).to_pylist()]
        return dict(zip(self.columns["id"], texts, strict=True))

    def notes(self, label: str, name: str) -> dict[str, str]:
        """Return what the step `label` noted under `name` of each row that has such a note."""
        found = {}
        every = (note for chunk in self.chunks for note in chunk.column("notes").to_pylist())
        for row, text in zip(self.columns["id"], every, strict=True):
            note = json.loads(text).get(label) if text else None
            if isinstance(note, dict) and name in note:
                found[row] = str(note[name])
        return found


class RowEnds(NamedTuple):
    """Every row of a run in the order of its files: ids as 64-bit numbers, and how each ended.

    `ends` holds numbers into `names`, each an outcome, a step and a reason.
    """

    ids: np.ndarray
    ends: np.ndarray
    names: tuple[tuple[str, str, str], ...]

    def of(
        self,
        ids: np.ndarray,
        names: Sequence[tuple[str, str, str]],
        absent: tuple[str, str, str],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return each id's place, -1 of an absent one, and how it ended, as a number in `names`."""
        import numpy as np

        places, ends = np.full(len(ids), -1), np.full(len(ids), names.index(absent))
        if len(self.ids):
            order = np.argsort(self.ids, kind="stable")
            at = np.minimum(np.searchsorted(self.ids[order], ids), len(order) - 1)
            there = self.ids[order][at] == ids
            places[there] = order[at][there]
            number = {name: k for k, name in enumerate(names)}
            own = np.array([number[name] for name in self.names])
            ends[there] = own[self.ends[places[there]]]
        return places, ends


def draw_rows(run: Path, most: int) -> DrawnRows:
    """Draw at most `most` rows by their ids, and at least 20 of every reason, where so many are.

    The draw depends on ids alone: the same run gives the same rows.
    """
    every = row_ends(run)
    wanted = drawn_places(every.ids, every.ends, most)
    columns, chunks = read_rows(run, wanted)
    columns["end"] = every.ends[wanted].tolist()
    return DrawnRows(columns, every.names, len(every.ids), chunks)


def row_ends(run: Path) -> RowEnds:
    """Return how every row of a run ended."""
    import numpy as np

    ends: dict[tuple[str, str, str], int] = {}
    files = list(_files(run, ends))
    ids = np.concatenate([np.empty(0, np.uint64), *(ids for ids, _ in files)])
    every = np.concatenate([np.empty(0, np.int64), *(own for _, own in files)])
    return RowEnds(ids, every, tuple(ends))


def read_rows(run: Path, places: np.ndarray) -> tuple[dict[str, list[Any]], list[Chunk]]:
    """Return rows by their ascending places among all of a run: columns of texts, and the rows."""
    import numpy as np
    import pyarrow.compute as pc

    from curate.chunk import Chunk

    names = ("id", "source", "ask", "answer", "words")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    chunks = []
    start = 0
    for outcome in ENDINGS:
        for table in Rows(run / outcome).tables():
            low, high = np.searchsorted(places, (start, start + len(table)))
            rows = table.take(places[low:high] - start).combine_chunks()
            start += len(table)
            chunk = Chunk(rows)
            chunks.append(chunk)
            found = [value.hex() for value in rows.column("id").to_pylist()]
            answers = chunk.texts("response")
            columns["id"] += found
            columns["source"] += [value or "" for value in rows.column("source").to_pylist()]
            asks = chunk.texts("instruction").to_pylist()
            raw = chunk.column("raw").to_pylist() if "raw" in rows.column_names else []
            for index, line in enumerate(raw):
                # An unreadable line is all that there is of it.
                asks[index] = asks[index] or (line or b"").decode("utf-8", "replace")
            columns["ask"] += [clipped(text) for text in asks]
            columns["answer"] += [clipped(text) for text in answers.to_pylist()]
            words = pc.fill_null(pc.count_substring_regex(answers, r"\S+"), 0)
            columns["words"] += words.to_pylist()
    return columns, chunks


def clipped(text: str | None, most: int = CHARACTERS) -> str:
    """Return the first characters of a text; one that is cut ends in an ellipsis.

    What is not Unicode text (half of a surrogate pair) becomes a question mark.
    """
    text = (text or "").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= most else text[: most - 1] + "…"


def drawn_places(ids: np.ndarray, ends: np.ndarray, most: int) -> np.ndarray:
    """Return the places of the drawn rows, ascending: `most`, and at least 20 of each end."""
    import numpy as np

    # Ids are hashes, but those of test data need not be spread.
    order = np.argsort(ids * np.uint64(_SCATTER), kind="stable")
    drawn = [order[:most]]
    if len(order) > most:
        # Errors often quote what they are about, and are as many as rows: all ends in one pass.
        by_end = order[np.argsort(ends[order], kind="stable")]
        starts = np.searchsorted(ends[by_end], ends[by_end])
        drawn.append(by_end[np.arange(len(by_end)) - starts < PER_REASON])
    return np.unique(np.concatenate(drawn))


def _files(
    run: Path, ends: dict[tuple[str, str, str], int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the ids and ends of each file of rows; new ways to end are added to `ends`."""
    import numpy as np

    def number(*end: str) -> int:
        return ends.setdefault((end[0], end[1], end[2]), len(ends))

    dropped = endings(run)
    keys = as_numbers(dropped.column("row"))
    order = np.argsort(keys, kind="stable")
    pairs = dropped.select(["step", "reason"]).to_pydict()
    reasons = np.array(
        [
            number("dropped", step, reason or "")
            for step, reason in zip(pairs["step"], pairs["reason"], strict=True)
        ],
        np.int64,
    )
    for outcome in ENDINGS:
        columns = ["id", "step", "error"] if outcome == "failed" else ["id"]
        for table in Rows(run / outcome).tables(columns):
            ids = as_numbers(table.column("id"))
            if outcome == "dropped":
                at = np.minimum(np.searchsorted(keys[order], ids), len(keys) - 1)
                yield ids, reasons[order[at]]
            elif outcome == "failed":
                said = table.select(["step", "error"]).to_pylist()
                found = [number("failed", e["step"] or "", e["error"] or "") for e in said]
                yield ids, np.array(found, np.int64)
            else:
                yield ids, np.full(len(ids), number(outcome, "", ""), np.int64)


def as_numbers(ids: Any) -> np.ndarray:
    """Return the first eight bytes of each id of a column as a number."""
    import numpy as np

    joined = b"".join(ids.to_pylist())
    return np.frombuffer(joined, np.dtype(">u8")).reshape(-1, 2)[:, 0].astype(np.uint64)
