"""Labelled pairs of a row: two answers to one prompt, and who preferred which."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from curate.errors import UsageError
from curate.evaluate.judgement_columns import verdict_at
from curate.row import Message, Row

Turns = tuple[Message, ...]
# A column of each annotator's verdict, as PandaLM has them.
_ANNOTATOR = re.compile(r"annotator_?\d+")
_LANGUAGES = ("language", "lang")
_SIDES = {"chosen": 1.0, "rejected": 0.0, "tied": 0.5}


class LabelledPair(NamedTuple):
    """Two answers to one prompt, the preferred one first.

    `places`: those of the answers among the row's candidates, `None` in a preference. `tie`: no
    answer is preferred. `views`: by kind of group (language, annotator) and name, 1 where the group
    prefers `chosen`, 0 where it prefers the other, 0.5 for neither.
    """

    row: Row
    places: tuple[int, int] | None
    chosen: Turns
    rejected: Turns
    tie: bool
    views: Mapping[str, Mapping[str, float]]

    def side(self, number: int) -> Turns:
        """Return the chosen answer (0) or the rejected one (1)."""
        return self.rejected if number else self.chosen


def pairs_of_row(
    row: Row, by: str | None = None, annotators: Sequence[str] = ()
) -> Iterator[LabelledPair]:
    """Yield the labelled pairs of a row.

    A preference is one pair; a margin of 0 or a `p_chosen` of 0.5 makes it a tie. Candidates of a
    ranked row are paired two by two where both have scores. Where each annotator has a column
    (`annotators`, by default those called annotator1 and so on that hold 0, 1 or 2), two candidates
    are labelled by the verdict of most annotators instead, and are tied where no verdict has more
    votes than every other.

    Args:
        row: any row; conversations and prompts have no pairs.
        by: a column whose values are groups, beside language and annotator.
        annotators: columns with a verdict each.

    Raises:
        UsageError: one of the columns of `annotators` holds no verdict.
    """
    if row.kind not in ("preference", "ranked"):
        return
    columns: dict[str, Any] = json.loads(row.extra or "{}")
    views = _column_views(columns, by)
    if row.kind == "preference":
        tie = row.fields.get("margin") == 0 or row.fields.get("p_chosen") == 0.5
        tie = tie or columns.get("tie") is True
        votes, groups = columns.get("votes"), columns.get("groups")
        if isinstance(votes, dict):
            # A column of the user's may be called so, and hold anything.
            said = {str(who): v for who, v in votes.items() if isinstance(v, str)}
            named = {who: _SIDES[v] for who, v in said.items() if v in _SIDES}
            views["annotator"] = {**named, **views.get("annotator", {})}
        if isinstance(groups, dict):
            shares = {name: g.get("p_chosen") for name, g in groups.items() if isinstance(g, dict)}
            views["group"] = {
                str(name): 0.5 if share == 0.5 else float(share > 0.5)
                for name, share in shares.items()
                if isinstance(share, int | float)
            }
        yield LabelledPair(row, None, row.chosen, row.rejected, tie, views)
        return
    verdicts = _verdicts(row, columns, annotators) if len(row.candidates) == 2 else {}
    for i, j in combinations(range(len(row.candidates)), 2):
        one, other = row.candidates[i], row.candidates[j]
        if verdicts:
            (most, count), *rest = Counter(verdicts.values()).most_common()
            label = most if not rest or rest[0][1] < count else 0.5
        elif one.score is None or other.score is None:
            continue
        else:
            label = 0.5 if one.score == other.score else float(one.score > other.score)
        if label == 0:
            i, j, one, other = j, i, other, one
            verdicts = {name: 1 - said for name, said in verdicts.items()}
        own = {**views, "annotator": verdicts} if verdicts else views
        yield LabelledPair(row, (i, j), one.messages, other.messages, label == 0.5, own)


def _column_views(columns: Mapping[str, Any], by: str | None) -> dict[str, dict[str, float]]:
    """Return the groups that a row itself belongs to: all of them prefer its chosen answer."""
    kinds = {"language": _LANGUAGES, "annotator": ("annotator",)} | ({by: (by,)} if by else {})
    found = {}
    for kind, names in kinds.items():
        values = (columns[name] for name in names if columns.get(name) not in (None, "", [], {}))
        if (value := next(values, None)) is not None:
            found[kind] = {str(value): 1.0}
    return found


def _verdicts(row: Row, columns: Mapping[str, Any], named: Sequence[str]) -> dict[str, float]:
    """Return what each annotator says of the first of two candidates."""
    names = named or [
        name
        for name, value in columns.items()
        if _ANNOTATOR.fullmatch(name) and value in (0, 1, 2) and not isinstance(value, bool)
    ]
    try:
        said = {name: verdict_at(columns, name) for name in names}
    except ValueError as error:
        raise UsageError(f"row {row.id}: {error}") from error
    return {name: value for name, value in said.items() if value is not None}
