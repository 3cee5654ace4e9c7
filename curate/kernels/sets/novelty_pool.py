"""A pool of texts that grows one by one: how like all of them, by ROUGE-L, is the next text?

`kernels.sets.novelty` decides on texts that are all there; here each one arrives after the last was
decided. Every text of the pool is compared, since the most similar one is named even where it is
not too similar: some 20 million pairs of short texts a second from `LARGE` texts on, where compiled
code takes over, and a few microseconds a pair before. Both give the same answers.
"""

from __future__ import annotations

import numpy as np

from curate.kernels.arrays.growable import GrowableArray, KeyTable
from curate.kernels.sets.rouge import (
    Similar,
    common_length,
    f_measure,
    most_similar,
    token_hashes,
)
from curate.kernels.text.words import Tokens

# A pool of fewer texts is compared without compiled code, whose start takes longer.
LARGE = 1_000


class NoveltyPool:
    """Texts by their words; places count from the first that joined."""

    def __init__(self, tokens: Tokens, large: int = LARGE) -> None:
        self._tokens, self._large = tokens, large
        self._words: list[list[int]] = []
        self._numbers, self._starts = KeyTable(), GrowableArray(np.int64)
        self._flat = GrowableArray(np.uint32)
        self._starts.extend(np.zeros(1, np.int64))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def join(self, text: str) -> None:
        """Take a text into the pool."""
        words = token_hashes(text, self._tokens)
        self._flat.extend(self._numbers.add(words).astype(np.uint32))
        self._starts.extend(np.array([len(self._flat)], np.int64))
        if len(self) <= self._large:
            self._words.append(words.tolist())

    def similar(self, text: str, neighbours: int = 1) -> Similar:
        """Return the most similar texts of the pool, the first on a tie, and the mean F over all.

        It is as if each had been compared by the package `rouge_score`; of an empty pool there are
        none.
        """
        words = token_hashes(text, self._tokens)
        if len(self) >= self._large:
            from curate.kernels.sets.novelty_compiled import every_score

            own = self._numbers.add(words).astype(np.uint32)
            flat = np.concatenate([self._flat.values, own])
            starts = np.append(self._starts.values, len(flat))
            scores = np.empty(len(self))
            masks = np.zeros(self._numbers.count, np.uint64)
            carry = np.zeros(int(np.diff(starts).max(initial=0)), np.uint8)
            pool = np.arange(len(self), dtype=np.int64)
            every_score(flat, flat.view(np.int32), starts, len(self), pool, masks, carry, scores)
        else:
            listed = words.tolist()
            scores = np.array(
                [
                    f_measure(common_length(listed, other), len(listed), len(other))
                    for other in self._words
                ]
            )
        return most_similar(scores, np.arange(len(self)), neighbours)
