"""Numbers of distinct keys, against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.key_table import KeyTable


@pytest.mark.parametrize("distinct", [3, 1_000, 200_000])
def test_a_key_keeps_its_number_while_the_table_grows(distinct: int) -> None:
    chance = np.random.default_rng(distinct)
    # Neighbours, and keys whose low bits are all the same, meet in the table.
    values = np.concatenate([np.arange(distinct), np.arange(distinct) << 32]).astype(np.uint64)
    table, known = KeyTable(), dict[int, int]()
    for _ in range(6):
        keys = chance.choice(values, distinct // 2 + 1)
        before = table.count
        groups = table.add(keys)
        assert groups.sizes.sum() == len(keys) and len(groups.order) == len(keys)
        for start, number, fresh in zip(
            groups.starts.tolist(), groups.numbers.tolist(), groups.fresh.tolist(), strict=True
        ):
            key = int(keys[groups.order[start]])
            assert fresh == (key not in known)
            assert known.setdefault(key, number) == number
            assert fresh == (number >= before)
    assert sorted(known.values()) == list(range(table.count))


def test_equal_keys_stand_together_in_their_order() -> None:
    groups = KeyTable().add(np.array([5, 1, 5, 1, 5], np.uint64))
    ends = groups.starts + groups.sizes
    pieces = [groups.order[a:b].tolist() for a, b in zip(groups.starts, ends, strict=True)]
    assert pieces == [[1, 3], [0, 2, 4]]
