"""Groups of equal hashes, against the definition."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.arrays.duplicates import EqualsSoFar, first_of_equals

# Few values in each half, so that halves are shared by words that are not equal.
HALVES = st.sampled_from([b"\0" * 8, b"\1" * 8, b"\0" * 7 + b"\1"])
HASHES = st.lists(st.none() | st.tuples(HALVES, HALVES).map(b"".join), max_size=30)


@given(HASHES, st.randoms(use_true_random=False), st.integers(0, 30))
def test_each_row_names_the_first_of_its_equals(
    hashes: list[bytes | None], chance: random.Random, cut: int
) -> None:
    order = list(range(len(hashes)))
    chance.shuffle(order)
    expected = [-1] * len(hashes)
    first: dict[bytes, int] = {}
    for row in order:
        value = hashes[row]
        if value is not None and first.setdefault(value, row) != row:
            expected[row] = first[value]
    column = pa.chunked_array([hashes[:cut], hashes[cut:]], pa.binary(16))
    assert first_of_equals(column, np.array(order, np.int64)).tolist() == expected


@given(HASHES, st.lists(st.integers(0, 30), max_size=4))
def test_equals_as_they_come_are_those_of_all_in_source_order(
    hashes: list[bytes | None], cuts: list[int]
) -> None:
    column = pa.array([b"\2" * 16, *hashes], pa.binary(16)).slice(1)
    expected = first_of_equals(pa.chunked_array([column]), np.arange(len(column)))
    equals, found = EqualsSoFar(), list[int]()
    edges = [0, *sorted(min(cut, len(column)) for cut in cuts), len(column)]
    for start, end in itertools.pairwise(edges):
        found += equals.first_of(column.slice(start, end - start)).tolist()
    assert found == expected.tolist()
