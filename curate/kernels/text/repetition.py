"""How much of a text is said twice: the plain-Python definition, and Gopher's limits.

Two lines, paragraphs or n-grams are equal when they hold the same words. Characters are those of
words, white space left out. `kernels.text.repetition_compiled` measures the same on columns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from curate.kernels.text.words import words

# Rae et al. 2021, arXiv 2112.11446, table A1: the share above which Gopher drops a document.
LIMITS = {
    "duplicate lines": 0.30,
    "duplicate paragraphs": 0.30,
    "characters of duplicate lines": 0.20,
    "characters of duplicate paragraphs": 0.20,
    "top 2-gram": 0.20,
    "top 3-gram": 0.18,
    "top 4-gram": 0.16,
    "duplicate 5-grams": 0.15,
    "duplicate 6-grams": 0.14,
    "duplicate 7-grams": 0.13,
    "duplicate 8-grams": 0.12,
    "duplicate 9-grams": 0.11,
    "duplicate 10-grams": 0.10,
}


def repeated_shares(text: str, min_words: int) -> dict[str, float]:
    """Return the share of every measure in `LIMITS`, in that order.

    Lines, paragraphs and top n-grams of texts below `min_words` count as 0: in a short text any
    two equal words would be a large share.
    """
    tokens = words(text)
    every = sum(map(len, tokens))
    shares = dict.fromkeys(LIMITS, 0.0)
    if not every:
        return shares
    if len(tokens) >= min_words:
        lines = [found for line in text.split("\n") if (found := words(line))]
        # A line without words ends a paragraph.
        paragraphs: list[list[str]] = [[]]
        for line in text.split("\n"):
            if found := words(line):
                paragraphs[-1].extend(found)
            elif paragraphs[-1]:
                paragraphs.append([])
        paragraphs = [block for block in paragraphs if block]
        for name, blocks in (("lines", lines), ("paragraphs", paragraphs)):
            seen: set[Hashable] = set()
            again = []
            for block in map(tuple, blocks):
                if block in seen:
                    again.append(block)
                seen.add(block)
            shares[f"duplicate {name}"] = len(again) / len(blocks)
            characters = sum(len(word) for block in again for word in block)
            shares[f"characters of duplicate {name}"] = characters / every
        for n in (2, 3, 4):
            counts = Counter(zip(*(tokens[i:] for i in range(n)), strict=False))
            # The characters in all occurrences of the repeated n-gram that holds the most.
            held = (k * sum(map(len, gram)) for gram, k in counts.items() if k > 1)
            shares[f"top {n}-gram"] = min(max(held, default=0), every) / every
    for n in range(5, 11):
        shares[f"duplicate {n}-grams"] = _covered(tokens, n) / every
    return shares


def score_of(shares: dict[str, float]) -> float:
    """Return the largest share in units of its limit, rounded up to thousandths."""
    return max(math.ceil(share / LIMITS[name] * 1000) / 1000 for name, share in shares.items())


def _covered(tokens: Sequence[str], n: int) -> int:
    """Return the characters of words inside n-grams that occurred before, each word once."""
    seen: set[Hashable] = set()
    covered, end = 0, 0
    for start in range(len(tokens) - n + 1):
        gram = tuple(tokens[start : start + n])
        if gram in seen:
            covered += sum(map(len, tokens[max(start, end) : start + n]))
            end = start + n
        seen.add(gram)
    return covered
