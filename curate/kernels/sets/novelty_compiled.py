"""The compiled path of `kernels.sets.novelty`: an index of rare words, subsequences by bits.

Words are numbered; the k-th occurrence of a word in its text is a member of its own, so that a text
is a set. Members are ranked from the rarest on, and a text's first ones stand in an index of chains
in which a later text meets every text that can be too similar to it. Longest common subsequences
take a 64-bit word of state for each 64 words of a text (Hyyrö 2004).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curate.kernels.sets.rouge import Acceptance, Similar, most_similar, prefix_length
from curate.kernels.sets.set_column import count_bits

_0, _1 = np.uint64(0), np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


class Texts(NamedTuple):
    """All texts, one after the other.

    Text `k` has the words `words[starts[k] : starts[k + 1]]` (numbers below `different`), and in
    the same place of `members` the ranks of its members, the rarest first.
    """

    words: np.ndarray
    members: np.ndarray
    starts: np.ndarray
    different: int


def novel_large(
    flat: np.ndarray, sizes: np.ndarray, count: int, limit: float | None, neighbours: int
) -> Acceptance:
    """Do the work of `novel` on texts given as their words, one after the other, and sizes."""
    texts = numbered(flat, sizes)
    order = np.concatenate([np.arange(count, len(sizes)), np.arange(count)]).astype(np.int64)
    first = len(sizes) - count
    if neighbours:
        return _all_similar(texts, order, first, limit, neighbours)
    prefixes = {int(size): prefix_length(int(size), limit or 0.0) for size in np.unique(sizes)}
    prefix = np.array([prefixes[size] for size in sizes.tolist()], np.int64)
    rejected, partner = np.zeros(count, np.bool_), np.full(count, -1, np.int64)
    score = np.full(count, np.nan)
    if limit is not None:
        heads = np.full(int(texts.members.max(initial=-1)) + 1, -1, np.int32)
        entries = np.empty((int(prefix.sum()), 2), np.int32)
        masks = np.zeros(texts.different, np.uint64)
        longest = int(sizes.max(initial=0))
        carry = np.zeros(longest, np.uint8)
        _walk(
            *texts[:3], order, first, prefix, limit, heads, entries, masks, carry,
            rejected, partner, score,
        )  # fmt: skip
    return Acceptance(rejected, partner, score, None)


def numbered(flat: np.ndarray, sizes: np.ndarray) -> Texts:
    """Number the words of texts, and rank their members."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    different, words = np.unique(flat, return_inverse=True)
    row = np.repeat(np.arange(len(sizes)), sizes)
    # Occurrence numbers: places within runs of the same word in the same text.
    by_word = np.lexsort((words, row))
    runs = np.ones(len(words), np.bool_)
    runs[1:] = (np.diff(words[by_word]) != 0) | (np.diff(row[by_word]) != 0)
    heads = np.flatnonzero(runs)
    occurrence = np.empty(len(words), np.int64)
    lengths = np.diff(np.append(heads, len(words)))
    occurrence[by_word] = np.arange(len(words)) - np.repeat(heads, lengths)
    _, member, often = np.unique(
        occurrence * max(1, len(different)) + words, return_inverse=True, return_counts=True
    )
    ranks = np.empty(len(often), np.int64)
    ranks[np.argsort(often, kind="stable")] = np.arange(len(often))
    ranked = ranks[member]
    ranked = ranked[np.lexsort((ranked, row))]
    return Texts(words.astype(np.uint32), ranked.astype(np.int32), starts, len(different))


def _all_similar(
    texts: Texts, order: np.ndarray, first: int, limit: float | None, neighbours: int
) -> Acceptance:
    """Compare every text with all of the pool, and list the most similar."""
    count = len(order) - first
    rejected, partner = np.zeros(count, np.bool_), np.full(count, -1, np.int64)
    score = np.zeros(count)
    similar: list[Similar] = []
    pool, size = np.empty(len(order), np.int64), first
    pool[:first] = order[:first]
    masks = np.zeros(texts.different, np.uint64)
    carry = np.zeros(int(np.diff(texts.starts).max(initial=0)), np.uint8)
    scores = np.empty(len(order))
    for place in range(count):
        every_score(*texts[:3], place, pool[:size], masks, carry, scores)
        found = most_similar(scores[:size], pool[:size], neighbours)
        similar.append(found)
        if found.scores and found.scores[0] > 0:
            partner[place], score[place] = found.places[0], found.scores[0]
        rejected[place] = limit is not None and score[place] > limit
        if not rejected[place]:
            pool[size], size = place, size + 1
    return Acceptance(rejected, partner, score, similar)


@njit(nogil=True, cache=True, inline="always")
def _f_measure(common: Any, one: Any, other: Any) -> Any:
    if common == 0:
        return 0.0
    precision, recall = common / one, common / other
    return 2 * precision * recall / (precision + recall)


