"""Find rows of a run: by id, by their place in a file, or as examples of what was refused and why.

Everything is read file by file, and only the columns that are needed: a look at a run of a million
rows holds one file of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from curate.errors import UsageError
from curate.read.finished_runs import published_files
from curate.runs.report import ENDINGS, cause_of
from curate.runs.rows import working_columns

if TYPE_CHECKING:
    import pyarrow as pa

_ENDS = ("dropped", "failed")


def id_of(folder: Path, text: str, inputs: Sequence[Mapping[str, Any]]) -> str:
    """Return the id of the row that `text` means: the id's first digits, or FILE:NUMBER.

    `inputs` are the files of the run in order, as `run.yaml` lists them; NUMBER counts the records
    of a file from 1, as `came from` does, or is the line of one that could not be read, as a report
    has it. Blank lines and a table's header are lines and no records.

    Raises:
        UsageError: no row, or more than one, is meant.
    """
    import pyarrow.parquet as pq

    file, colon, number = text.strip().rpartition(":")
    if colon and number.isdecimal():
        record = int(number)
        names = list(dict.fromkeys(entry["input"] for entry in inputs))
        ordinals = dict.fromkeys(names, -1)
        places = []
        for entry in inputs:
            ordinals[entry["input"]] += 1
            if PurePath(entry["file"]).parts[-len(PurePath(file).parts) :] == PurePath(file).parts:
                places.append([names.index(entry["input"]), ordinals[entry["input"]], record - 1])
        if not places:
            files = ", ".join(entry["file"] for entry in inputs) or "no file"
            raise UsageError(f"'{file}' is not an input of this run; it read {files}")
        found = list(_ids_at(folder, places))
        unread, wanted_file = list[str](), PurePath(file).parts
        for path in _files(folder, ["failed"]):
            if {"file", "line"} <= set(pq.read_schema(path).names):
                table = pq.read_table(path, columns=["id", "file", "line"])
                unread += [
                    one["id"].hex()
                    for one in table.to_pylist()
                    if one["line"] == record
                    and PurePath(one["file"]).parts[-len(wanted_file) :] == wanted_file
                ]
        if unread and found and unread != found:
            raise UsageError(
                f"'{text}' is two rows: record {record:,} is {found[0]}, and line {record:,}, "
                f"which could not be read, is {unread[0]}; give one of these ids"
            )
        found = found or unread
        if not found:
            known, read = [place[:2] for place in places], 0
            for path in _files(folder):
                seqs = pq.read_table(path, columns=["seq"]).column("seq").to_pylist()
                read = max([read, *(q[2] + 1 for q in seqs if len(q) == 3 and q[:2] in known)])
            said = f"{file} has no record {int(number):,}: {folder} read {read:,} of it"
            raise UsageError(f"{said}, counted from 1")
    else:
        wanted = text.strip().lower()
        if not wanted or any(c not in "0123456789abcdef" for c in wanted):
            raise UsageError(
                f"'{text}' is not a row: give the first digits of its id, or FILE:NUMBER for a "
                f"record of an input; `curate explain {folder}` shows rows of every reason"
            )
        found = [
            value.hex()
            for path in _files(folder)
            for value in pq.read_table(path, columns=["id"]).column("id").to_pylist()
            if value.hex().startswith(wanted)
        ]
    if not found:
        raise UsageError(f"no row of {folder} is '{text}'; `curate explain {folder}` shows some")
    if len(found) > 1:
        some = ", ".join(found[:5])
        raise UsageError(f"{len(found):,} rows are '{text}' ({some}...): give more of it")
    return found[0]


def _ids_at(folder: Path, places: Sequence[Sequence[int]]) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for path in _files(folder):
        table = pq.read_table(path, columns=["id", "seq"])
        for place in places:
            # What was made has a longer `seq` than what was read.
            seqs = table.column("seq")
            mask = pc.equal(pc.list_value_length(seqs), len(place))
            # A shorter list has no such element to look at.
            seqs = pc.if_else(mask, seqs, pa.scalar([-1] * len(place), seqs.type))
            for index, number in enumerate(place):
                mask = pc.and_(mask, pc.equal(pc.list_element(seqs, index), number))
            for value in table.filter(mask).column("id"):
                yield value.as_py().hex()


def _files(folder: Path, sections: Iterable[str] = ENDINGS) -> Iterator[Path]:
    for section in sections:
        yield from published_files(folder / section)


@dataclass
class Examples:
    """The rows that ended at one step for one reason: how many there are, and some of them.

    `texts` holds the instruction and the response of these by id; of an unreadable line, itself.
    `scores` are what the step gave them, `partners` the rows that it kept instead (their texts are
    in `texts`, too), and `details` the evidence that it noted.
    """

    step: str
    outcome: str
    reason: str
    count: int = 0
    ids: list[str] = field(default_factory=list)
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    scores: dict[str, float | None] = field(default_factory=dict)
    partners: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def examples(
    folder: Path, labels: Sequence[str], most: int, step: str | None = None
) -> list[Examples]:
    """Return every reason for which rows were dropped or failed, step by step, with `most` rows.

    They are the first ones; of one `step`, those whose scores are closest to the rule.

    Raises:
        UsageError: no step has that label.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from curate.chunk import rows_of

    every = ("read", *labels)
    if step is not None and step not in every:
        raise UsageError(f"no step is labelled '{step}'; this run has {', '.join(labels)}")
    found = [
        each
        for label in (every if step is None else (step,))
        for each in _of_step(folder, label, most, closest=step is not None)
    ]
    wanted = {one for each in found for one in (*each.ids, *each.partners.values())}
    sections = _ENDS if step is None else ENDINGS
    texts: dict[str, tuple[str, str]] = {}
    binary = [bytes.fromhex(one) for one in wanted]
    for path in _files(folder, sections) if wanted else ():
        column = pq.read_table(path, columns=["id"]).column("id")
        mask = pc.is_in(column, pa.array(binary, column.type))
        if pc.any(mask).as_py():
            table = pq.ParquetFile(path).read().filter(mask)
            raw = table.column("raw").to_pylist() if "raw" in table.column_names else []
            rows = rows_of(working_columns(table, path.parent.name))
            for row, line in zip_longest(rows, raw):
                text = (line or b"").decode("utf-8", "replace")
                texts[row.id] = (row.instruction, row.response) if row.kind else (text, "")
    for each in found:
        ids = (*each.ids, *each.partners.values())
        each.texts = {one: texts[one] for one in ids if one in texts}
    return found


