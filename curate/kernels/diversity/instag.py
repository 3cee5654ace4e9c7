"""Complexity-first diverse sampling over tags (InsTag: Lu et al. 2023, arXiv 2308.07074, sec. 4.1).

Rows are taken in the order of their number of tags, the largest first. A pass takes a row if and
only if it has a tag that the pass has not covered yet; when a pass ends, the covered tags are
cleared and the rows that are left are walked again. A pass is broken off as soon as every tag that
a row is left for is covered: what would follow takes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence


def complexity_first(tags: Sequence[Iterable[Hashable]], count: int) -> list[int]:
    """Return at most `count` rows in the order of choice; rows without a tag are never taken."""
    sets = [frozenset(own) for own in tags]
    waiting = sorted((row for row, own in enumerate(sets) if own), key=lambda row: -len(sets[row]))
    carriers: Counter[Hashable] = Counter(tag for own in sets for tag in own)
    chosen: list[int] = []
    while waiting and len(chosen) < count:
        covered: set[Hashable] = set()
        open_tags = len(carriers)
        left: list[int] = []
        for place, row in enumerate(waiting):
            if not open_tags or len(chosen) == count:
                left += waiting[place:]
                break
            new = sets[row] - covered
            if not new:
                left.append(row)
                continue
            chosen.append(row)
            covered |= new
            open_tags -= len(new)
            for tag in sets[row]:
                carriers[tag] -= 1
                if not carriers[tag]:
                    del carriers[tag]
        waiting = left
    return chosen
