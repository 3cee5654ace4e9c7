"""Numbers of distinct keys, against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.arrays.hash_table import KeyTable


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
