r"""Shingles: a text as the set of its word n-grams, each a 64-bit hash. The plain definition.

Words are those by which texts are compared (`kernels.text.words`). A text with fewer words than a
shingle is one shingle of all of them; a text without any word has no shingle. Words and shingles
are hashed by multiply-and-shift rounds with fixed odd constants and a closing avalanche (the
finaliser of MurmurHash3), which behave like random 64-bit values: in a set of 100 million different
shingles the expected number of pairs that share a hash is below 0.0003, and one shared hash moves
one similarity by one shingle. Texts crafted against these constants can make shingles collide; such
texts are not subject to near-duplicate search.

`kernels.sets.shingles_compiled` computes the same hashes from UTF-8 bytes; tests hold them equal.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from curate.kernels.text.words import compared_words
from curate.row import seed_of

if TYPE_CHECKING:
    import pyarrow as pa

SEED = 0x9E3779B97F4A7C15
WORD_FACTOR = 0xBF58476D1CE4E5B9
SHINGLE_FACTOR = 0x94D049BB133111EB
FINAL_1, FINAL_2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53
_MASK = (1 << 64) - 1


@functools.lru_cache(maxsize=1 << 17)
def word_hash(word: str) -> int:
    """Return the 64-bit hash of a word: eight of its UTF-8 bytes a round."""
    data, state = word.encode(), SEED
    for at in range(0, len(data), 8):
        state = (state ^ int.from_bytes(data[at : at + 8], "little")) * WORD_FACTOR & _MASK
        state ^= state >> 32
    return state


def shingle_set(text: str, shingle: int, attached: str = "") -> np.ndarray:
    """Return the hashes of all runs of `shingle` words as a sorted uint64 array without repeats.

    What is `attached` (tool calls, media) changes all of them, so that texts are alike only beside
    the same; without a word it stands for itself.
    """
    if attached:
        return salted(shingle_set(text, shingle), attached)
    words = compared_words(text)
    hashes = np.fromiter(map(word_hash, words), np.uint64, len(words))
    if not words:
        return hashes
    width = min(shingle, len(words))
    count = len(words) - width + 1
    state = np.full(count, SEED, np.uint64)
    for at in range(width):
        state = (state ^ hashes[at : at + count]) * np.uint64(SHINGLE_FACTOR)
        state ^= state >> np.uint64(32)
    shift = np.uint64(33)
    for factor in (FINAL_1, FINAL_2):
        state = (state ^ (state >> shift)) * np.uint64(factor)
    return np.unique(state ^ (state >> shift))


def salted(shingles: np.ndarray, attached: str) -> np.ndarray:
    """Return a set of hashes changed by a text, which itself is in it where the set is empty."""
    salt = np.uint64(seed_of(attached))
    return np.sort(shingles ^ salt) if len(shingles) else np.array([salt], np.uint64)


def different_share(sets: pa.Array, rows: np.ndarray, count: int) -> float:
    """Return how many of the first `count` hashes of `rows` are different, as a share of them.

    `sets` are lists of uint64; of equally many hashes, shares can be compared. Without any, 0.
    """
    import pyarrow as pa

    if not count:
        return 0.0
    taken, size, at = [], 0, 0
    while size < count and at < len(rows):
        taken.append(np.asarray(sets.take(pa.array(rows[at : at + 1024])).flatten()))
        size, at = size + len(taken[-1]), at + 1024
    return len(np.unique(np.concatenate(taken)[:count])) / count