def _of_step(folder: Path, label: str, most: int, *, closest: bool) -> Iterator[Examples]:
    """Yield what one step refused, reason by reason."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    reasons: dict[tuple[str, str], _Reason] = {}
    passed = _Mean()
    for path in published_files(folder / "ledger" / label):
        names = ["row", "outcome", "reason", "score", "partner", "detail"]
        table = pq.read_table(path, columns=names)
        refused = pc.is_in(table.column("outcome"), pa.array(_ENDS))
        passed.add(table.filter(pc.invert(refused)).column("score"))
        ended = table.filter(refused)
        ended = ended.append_column("replied", _replied(ended))
        keys = ["outcome", "reason", "replied"]
        found = ended.group_by(keys, use_threads=False).aggregate([])
        for line in found.to_pylist():
            outcome, reason, replied = line["outcome"], line["reason"] or "", line["replied"]
            same = pc.and_(
                pc.equal(ended.column("outcome"), outcome),
                pc.and_(
                    pc.equal(pc.fill_null(ended.column("reason"), ""), reason),
                    pc.equal(ended.column("replied"), replied),
                ),
            )
            cause = cause_of(reason) if replied else reason
            each = reasons.setdefault((outcome, cause), _Reason(reason))
            # What its errors have in common, where there are several.
            each.text = reason if each.text == reason else cause
            each.add(ended.filter(same), most)
    for (outcome, _), each in reasons.items():
        lines = each.closest(passed, most) if closest else each.first[:most]
        ids = [line["row"].hex() for line in lines]
        pairs = list(zip(ids, lines, strict=True))
        yield Examples(
            label,
            outcome,
            each.text,
            each.count,
            ids,
            scores={one: line["score"] for one, line in pairs},
            partners={one: line["partner"].hex() for one, line in pairs if line["partner"]},
            details={one: json.loads(line["detail"]) for one, line in pairs if line["detail"]},
        )


def _replied(lines: pa.Table) -> pa.ChunkedArray:
    """Return for each line of a ledger whether its row failed after a model had replied."""
    import pyarrow.compute as pc

    # What such a line notes are the requests that it rests on, and nothing else.
    asked = pc.fill_null(pc.starts_with(lines.column("detail"), '{"asked":'), False)
    return pc.and_(pc.equal(lines.column("outcome"), "failed"), asked)


def errors_with_replies(folder: Path, label: str) -> set[str]:
    """Return the errors with which rows of one step failed after a model had replied."""
    import pyarrow.parquet as pq

    found = set[str]()
    for path in published_files(folder / "ledger" / label):
        names = ["outcome", "reason", "detail"]
        lines = pq.read_table(path, columns=names, filters=[("outcome", "=", "failed")])
        found.update(lines.filter(_replied(lines)).column("reason").unique().to_pylist())
    return found


@dataclass
class _Mean:
    """The mean of scores that come file by file."""

    total: float = 0.0
    count: int = 0

    def add(self, scores: pa.ChunkedArray) -> None:
        import pyarrow.compute as pc

        self.total += pc.sum(scores).as_py() or 0.0
        self.count += len(scores) - scores.null_count

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass
class _Reason:
    """The ledger lines of one reason: the first ones, and those of the lowest and highest score."""

    text: str
    count: int = 0
    first: list[dict[str, Any]] = field(default_factory=list)
    lowest: list[dict[str, Any]] = field(default_factory=list)
    highest: list[dict[str, Any]] = field(default_factory=list)
    mean: _Mean = field(default_factory=_Mean)

    def add(self, lines: pa.Table, most: int) -> None:
        import pyarrow.compute as pc

        self.count += len(lines)
        self.mean.add(lines.column("score"))
        self.first = [*self.first, *lines.slice(0, most).to_pylist()][:most]
        for name, order, sign in (("lowest", "ascending", 1), ("highest", "descending", -1)):
            # Stable: of equal scores the earlier row comes first, and rows without one come last.
            best = pc.sort_indices(lines, [("score", order)])[:most]
            every = [*getattr(self, name), *lines.take(best).to_pylist()]
            scores = [math.inf if one["score"] is None else sign * one["score"] for one in every]
            order_of = sorted(range(len(every)), key=scores.__getitem__)
            setattr(self, name, [every[at] for at in order_of[:most]])

    def closest(self, passed: _Mean, most: int) -> list[dict[str, Any]]:
        """Return the rows that came closest to passing, from the side on which their scores lie."""
        ours, theirs = self.mean.value, passed.value
        below = ours is not None and theirs is not None and ours < theirs
        return self.highest if below else self.lowest
