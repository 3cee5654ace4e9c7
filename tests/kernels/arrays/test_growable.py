"""Arrays that grow, and numbers of distinct keys against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.arrays.growable import GrowableArray, KeyTable


def test_values_stay_in_order_whatever_their_number() -> None:
    growing, expected = GrowableArray(np.int64, room=2), list[int]()
    for count in (0, 1, 1, 5, 0, 100):
        new = list(range(len(expected), len(expected) + count))
        growing.extend(np.array(new, np.int64))
        expected += new
        assert growing.values.tolist() == expected and len(growing) == len(expected)


@pytest.mark.parametrize("distinct", [3, 20_000, 400_000])
def test_a_key_keeps_its_number_while_the_table_grows(distinct: int) -> None:
    chance = np.random.default_rng(distinct)
    # Neighbours, and keys whose low bits are all the same, meet in the table.
    values = np.concatenate([np.arange(distinct), np.arange(distinct) << 32]).astype(np.uint64)
    table, known = KeyTable(), dict[int, int]()
    for _ in range(6):
        keys = chance.choice(values, distinct // 2 + 1)
        expected = [known.setdefault(key, len(known)) for key in keys.tolist()]
        assert table.add(keys).tolist() == expected
        assert table.count == len(known)
    assert table.add(keys[:0]).tolist() == []
