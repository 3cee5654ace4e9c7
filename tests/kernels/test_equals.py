"""Groups of equal hashes, against the definition."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.equals import first_of_equals

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
