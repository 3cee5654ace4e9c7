"""Which pairs of a dataset are wrong or doubtful, each with the row that says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.evaluate.preference.sketches import Sketches
from curate.kernels.sets.jaccard import nearest_kept
from curate.kernels.votes.cycles import cyclic

SIMILARITY = 0.8
# Splits that a model learns from; every other one is held out.
_TRAINED = "train"


class FoundPairs(NamedTuple):
    """Pairs of one finding, in order, and beside each one the pair that it is found by (-1: none).

    `values` says how strong it is, where that is a number: a similarity, a probability.
    """

    pairs: np.ndarray
    partners: np.ndarray
    values: np.ndarray | None = None

    @classmethod
    def alone(cls, mask: Any) -> FoundPairs:
        """Return the pairs of a mask, found by themselves."""
        places = np.flatnonzero(mask)
        return cls(places, np.full(len(places), -1))


def duplicates(sketches: Sketches) -> FoundPairs:
    """Find pairs that repeat an earlier row's: one prompt, one chosen and one rejected answer."""
    keys = np.column_stack([sketches.pairs.prompt, sketches.pairs.sides])
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    partner = first[group.ravel()]
    row = sketches.pairs.row
    places = np.flatnonzero(row[partner] != row)
    return FoundPairs(places, partner[places])


def near_duplicates(sketches: Sketches, repeated: FoundPairs) -> FoundPairs:
    """Find rows whose prompt and answers share 80 % of their word 3-grams with an earlier row's.

    A pair of each row is named, the first one. Rows whose pairs are `repeated` are left out.
    """
    kept = nearest_kept(sketches.texts, np.arange(len(sketches.ids)), SIMILARITY)
    exact = set(sketches.pairs.row[repeated.pairs].tolist())
    rows = [row for row in np.flatnonzero(kept.partner >= 0).tolist() if row not in exact]
    # Pairs stand in the order of their rows.
    first = np.searchsorted(sketches.pairs.row, np.arange(len(sketches.ids)))
    return FoundPairs(first[rows], first[kept.partner[rows]], kept.similarity[rows])


def contradictions(sketches: Sketches) -> FoundPairs:
    """Find pairs whose two answers stand the other way round in a pair with the same prompt."""
    pairs = sketches.pairs
    sides = np.sort(pairs.sides, axis=1)
    keys = np.column_stack([pairs.prompt, sides])
    forward = pairs.sides[:, 0] < pairs.sides[:, 1]
    decided = np.flatnonzero(~pairs.tie & (sides[:, 0] != sides[:, 1]))
    _, group = np.unique(keys[decided], axis=0, return_inverse=True)
    group = group.ravel()
    first = np.full((2, len(decided)), -1)
    for place in range(len(decided) - 1, -1, -1):
        first[int(forward[decided[place]]), group[place]] = decided[place]
    against = first[1 - forward[decided].astype(int), group]
    hits = against >= 0
    return FoundPairs(decided[hits], against[hits])


def cycles(sketches: Sketches) -> FoundPairs:
    """Find pairs on circles of preferences: a before b, b before c, and c before a.

    Several pairs of the same two answers count as their majority, so that a contradiction is no
    circle. Every pair that is part of a circle is named.
    """
    pairs = sketches.pairs
    decided = np.flatnonzero(~pairs.tie & (pairs.sides[:, 0] != pairs.sides[:, 1]))
    by_prompt: dict[int, list[int]] = defaultdict(list)
    for place in decided.tolist():
        by_prompt[int(pairs.prompt[place])].append(place)
    found = list[int]()
    for places in by_prompt.values():
        if len(places) < 3:
            continue
        wins: dict[tuple[int, int], int] = defaultdict(int)
        for place in places:
            better, worse = pairs.sides[place].tolist()
            wins[better, worse] += 1
        beats = [two for two, count in wins.items() if count > wins.get(two[::-1], 0)]
        circles = cyclic(beats)
        sides = (tuple(pairs.sides[place].tolist()) for place in places)
        found += [p for p, two in zip(places, sides, strict=True) if two in circles]
    named = np.array(sorted(found), np.int64)
    return FoundPairs(named, np.full(len(named), -1))


def leaks(sketches: Sketches) -> tuple[FoundPairs, FoundPairs]:
    """Find held-out rows whose prompt stands in another split, or one that shares 80 % of 3-grams.

    Rows of every split but `train` are held out, each compared with the rows of all other splits; a
    pair of each row is named, the first one.
    """
    pairs = sketches.pairs
    first = np.searchsorted(pairs.row, np.arange(len(sketches.ids)))
    splits = np.array([name or "" for name in sketches.split], object)
    exact, near = list[tuple[int, int, float]](), list[tuple[int, int, float]]()
    for name in sorted(set(splits.tolist()) - {_TRAINED, ""}):
        own = np.flatnonzero(splits == name)
        # Of two splits that are both held out, the later one by name is compared with the other.
        others = np.flatnonzero([s == _TRAINED or (s != "" and s < name) for s in splits.tolist()])
        if not len(others):
            continue
        keys = pairs.prompt[first]
        known = dict(zip(keys[others][::-1].tolist(), others[::-1].tolist(), strict=True))
        rest = list[int]()
        for row in own.tolist():
            other = known.get(int(keys[row]))
            if other is None:
                rest.append(row)
            else:
                exact.append((row, other, 1.0))
        near += _close_prompts(sketches.prompts, np.array(rest, np.int64), others)
    return _found(exact, first), _found(near, first)


def _close_prompts(
    prompts: pa.ChunkedArray, own: np.ndarray, others: np.ndarray
) -> Iterator[tuple[int, int, float]]:
    """Yield each row of `own` with the row of `others` whose prompt is closest, if it is close."""
    from curate.kernels.sets.jaccard_against import closest_other

    if not len(own):
        return
    sets = prompts.take(pa.array(np.concatenate([own, others])))
    close = closest_other(pa.chunked_array([sets]) if isinstance(sets, pa.Array) else sets,
                          len(own), SIMILARITY)  # fmt: skip
    for place in np.flatnonzero(close.partner >= 0).tolist():
        other = int(others[close.partner[place] - len(own)])
        yield int(own[place]), other, float(close.similarity[place])


def _found(rows: Sequence[tuple[int, int, float]], first: np.ndarray) -> FoundPairs:
    ordered = sorted(rows)
    own, others, values = (np.array([one[n] for one in ordered]) for n in range(3))
    if not len(ordered):
        return FoundPairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    return FoundPairs(first[own], first[others], values)
