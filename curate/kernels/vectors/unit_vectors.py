"""Unit vectors, and their cosines in float64.

A cosine is defined here once, for every step: products of float32 numbers are exact in float64, and
they are added in a fixed order (`LANES` running sums, then their halves), so that no processor,
thread count or block size moves a bit of it. Vectors with equal bits have the cosine 1. A vector of
zeros has no direction and takes no part. It costs 24 bytes a vector beside the vectors themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numba import njit

from curate.chunk import READ, vectors
from curate.kernels.arrays.duplicates import first_of_equals

# The order of summation: a change of this number changes last digits, and so every stored score.
LANES = 32
_VERSION = 1  # of what is searched for among vectors: another one is found again
_ROWS = 4096  # vectors looked at together


@dataclass(frozen=True)
class UnitVectors:
    """Vectors (float32, a row each), their `lengths`, and the `first` row that equals each.

    `read` is for texts that their encoder did not read in whole: a hash of what it read, and the
    text's number (0, 0: it read all). Different texts of which it read the same have no cosine.
    """

    vectors: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    read: np.ndarray | None = None

    @classmethod
    def of(cls, vectors: np.ndarray, read: np.ndarray | None = None) -> UnitVectors:
        """Measure `vectors`, of texts of which `read` (int64, two a row) says what was read.

        Raises:
            ValueError: the array is not a matrix, or a vector holds a NaN or an infinity.
        """
        vectors = np.asarray(vectors)
        if vectors.ndim != 2:
            raise ValueError(f"vectors must be a matrix with a row each, found {vectors.shape}")
        if vectors.dtype != np.float32 or not vectors.flags.c_contiguous:
            vectors = np.ascontiguousarray(vectors, np.float32)
        # Never writable, as mapped ones: each kernel would be compiled a second time for others.
        vectors = vectors.view()
        vectors.flags.writeable = False
        lengths = np.empty(len(vectors))
        _measure(vectors, lengths)
        wrong = np.flatnonzero(~np.isfinite(lengths))
        if len(wrong):
            raise ValueError(
                f"vector {wrong[0]} holds a NaN or an infinity ({len(wrong)} such vectors); "
                "leave those rows out or encode them again"
            )
        # For every row the first with the same numbers, and of the same text where that is told.
        digests = bytearray()
        for start in range(0, len(vectors), _ROWS):
            rows = vectors[start : start + _ROWS] + np.float32(0)  # minus zero becomes zero
            if read is not None:
                rows = np.hstack([rows, read[start : start + _ROWS].view(np.float32)])
            digests += b"".join(map(xxhash.xxh3_128_digest, rows))
        column = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(vectors), [None, pa.py_buffer(bytes(digests))]
        )
        own = np.arange(len(vectors), dtype=np.int64)
        first = first_of_equals(pa.chunked_array([column]), own)
        first[first < 0] = own[first < 0]
        return cls(vectors, lengths, first, read)

    @classmethod
    def of_column(cls, sketches: pa.Table, name: str) -> UnitVectors:
        """Measure a column of embeddings, with what was read of its texts."""
        read = None
        if READ + name in sketches.column_names:
            read = vectors(sketches, READ + name)
        return cls.of(vectors(sketches, name), read)

    def __len__(self) -> int:
        return len(self.vectors)

    def head(self, count: int) -> UnitVectors:
        """Return the first `count` rows by themselves."""
        read = None if self.read is None else self.read[:count]
        return UnitVectors(self.vectors[:count], self.lengths[:count], self.first[:count], read)

    def distinct(self) -> np.ndarray:
        """Return the first row of every distinct vector that has a direction."""
        own = self.first == np.arange(len(self.first))
        return np.flatnonzero(own & (self.lengths > 0))

    def digest(self, *found_by: object) -> str:
        """Return a digest of the vectors, and of what was searched for among them and how."""
        described = repr((_VERSION, LANES, self.vectors.shape, *found_by))
        content = xxhash.xxh3_128(described.encode())
        content.update(self.vectors.data if len(self) else b"")
        if self.read is not None:
            content.update(self.first.tobytes() + self.read[:, 0].tobytes())
        return content.hexdigest()

    def cosines(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the cosine of every pair of rows; NaN for a row of zeros, and where none is."""
        out = cosines_between(self, left, self, right)
        if self.read is not None:
            one, other = self.read[left], self.read[right]
            out[(one[:, 0] == other[:, 0]) & (one[:, 0] != 0) & (one[:, 1] != other[:, 1])] = np.nan
        return out


