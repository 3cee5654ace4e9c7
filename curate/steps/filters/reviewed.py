"""Keep, drop and relabel rows as people decided."""

from __future__ import annotations

import functools
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from curate.errors import UsageError
from curate.row import Message, Record, Row, digest
from curate.step import Drop, Figures, FigureTotal, Generate, Made, Product, rule

if TYPE_CHECKING:
    from curate.read.decisions import Decision

_MET = "row "
_MARKS = "curate"
_SHOWN_NAMES, _SHOWN_IDS = 40, 5
# The time and size of what is not a file of this machine.
_UNKNOWN = (0, 0)


class _Settled(NamedTuple):
    """What several people's values of one kind come to; `value` is `None` where none prevails."""

    value: Any
    shares: Mapping[Any, float]
    by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Reviewed(Generate):
    """Apply people's decisions: keep, drop or relabel rows; undecided rows pass.

    `file` has one decision per record: `row` (an id), `annotator`, `decision`, `value`, and
    optionally `time`, `group` and `comment`. The decisions `keep` and `drop` need no value.
    `chosen` names the better side of a pair (`chosen`, `rejected` or `tied`; the pair is swapped if
    necessary, and gets the share of votes as `p_chosen`), the better candidate of a ranked row (its
    number from 1; scores become shares of votes), or whether a labelled answer is wanted (`true`,
    `false`). `ranks` has the rank of each candidate of a ranked row (1 is the best, equal ranks are
    ties); the candidates' scores become the share of the others that a candidate beats (ties count
    half), as the mean over people. `rating` is a number, and the mean becomes the row's score. Rows
    rated below `at_least` are dropped. `text` replaces the answer (in a prompt, the last turn).

    `settle` says how several people decide: more than half of them (`majority`) or all
    (`unanimous`); ratings and ranks have a mean in any case. `ties` says what happens if no
    decision prevails: the row passes (`pass`), is dropped (`drop`) or fails (`fail`). A person's
    later decision replaces an earlier one. The ledger records who decided what; the report shows
    how many rows people disagree on, and which rows of the file were not seen here. All fields are
    rules: another file sends no request again.
    A decision that does not apply to the row's kind fails the row.
    """

    file: str = rule("")
    settle: Literal["majority", "unanimous"] = rule("majority")
    ties: Literal["pass", "drop", "fail"] = rule("pass")
    at_least: float | None = rule(None)

    source: ClassVar[str] = "common practice"
    scores_made: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step without a file."""
        if not self.file:
            raise ValueError("file names no decisions; give it, as in file: decisions.jsonl")

    def prepare(self) -> None:
        """Read the decisions, or reject a file that is not there or holds something else."""
        from curate.read.decisions import read_decisions

        self.__dict__.pop("_stamp", None)  # it may have changed since the last run
        if self._stamp == _UNKNOWN:
            read_decisions.cache_clear()
        try:
            self.decisions()
        except UsageError as error:
            raise ValueError(str(error)) from None

    def data_digest(self) -> str:
        """Return a digest of the decisions."""
        return digest(repr(sorted(self.decisions().items())).encode("utf-8", "replace")).hex()

    def decisions(self) -> Mapping[str, tuple[Decision, ...]]:
        """Return the decisions by rows' ids, read once."""
        from curate.read.decisions import read_decisions

        return read_decisions(self.file, self._stamp)

    @functools.cached_property
    def _stamp(self) -> tuple[int, int]:
        try:
            found = os.stat(self.file)
        except OSError:
            return _UNKNOWN  # an address, or whoever reads it will say so
        return (found.st_mtime_ns, found.st_size)

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """A relabelled row is of its parent's kind."""
        return kinds

    def make(self, row: Row) -> Product | list[Product]:
        """Return the row, a drop, or the row as people would have it."""
        found = self.decisions()
        name = row.id
        if name not in found and row.extra is not None and _MARKS in row.extra:
            # A file that was exported with marks says which rows of which run its rows were.
            marks = json.loads(row.extra).get(_MARKS)
            name = str(marks.get("id")) if isinstance(marks, dict) else name
        own = found.get(name)
        if own is None:
            return row
        detail: dict[str, Any] = {"decisions": [one.told() for one in own]}
        by_kind: dict[str, list[Decision]] = {}
        for one in own:
            by_kind.setdefault(one.about, []).append(one)
        settled = {about: self.settled(votes, row) for about, votes in by_kind.items()}
        open_ = [about for about, found in settled.items() if found.value is None]
        differ = any(len({(d.decision, d.value) for d in votes}) > 1 for votes in by_kind.values())
        figures = {_MET + name: 1.0, "reviewed": 1.0, "disagreements": float(differ)}
        figures["undecided"] = float(bool(open_))
        fate = settled.get("fate")
        if fate is not None and fate.value == "drop":
            return [Drop(f"dropped by {_names(fate.by)}", detail=detail), Figures(figures)]
        if open_ and self.ties != "pass":
            said = "; ".join(f"{d.annotator}: {_said(d)}" for a in open_ for d in by_kind[a])
            if self.ties == "fail":
                raise ValueError(
                    f"the annotators disagree ({said}); ties: pass lets such rows pass"
                )
            return [Drop("the annotators disagree", detail=detail), Figures(figures)]
        rated = settled.get("rating")
        rating: float | None = rated and rated.value
        if rated and rating is not None and self.at_least is not None and rating < self.at_least:
            reason = f"rated below {self.at_least:g} by {_names(rated.by)}"
            return [Drop(reason, rating, detail=detail), Figures(figures)]
        if {"chosen", "ranks"} <= settled.keys():
            raise ValueError(
                "some people chose the best candidate and others ranked them all; decisions about "
                "one row are of one kind: remove either from the file"
            )
        better = settled.get("chosen") or settled.get("ranks")
        record = relabelled(row, better, settled.get("text"), self.title)
        if record == row.rewrite() and rating is None:
            return [row, Figures(figures, detail)]
        return [Made(record, rating, detail), Figures(figures | {"relabelled": 1.0})]

    def settled(self, votes: Sequence[Decision], row: Row) -> _Settled:
        """Return what the votes of one kind come to."""
        names = tuple(one.annotator for one in votes)
        if votes[0].decision == "rating":
            numbers = [one.value for one in votes if isinstance(one.value, int | float)]
            return _Settled(sum(numbers) / len(numbers), {}, names)
        if votes[0].decision == "ranks":
            return _Settled(_mean_shares(votes, row), {}, names)
        if votes[0].decision == "chosen":
            allowed = _choices(row) + ["tied"] * (row.kind in ("preference", "ranked"))
            for one in votes:
                # 1 equals true, and is not a label.
                if not any(
                    one.value == a and isinstance(a, bool) == isinstance(one.value, bool)
                    for a in allowed
                ):
                    named = ", ".join(str(own).lower() for own in allowed) or "no such thing"
                    raise ValueError(
                        f"'{one.annotator}' chose {_said(one)}; {row.kind} rows allow {named}"
                    )
        said = [one.decision if one.about == "fate" else one.value for one in votes]
        counts = Counter(said)
        if votes[0].decision == "chosen" and (tied := counts.pop("tied", 0)):
            # A tie is half a vote for either side of a pair, and a part for each candidate.
            sides = _choices(row)
            counts = Counter({side: counts[side] + tied / len(sides) for side in sides})
        shares = {value: count / len(votes) for value, count in counts.items()}
        best = max(shares, key=lambda value: shares[value])
        won = shares[best] == 1 if self.settle == "unanimous" else shares[best] > 0.5
        by = tuple(name for name, own in zip(names, said, strict=True) if own == best)
        return _Settled(best if won else None, shares, by if won else names)

    def figures(self, found: Mapping[str, FigureTotal]) -> dict[str, float]:
        """Return how many rows were reviewed and relabelled, and on how many people disagree."""
        return {name: own.sum for name, own in found.items() if not name.startswith(_MET)}

    def remarks(self, found: Mapping[str, FigureTotal]) -> tuple[str, ...]:
        """Say which rows of the file were not reviewed."""
        met = {name.removeprefix(_MET) for name in found if name.startswith(_MET)}
        missing = [row for row in self.decisions() if row not in met]
        if not missing:
            return ()
        more = "" if len(missing) <= _SHOWN_IDS else f" and {len(missing) - _SHOWN_IDS:,} more"
        return (
            f"{len(missing):,} of {len(self.decisions()):,} rows of {self.file} were not reviewed "
            f"here: {', '.join(missing[:_SHOWN_IDS])}{more}; they failed here or were dropped "
            "before, or their ids are those of another run: what a step made has its id only in "
            "the recipe that made it, or in a file that was exported with --marks",
        )


