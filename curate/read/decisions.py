"""What people decided about rows: the file that `reviewed` reads.

A record is one decision, in any form that an input may have (JSON lines, CSV). `row` is the id of
the row, `annotator` who decided, and `decision` what, with a `value` where one is needed:

    keep, drop   no value
    chosen       of a pair `chosen`, `rejected` or `tied`, as its sides stand; of a ranked row
                 the number of the best candidate, from 1, or `tied`; of a labelled row `true` or
                 `false`
    ranks        of a ranked row, the rank of each candidate, 1 the best: a list, or in a table
                 `2,1,3`; equal ranks are ties
    rating       a number
    text         the answer as it should be

`time` (ISO 8601, or seconds since 1970) tells which of two decisions of one person on one row is
the later one, which counts. `group` and `comment` are for readers of the ledger.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from curate.errors import InputError
from curate.read.inputs import open_records
from curate.read.shapes.people.vote_values import number_in
from curate.read.shapes.record_fields import kind_of

KEEP, DROP, CHOSEN, RANKS, RATING, TEXT = "keep", "drop", "chosen", "ranks", "rating", "text"
DECISIONS = (KEEP, DROP, CHOSEN, RANKS, RATING, TEXT)
COLUMNS = ("row", "annotator", "decision", "value", "time", "group", "comment")
_ID = re.compile("[0-9a-f]{32}")
_MOST_NAME = 40


Value = str | float | bool | tuple[int, ...] | None


class Decision(NamedTuple):
    """One decision of one person about one row; `time` is in seconds since 1970."""

    row: str
    annotator: str
    decision: str
    value: Value = None
    time: float | None = None
    group: str | None = None
    comment: str | None = None

    @property
    def about(self) -> str:
        """What it decides: the row's `fate`, or else what `decision` names."""
        return "fate" if self.decision in (KEEP, DROP) else self.decision

    def told(self) -> dict[str, Any]:
        """Return it as a ledger shows it, without the row."""
        known = {name: own for name, own in self._asdict().items() if own is not None}
        return {name: own for name, own in known.items() if name != "row"}


# It is asked for with every row.
@functools.lru_cache(maxsize=4)
def read_decisions(path: str, stamp: tuple[int, ...] = ()) -> dict[str, tuple[Decision, ...]]:
    """Return the decisions of a file by the ids of rows, each row's by annotator.

    A file with another `stamp` (its time and size) is read again.

    Raises:
        InputError: the file cannot be read, a record is not a decision, or one person decides twice
            and no time tells which decision is the later one.
    """
    last: dict[tuple[str, str, str], tuple[Decision, str]] = {}
    for file, reads in open_records(path):
        for number, read in enumerate(reads, 1):
            where = f"{file}:{read.line}" if read.line else f"{file}, record {number}"
            if read.error is not None or not isinstance(read.record, Mapping):
                raise InputError(f"{where}: {read.error or 'a decision must be an object'}")
            try:
                new = decision_of(read.record)
            except ValueError as error:
                raise InputError(f"{where}: {error}") from None
            key = (new.row, new.annotator, new.about)
            old, at = last.get(key, (new, where))
            if (old.decision, old.value) != (new.decision, new.value) and (
                old.time is None or new.time is None or old.time == new.time
            ):
                raise InputError(
                    f"{where}: '{new.annotator}' decided otherwise about row {new.row} at {at}; "
                    "give both a `time`, of which the later one counts, or remove one"
                )
            if (new.time or 0.0) >= (old.time or 0.0):
                last[key] = (new, where)
    if not last:
        raise InputError(f"{path}: it holds no decision")
    found: dict[str, list[Decision]] = {}
    for key in sorted(last):
        found.setdefault(key[0], []).append(last[key][0])
    return {row: tuple(own) for row, own in found.items()}


def decision_of(record: Mapping[str, Any]) -> Decision:
    """Return a record as a decision.

    Raises:
        ValueError: it lacks something, or holds something else; the message says what is allowed.
    """
    given = {name: own for name, own in record.items() if own is not None and own != ""}
    strange = [name for name in given if name not in COLUMNS]
    if strange:
        raise ValueError(f"unknown column '{strange[0]}'; a decision has {', '.join(COLUMNS)}")
    row, what = given.get("row"), given.get("decision")
    if not isinstance(row, str) or not _ID.fullmatch(row):
        raise ValueError(f"row must be a row's id, 32 of 0-9 and a-f, found {row!r:.50}")
    if what not in DECISIONS:
        raise ValueError(f"decision must be one of {', '.join(DECISIONS)}, found {what!r:.50}")
    who = given.get("annotator")
    name = str(who).strip() if isinstance(who, str | int) and not isinstance(who, bool) else ""
    if not name or not name.isprintable() or len(name) > _MOST_NAME:
        raise ValueError(
            f"annotator must be a printable name of up to {_MOST_NAME} letters, found {who!r:.80}"
        )
    value = _value(what, given.get("value"))
    texts = {}
    for column in ("group", "comment"):
        own = given.get(column)
        if own is not None and not isinstance(own, str):
            raise ValueError(f"{column} must be a string, found {kind_of(own)}")
        texts[column] = own
    time = given.get("time")
    seconds = number_in(time)
    if time is not None and seconds is None:
        try:
            told = datetime.fromisoformat(time)
        except (TypeError, ValueError):
            raise ValueError(
                "time must be ISO 8601 (2026-11-29T10:00:00Z) or seconds since 1970, found "
                f"{time!r:.50}"
            ) from None
        # One without a zone is UTC.
        seconds = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    return Decision(row, name, what, value, seconds, **texts)


def standard_ranks(ranks: Sequence[int]) -> tuple[int, ...]:
    """Return ranks in one form: a candidate's is 1 and the number of those ranked above it."""
    return tuple(1 + sum(other < own for other in ranks) for own in ranks)


def _ranks(value: Any) -> tuple[int, ...]:
    """Return the ranks of a list, or of a text such as `2,1,3` or `[2, 1, 3]`."""
    listed = value
    if isinstance(value, str):
        listed = value.strip().removeprefix("[").removesuffix("]").split(",")
    numbers = [number_in(one) for one in listed] if isinstance(listed, list) else []
    ranks = [int(one) for one in numbers if one is not None and one >= 1 and one == int(one)]
    if len(ranks) < 2 or len(ranks) != len(numbers):
        raise ValueError(
            "the value of 'ranks' must be a rank for each candidate, whole numbers from 1 (the "
            f"best) on, as in [2, 1, 3], found {value!r:.50}"
        )
    return standard_ranks(ranks)


def _value(what: str, value: Any) -> Value:
    """Return the value of a decision as its kind has it, or raise `ValueError`."""
    if what in (KEEP, DROP):
        if value is not None:
            raise ValueError(f"'{what}' takes no value, found {value!r:.50}")
        return None
    if what == RATING:
        number = number_in(value)
        if number is None:
            raise ValueError(f"the value of a rating must be a number, found {value!r:.50}")
        return number
    if what == RANKS:
        return _ranks(value)
    if what == TEXT:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"the value of 'text' must be a string, found {kind_of(value)}")
        return value
    if isinstance(value, bool):
        return value
    said = value.strip().lower() if isinstance(value, str) else value
    if said in ("chosen", "rejected", "tied"):
        return str(said)
    if said in ("true", "false"):
        return bool(said == "true")
    number = number_in(said)
    if number is None or number != int(number) or number < 1:
        raise ValueError(
            "the value of 'chosen' must be chosen, rejected or tied, a candidate's number from 1 "
            f"on, or true or false, found {value!r:.50}"
        )
    return int(number)
