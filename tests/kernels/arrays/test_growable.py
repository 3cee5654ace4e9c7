"""Arrays that grow."""

from __future__ import annotations

import numpy as np

from curate.kernels.arrays.growable import GrowableArray


def test_values_stay_in_order_whatever_their_number() -> None:
    growing, expected = GrowableArray(np.int64, room=2), list[int]()
    for count in (0, 1, 1, 5, 0, 100):
        new = list(range(len(expected), len(expected) + count))
        growing.extend(np.array(new, np.int64))
        expected += new
        assert growing.values.tolist() == expected and len(growing) == len(expected)