def _choices(row: Row) -> list[Any]:
    """Return what a person can prefer in a row, but a tie."""
    if row.kind == "ranked":
        return list(range(1, len(row.candidates) + 1))
    found: dict[str, list[Any]] = {"preference": ["chosen", "rejected"], "unpaired": [True, False]}
    return found.get(row.kind, [])


def _mean_shares(votes: Sequence[Decision], row: Row) -> tuple[float, ...]:
    """Return the share of the others that each candidate beats, as the mean over rankings."""
    from curate.kernels.votes.rankings import shares_beaten

    if row.kind != "ranked":
        raise ValueError(
            f"'{votes[0].annotator}' ranked candidates; this is a {row.kind} row, which has none"
        )
    shares = []
    for one in votes:
        ranks = one.value if isinstance(one.value, tuple) else ()
        if len(ranks) != len(row.candidates):
            raise ValueError(
                f"'{one.annotator}' ranked {len(ranks)} candidates; the row has "
                f"{len(row.candidates)}: give each one's rank, in the order of the row"
            )
        shares.append(shares_beaten(ranks))
    return tuple(math.fsum(own) / len(own) for own in zip(*shares, strict=True))


def relabelled(row: Row, chosen: _Settled | None, text: _Settled | None, title: str) -> Record:
    """Return the row's record with the label and the text that people gave it."""
    from curate.steps.pairs._answers import rescored
    from curate.steps.pairs.prefer import pair_of

    record = row.rewrite()
    if chosen is not None and chosen.value is not None:
        if row.kind == "preference":
            pair, before = pair_of(row), row.fields.get("p_chosen")
            if chosen.value == "rejected":
                pair, before = pair.swapped(), before and 1 - before
            record = pair.record(row, chosen.shares[chosen.value])
            if before is not None:
                columns, name = json.loads(record.extra or "{}"), f"p_chosen_before_{title}"
                if name in columns:
                    raise ValueError(f"the row has a column '{name}', which would be lost")
                columns[name] = before
                record = record._replace(extra=json.dumps(columns, ensure_ascii=False))
        elif row.kind == "unpaired":
            record = row.rewrite(label=chosen.value)
        else:
            ranked = isinstance(chosen.value, tuple)
            shares = [
                chosen.value[number - 1] if ranked else chosen.shares.get(number, 0.0)
                for number in _choices(row)
            ]
            scored = [rescored(*one, title) for one in zip(row.candidates, shares, strict=True)]
            record = row.rewrite(candidates=tuple(scored))
    if text is None or text.value is None:
        return record
    field = {"sft": "messages", "preference": "chosen", "unpaired": "completion"}.get(
        row.kind, "prompt"
    )
    if row.kind == "ranked":
        raise ValueError("a text was written for a ranked row, which has several answers")
    *before, last = record.fields[field] or (Message("", ""),)
    wanted = "user" if row.kind == "prompt" else "assistant"
    if last.role != wanted or last.parts is not None:
        raise ValueError(
            f"a text was written for a row that does not end in the {wanted}'s plain text"
        )
    turns = (*before, Message(wanted, text.value))
    if row.kind == "preference" and turns == tuple(record.fields["rejected"]):
        raise ValueError("the text that was written for the chosen answer is the rejected one")
    return record._replace(fields={**record.fields, field: turns})


def _said(one: Decision) -> str:
    """Return a decision in a word or two."""
    return one.decision if one.value is None else f"{one.decision} {one.value!r:.40}"


def _names(names: Sequence[str]) -> str:
    """Return names for a reason, which has room for a few."""
    shown, *others = sorted(names)
    for count, name in enumerate(others, 1):
        if len(shown) + len(name) > _SHOWN_NAMES:
            return f"{shown} and {len(names) - count} more"
        shown += f", {name}"
    return shown
