"""The subsets that are trained on: curated, random draws, the longest rows, all of them.

All come from the same candidates, keep their order, and repeat no row.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from curate.row import Row, canonical_bytes, seed_of


class Subset(NamedTuple):
    """Rows to train on, under a name; `variant` names other settings to train with."""

    name: str
    rows: Sequence[Row]
    variant: str = ""

    def digest(self) -> str:
        """Return a digest of what the rows hold, in order."""
        return fingerprint(self.rows)


def fingerprint(rows: Sequence[Row]) -> str:
    """Return a digest of what rows hold, in order."""
    return f"{seed_of(*(canonical_bytes(row.kind, row.fields).hex() for row in rows)):016x}"


def row_draws(rows: Sequence[Row], count: int, draws: int, seed: int, name: str) -> list[Subset]:
    """Return random subsets of `count` rows each."""
    found = []
    for number in range(1, draws + 1):
        chosen = random.Random(seed_of("draw", name, number, seed)).sample(range(len(rows)), count)
        found.append(Subset(f"{name}-{number}", [rows[n] for n in sorted(chosen)]))
    return found


def token_draws(
    rows: Sequence[Row], lengths: Sequence[int], tokens: int, draws: int, seed: int, name: str
) -> list[Subset]:
    """Return random subsets of about `tokens` supervised tokens each; all rows have the most.

    The last row of a draw stays out where that comes closer.
    """
    found = []
    for number in range(1, draws + 1):
        order = list(range(len(rows)))
        random.Random(seed_of("token draw", name, number, seed)).shuffle(order)
        total, chosen = 0, list[int]()
        for place in order:
            if chosen and abs(total + lengths[place] - tokens) > abs(total - tokens):
                break
            chosen.append(place)
            total += lengths[place]
        found.append(Subset(f"{name}-{number}", [rows[n] for n in sorted(chosen)]))
    return found


def longest_rows(rows: Sequence[Row], lengths: Sequence[int], count: int, name: str) -> Subset:
    """Return the `count` rows with most supervised tokens; of equals the earlier ones."""
    order = sorted(range(len(rows)), key=lambda place: (-lengths[place], place))
    return Subset(name, [rows[n] for n in sorted(order[:count])])
