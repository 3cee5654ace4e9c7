"""Make one preference of several people's votes, and keep how far they agree."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Literal, NamedTuple

from curate.row import Candidate, Message, Record, Row, canonical_bytes, digest
from curate.step import Drop, Figures, FigureTotal, Gather, Made, Product, rule
from curate.steps.pairs._answers import shared_columns

VOTES = ("first", "second", "tied")
COLUMNS = ("votes", "groups")
# What the names of figures begin with: of how all votes on two answers fell, and of two people's.
_COUNTS, _BOTH = "counts", "both"
Turns = tuple[Message, ...]


class _Vote(NamedTuple):
    """One person's preference between two answers, which stand in an order of their own."""

    annotator: str
    group: str | None
    sides: tuple[Turns, Turns]
    said: str
    margin: float | None = None

    @property
    def first_wins(self) -> float:
        """1 where the first answer is preferred, 0 where the second is, 0.5 for a tie."""
        return {"first": 1.0, "second": 0.0, "tied": 0.5}[self.said]

    @property
    def ahead(self) -> float | None:
        """By how much the first answer is better, where the vote says how much."""
        if self.said == "tied" or self.margin is None:
            return 0.0 if self.said == "tied" else None
        return self.margin if self.said == "first" else -self.margin


@dataclass(frozen=True, kw_only=True)
class Aggregate(Gather):
    """Aggregate the votes of several people on the same answers.

    Each row is one vote: a preference, with the voter in the column `annotator`. A column `tie`
    that is true, or a margin of 0, makes it a tie. `method: majority` turns the votes on two
    answers into one preference with `p_chosen`, the share of votes for the chosen answer, with ties
    counting half; its margin is the mean of the votes' margins, with opposite votes counted as
    negative, if all votes have one. `method: bradley_terry` turns the votes on all answers to a
    prompt into a ranked row, with log-strengths of mean 0 as scores. Preferences with a share below
    `at_least` are dropped, and draws always are. `prior` wins are added to each side of every pair
    (for Bradley-Terry).

    No disagreement is lost: the column `votes` records who voted how. `group` names a column (a
    culture, a role); the column `groups` then has, for every group, its number of votes, its share
    for the chosen answer, and its consensus: the fraction of its votes that agree with its
    majority. `apart` makes one preference per group instead, decided by that group's majority. If a
    person votes twice on the same two answers, the group fails.

    The report has Cohen's kappa (the mean over pairs of people with votes on the same pairs,
    weighted by their number), Fleiss' kappa and Krippendorff's alpha of all votes, and for
    `bradley_terry` the share of prompts whose majorities form a cycle.
    """

    method: Literal["majority", "bradley_terry"] = "majority"
    annotator: str = "annotator"
    tie: str = "tie"
    group: str | None = None
    apart: bool = False
    at_least: float = rule(0.5)
    prior: float = rule(0.5)

    source: ClassVar[str] = (
        "Bradley & Terry 1952; Cohen 1960; Fleiss 1971; Krippendorff 2011; common practice"
    )
    version: ClassVar[int] = 3
    kinds: ClassVar[tuple[str, ...]] = ("preference",)
    scores_made: ClassVar[bool] = True

    def check(self) -> None:
        """Reject limits that are none, and groups that have no name."""
        if not 0 <= self.at_least <= 1:
            raise ValueError(f"at_least is {self.at_least:g}; it is a share of votes, from 0 to 1")
        if not self.prior >= 0:
            raise ValueError(f"prior is {self.prior:g}; it must be 0 or more")
        if self.apart and (self.group is None or self.method != "majority"):
            raise ValueError("apart needs method: majority and group, the column of the groups")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Preferences, or by strengths ranked answers."""
        made = frozenset({"preference" if self.method == "majority" else "ranked"})
        return made | (kinds if self.keep_parent else frozenset())

    def key(self, row: Row) -> str:
        """Return a key of the prompt, and by majority of the two answers, too."""
        parts = [_bytes(row.prompt)]
        if self.method == "majority":
            parts += sorted(_bytes(side) for side in (row.chosen, row.rejected))
        return digest(b"".join(parts)).hex()

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Count the votes of one group."""
        votes = [self._vote(row) for row in rows]
        seen = Counter((vote.annotator, *map(_bytes, vote.sides)) for vote in votes)
        twice = next((key[0] for key, count in seen.items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"the annotator '{twice}' voted twice on the same two answers")
        if self.method == "bradley_terry":
            return self._ranked(rows, votes)
        counts = [str(sum(vote.said == name for vote in votes)) for name in VOTES]
        ordered = sorted(votes, key=lambda vote: vote.annotator)
        # Every two people, and what each of them said: the cells of Cohen's tables.
        cells = [(a.annotator, b.annotator, a.said, b.said) for a, b in combinations(ordered, 2)]
        named = [(_COUNTS, *counts), *((_BOTH, *cell) for cell in cells)]
        figures = Figures({json.dumps(name): 1.0 for name in named})
        if not self.apart:
            return [self._preference(rows, votes, votes, None), figures]
        found: dict[str, list[_Vote]] = defaultdict(list)
        for vote in votes:
            found[vote.group or ""].append(vote)
        return [*(self._preference(rows, votes, own, g) for g, own in found.items()), figures]

    def figures(self, found: Mapping[str, FigureTotal]) -> Mapping[str, float]:
        """Return how far the votes agree beyond chance, and how many prompts have circles."""
        from curate.kernels.votes.raters import cohen_kappa, fleiss_kappa, krippendorff_alpha

        if self.method == "bradley_terry":
            return super().figures(found)
        # Each way in which votes on two answers fell, and on how many they fell so.
        counts: list[list[float]] = []
        times: list[float] = []
        tables: dict[tuple[str, str], Any] = defaultdict(lambda: [[0.0] * 3 for _ in VOTES])
        for name, own in found.items():
            what, *told = json.loads(name)
            if what == _COUNTS:
                counts.append([float(count) for count in told])
                times.append(own.sum)
            else:
                one, other, first, second = told
                tables[one, other][VOTES.index(first)][VOTES.index(second)] += own.sum
        weighed = [(cohen_kappa(t), sum(map(sum, t))) for t in tables.values()]
        known = [(kappa, items) for kappa, items in weighed if kappa == kappa]
        ways = list(zip(counts, times, strict=True))
        agreed = {
            "votes": sum(sum(own) * count for own, count in ways),
            "unanimous": sum(c for own, c in ways if max(own) == sum(own)) / sum(times),
            "fleiss kappa": fleiss_kappa(counts, times),
            "krippendorff alpha": krippendorff_alpha(counts, times=times),
        }
        if known:
            items = sum(count for _, count in known)
            agreed["cohen kappa"] = sum(kappa * count for kappa, count in known) / items
        return {name: value for name, value in agreed.items() if value == value}

    def _vote(self, row: Row) -> _Vote:
        from curate.read.shapes.record_fields import extra_columns

        columns = extra_columns(row)
        taken = next((n for n in COLUMNS[: 1 if self.group is None else 2] if n in columns), None)
        if taken is not None:
            raise ValueError(f"the row has a column '{taken}' already; rename it")
        who = columns.get(self.annotator)
        if not isinstance(who, str | int) or isinstance(who, bool) or who == "":
            raise ValueError(f"a vote has no annotator: column '{self.annotator}' is {who!r:.40}")
        group = None if self.group is None else columns.get(self.group)
        if self.group is not None and (group is None or group == ""):
            raise ValueError(f"a vote has no group: the column '{self.group}' is empty")
        tied = columns.get(self.tie) is True or row.fields.get("margin") == 0
        sides = sorted((row.chosen, row.rejected), key=_bytes)
        said = "tied" if tied else "first" if sides[0] == row.chosen else "second"
        named = None if group is None else str(group)
        return _Vote(str(who), named, (sides[0], sides[1]), said, row.fields.get("margin"))

    def _preference(
        self, rows: Sequence[Row], votes: Sequence[_Vote], own: Sequence[_Vote], group: str | None
    ) -> Made | Drop:
        """Return what `own` votes come to; the row names all `votes` on the pair."""
        sides, p_first = own[0].sides, _share(own)
        first = p_first >= 0.5
        chosen, rejected = sides if first else sides[::-1]
        share = p_first if first else 1 - p_first
        columns = shared_columns(rows, (self.annotator, self.tie, self.group))
        names = (
            {"first": "chosen", "second": "rejected"}
            if first
            else {"first": "rejected", "second": "chosen"}
        )
        columns["votes"] = {v.annotator: names.get(v.said, v.said) for v in votes}
        if group is not None:
            columns[self.group or ""] = group
        if self.group is not None:
            found: dict[str, list[_Vote]] = defaultdict(list)
            for vote in votes:
                found[vote.group or ""].append(vote)
            columns["groups"] = {
                name: {
                    "votes": len(group_votes),
                    "p_chosen": _share(group_votes) if first else 1 - _share(group_votes),
                    "consensus": max(Counter(v.said for v in group_votes).values())
                    / len(group_votes),
                }
                for name, group_votes in found.items()
            }
        ahead = [vote.ahead for vote in own]
        margin = None
        if None not in ahead and any(vote.margin for vote in own):
            margin = math.fsum(one or 0.0 for one in ahead) / len(ahead)
            margin = margin if first else -margin
        fields = {
            "prompt": rows[0].prompt,
            "chosen": chosen,
            "rejected": rejected,
            "margin": margin,
            "p_chosen": share,
        }
        record = Record("preference", fields, json.dumps(columns, ensure_ascii=False))
        if share == 0.5:
            return Drop("as many votes for one answer as for the other", share, record)
        if share < self.at_least:
            return Drop(f"fewer than {self.at_least:g} of the votes agree", share, record)
        return Made(record, share, {"votes": len(own)})

    def _ranked(self, rows: Sequence[Row], votes: Sequence[_Vote]) -> list[Product]:
        """Return the answers to one prompt, scored by their strengths."""
        import numpy as np

        from curate.kernels.votes.strengths import bradley_terry, has_cycle

        answers = list(dict.fromkeys(side for row in rows for side in (row.chosen, row.rejected)))
        place = {answer: number for number, answer in enumerate(answers)}
        wins = np.zeros((len(answers), len(answers)))
        for vote in votes:
            first, second = (place[side] for side in vote.sides)
            wins[first, second] += vote.first_wins
            wins[second, first] += 1 - vote.first_wins
        circle = has_cycle(wins)
        candidates = tuple(
            Candidate(answer, float(strength))
            for answer, strength in zip(answers, bradley_terry(wins, self.prior), strict=True)
        )
        columns = shared_columns(rows, (self.annotator, self.tie, self.group))
        columns["votes"] = wins.tolist()
        record = Record(
            "ranked",
            {"prompt": rows[0].prompt, "candidates": candidates},
            json.dumps(columns, ensure_ascii=False),
        )
        detail = {"votes": len(votes), "circle": circle}
        return [Made(record, None, detail), Figures({"circles": float(circle)})]


def _bytes(turns: Turns) -> bytes:
    return canonical_bytes("prompt", {"prompt": turns})


def _share(votes: Sequence[_Vote]) -> float:
    """Return the share of votes for the first answer, ties half."""
    return sum(vote.first_wins for vote in votes) / len(votes)


def turned_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a preference, given before its two sides change places.

    What begins or ends with a side's name (`chosen_model`, `score_chosen`) becomes the other
    side's, and who voted for what (`votes`, `groups`) is told of the sides as they stand then.
    """
    other = {"chosen": "rejected", "rejected": "chosen"}
    turned = {
        re.sub("^(chosen|rejected)(?=_)|(?<=_)(chosen|rejected)$", lambda m: other[m[0]], name): own
        for name, own in columns.items()
    }
    votes, groups = (turned.get(name) for name in COLUMNS)
    if isinstance(votes, dict):
        turned["votes"] = {
            who: other.get(said, said) if isinstance(said, str) else said
            for who, said in votes.items()
        }
    if isinstance(groups, dict):
        turned["groups"] = {
            name: {**own, "p_chosen": 1 - own["p_chosen"]}
            if isinstance(own, dict) and "p_chosen" in own
            else own
            for name, own in groups.items()
        }
    return turned
