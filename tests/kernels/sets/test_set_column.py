from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numba import njit

from curate.kernels.sets.set_column import count_bits, intersection, parities, window

UINT64S = pa.list_(pa.uint64())


def random_sets(count, seed=0):
    """Make sorted sets of 0 to 90 hashes out of 200, each set once in memory after the other."""
    dice = np.random.default_rng(seed)
    vocabulary = dice.integers(0, 2**64, 200, np.uint64)
    return [np.unique(dice.choice(vocabulary, dice.integers(0, 90))) for _ in range(count)]


def test_sets_are_read_in_place(tmp_path):
    sets = random_sets(60)
    column = pa.chunked_array([pa.array(sets[:20], UINT64S), pa.array(sets[20:], UINT64S)])
    table = pa.table({"sets": column})
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as w,
    ):
        w.write_table(table)
    mapped = pa.ipc.open_file(pa.memory_map(str(tmp_path / "a.arrow"))).read_all().column("sets")
    both = pa.chunked_array([*mapped.slice(3).chunks, pa.array([], UINT64S), *column.chunks])
    before = pa.total_allocated_bytes()
    view = window(both)
    assert pa.total_allocated_bytes() == before
    expected = [value.as_py() for value in both]
    assert [
        view.values[a : a + n].tolist() for a, n in zip(view.start, view.size, strict=True)
    ] == expected


@njit
def differing_bits(one, other):
    return count_bits(one ^ other)


@pytest.mark.parametrize("seed", range(3))
def test_what_two_sets_share(seed):
    sets = random_sets(20, seed)
    values, start = np.concatenate(sets), np.cumsum([0, *map(len, sets)])
    for one, a in zip(sets, start, strict=False):
        for other, b in zip(sets, start, strict=False):
            shared = len(np.intersect1d(one, other))
            for need in {0, shared, shared + 1, min(len(one), len(other))}:
                answer = intersection(values, a, len(one), values, b, len(other), need)
                apart = intersection(one, 0, len(one), other, 0, len(other), need)
                assert apart == answer
                assert answer == (shared if shared >= need else -1)


def test_parities_differ_in_no_more_bits_than_sets_in_members():
    sets = [own for seed in range(5) for own in random_sets(12, seed)]
    marks = [parities(own, 0, len(own)) for own in sets]
    exact = 0
    for one, mark in zip(sets, marks, strict=True):
        low = np.bincount((one & np.uint64(63)).astype(int), minlength=64) % 2
        assert [int(mark) >> k & 1 for k in range(64)] == low.tolist()
        for other, its_mark in zip(sets, marks, strict=True):
            bits = differing_bits(np.uint64(mark), np.uint64(its_mark))
            assert bits == bin(int(mark) ^ int(its_mark)).count("1")
            assert bits <= len(np.setxor1d(one, other))
            exact += bits > 20
    assert exact > 100  # the bound is worth something