def cosines_between(
    one: UnitVectors, left: np.ndarray, other: UnitVectors, right: np.ndarray
) -> np.ndarray:
    """Return the cosines of rows `left` of `one` with rows `right` of `other`."""
    out = np.empty(len(left))
    _cosines(one.vectors, one.lengths, left, other.vectors, other.lengths, right, out)
    return out


def unit(vectors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return float32 vectors of length 1, each number rounded once; zeros stay zeros."""
    scale = np.divide(1.0, lengths, where=lengths > 0, out=np.zeros(len(lengths)))
    out: np.ndarray = (vectors * scale[:, None]).astype(np.float32)
    return out


def margin_of(width: int) -> float:
    """Return a bound of the error of a float32 product of unit vectors, summed in any order."""
    return 2 * (width + 4) * 2.0**-24


@njit(nogil=True, cache=True, fastmath=True)
def product_of(a: np.ndarray, b: np.ndarray) -> Any:
    """Return the float32 product of two rows, summed in any order; for compiled callers."""
    total = np.float32(0)
    for place in range(len(a)):
        total += a[place] * b[place]
    return total


@njit(nogil=True, cache=True)
def _dot(a: np.ndarray, b: np.ndarray, lanes: np.ndarray) -> Any:
    """Add up the products of two rows in the one fixed order."""
    width = len(a)
    even = width - width % LANES
    lanes[:] = 0.0
    for start in range(0, even, LANES):
        for lane in range(LANES):
            lanes[lane] += np.float64(a[start + lane]) * np.float64(b[start + lane])
    for place in range(even, width):
        lanes[place - even] += np.float64(a[place]) * np.float64(b[place])
    half = LANES // 2
    while half:
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
        half //= 2
    return lanes[0]


@njit(nogil=True, cache=True)
def _measure(vectors: np.ndarray, out: np.ndarray) -> None:
    lanes = np.empty(LANES)
    for row in range(len(vectors)):
        out[row] = np.sqrt(_dot(vectors[row], vectors[row], lanes))


@njit(nogil=True, cache=True)
def cosine_of(
    one: np.ndarray,
    one_lengths: np.ndarray,
    left: int,
    other: np.ndarray,
    other_lengths: np.ndarray,
    right: int,
    lanes: np.ndarray,
) -> Any:
    """Return the cosine of two rows, NaN for zeros; for compiled callers (`lanes`: room)."""
    a, b = one[left], other[right]
    length = one_lengths[left] * other_lengths[right]
    if length == 0.0:
        return np.nan
    cosine = _dot(a, b, lanes) / length
    # Only nearly parallel vectors can be equal ones.
    if cosine > 0.9999999 and np.array_equal(a, b):
        cosine = 1.0
    return min(1.0, max(-1.0, cosine))


@njit(nogil=True, cache=True)
def _cosines(
    one: np.ndarray,
    one_lengths: np.ndarray,
    left: np.ndarray,
    other: np.ndarray,
    other_lengths: np.ndarray,
    right: np.ndarray,
    out: np.ndarray,
) -> None:
    lanes = np.empty(LANES)
    for pair in range(len(left)):
        out[pair] = cosine_of(
            one, one_lengths, left[pair], other, other_lengths, right[pair], lanes
        )