@njit(nogil=True, cache=True)
def _mark(words: np.ndarray, start: int, size: int, masks: np.ndarray) -> None:
    for k in range(size):
        masks[words[start + k]] |= _1 << np.uint64(k)


@njit(nogil=True, cache=True)
def _clear(words: np.ndarray, start: int, size: int, masks: np.ndarray) -> None:
    for k in range(size):
        masks[words[start + k]] = _0


@njit(nogil=True, cache=True)
def _short_common(
    words: np.ndarray, size: int, there: int, there_end: int, masks: np.ndarray
) -> Any:
    """Return the common length of a marked text of at most 64 words and another one."""
    state = _ALL
    for at in range(there, there_end):
        met = state & masks[words[at]]
        state = (state + met) | (state - met)
    return size - count_bits(state & (_ALL >> np.uint64(64 - size)) if size else _0)


@njit(nogil=True, cache=True)
def _long_common(
    words: np.ndarray,
    start: int,
    end: int,
    there: int,
    there_end: int,
    masks: np.ndarray,
    carry: np.ndarray,
) -> Any:
    """Return the common length of two texts: 64 words of the one after the other."""
    common: Any = 0
    carry[: there_end - there] = 0
    for base in range(start, end, 64):
        size = min(64, end - base)
        _mark(words, base, size, masks)
        state = _ALL
        for at in range(there, there_end):
            met = state & masks[words[at]]
            moved = state + met
            over = moved < state
            total = moved + np.uint64(carry[at - there])
            carry[at - there] = over | (total < moved)
            state = total | (state - met)
        common += size - count_bits(state & (_ALL >> np.uint64(64 - size)))
        _clear(words, base, size, masks)
    return common


@njit(nogil=True, cache=True)
def every_score(
    words: np.ndarray,
    members: np.ndarray,
    starts: np.ndarray,
    text: int,
    pool: np.ndarray,
    masks: np.ndarray,
    carry: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write F of a text with each text of a pool to `out`."""
    start, end = starts[text], starts[text + 1]
    size = end - start
    if size <= 64:
        _mark(words, start, size, masks)
    for place in range(len(pool)):
        there, there_end = starts[pool[place]], starts[pool[place] + 1]
        if size <= 64:
            common = _short_common(words, size, there, there_end, masks)
        else:
            common = _long_common(words, start, end, there, there_end, masks, carry)
        out[place] = _f_measure(common, size, there_end - there)
    if size <= 64:
        _clear(words, start, size, masks)


@njit(nogil=True, cache=True)
def _overlaps(
    members: np.ndarray, start: int, end: int, there: int, there_end: int, need: float
) -> Any:
    """Tell whether two texts share at least `need` members."""
    shared = 0
    while start < end and there < there_end:
        if shared + min(end - start, there_end - there) < need:
            return False
        if members[start] == members[there]:
            shared, start, there = shared + 1, start + 1, there + 1
        elif members[start] < members[there]:
            start += 1
        else:
            there += 1
    return shared >= need


@njit(nogil=True, cache=True)
def _walk(
    words: np.ndarray,
    members: np.ndarray,
    starts: np.ndarray,
    order: np.ndarray,
    first: int,
    prefix: np.ndarray,
    limit: float,
    heads: np.ndarray,
    entries: np.ndarray,
    masks: np.ndarray,
    carry: np.ndarray,
    rejected: np.ndarray,
    partner: np.ndarray,
    score: np.ndarray,
) -> None:
    """Walk the texts in order; those from `first` on are accepted or rejected."""
    seen, used = np.full(len(order), -1, np.int64), 0
    for place in range(len(order)):
        text = order[place]
        start, end = starts[text], starts[text + 1]
        best, best_score = np.int64(-1), limit
        if place >= first:
            for at in range(start, start + prefix[text]):
                entry = heads[members[at]]
                while entry >= 0:
                    other, entry = np.int64(entries[entry, 0]), entries[entry, 1]
                    if seen[other] == place:
                        continue
                    seen[other] = place
                    there, there_end = starts[order[other]], starts[order[other] + 1]
                    both = end - start + there_end - there
                    need = (limit / 2 - 1e-9) * both
                    if not _overlaps(members, start, end, there, there_end, need):
                        continue
                    common = _long_common(words, start, end, there, there_end, masks, carry)
                    found = _f_measure(common, end - start, there_end - there)
                    if found > best_score or (found == best_score and 0 <= best > other):
                        best, best_score = other, found
        if best >= 0:
            rejected[text], partner[text], score[text] = True, order[best], best_score
            continue
        for at in range(start, start + prefix[text]):
            entries[used, 0], entries[used, 1] = place, heads[members[at]]
            heads[members[at]] = used
            used += 1
