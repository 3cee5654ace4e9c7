"""Partitions change nothing: verdicts, partners and similarities are those of one walk."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.sets import jaccard_partitioned
from curate.kernels.sets.jaccard import nearest_kept_small, prefix_length, threshold_of
from curate.kernels.sets.jaccard_against import closest_other
from curate.kernels.sets.jaccard_partitioned import (
    closest_other_by_part,
    nearest_kept_by_partition,
    partition_cuts,
)
from tests.kernels.sets.test_jaccard import (
    SETS,
    THRESHOLDS,
    as_dict,
    brute_force,
    column_of,
    crowd,
)


class Parts:
    """A column in parts that are handed out when they are called for; counts how often."""

    def __init__(self, column, count):
        cuts = np.linspace(0, len(column), count + 1).astype(int)
        self.chunked = [column.slice(a, b - a) for a, b in itertools.pairwise(cuts)]
        self.sizes = [np.asarray(pc.list_value_length(one)) for one in self.chunked]
        self.calls = 0

    def readers(self):
        return [lambda one=one: self._read(one) for one in self.chunked]

    def _read(self, one):
        self.calls += 1
        return one


def by_partition(column, parts, order, similarity, most_bytes):
    held = Parts(column, parts)
    return nearest_kept_by_partition(held.readers(), held.sizes, order, similarity, most_bytes)


@pytest.mark.slow
@settings(max_examples=200)  # the first example compiles
@given(
    sets=SETS,
    similarity=THRESHOLDS,
    dice=st.randoms(use_true_random=False),
    parts=st.integers(1, 6),
    most_bytes=st.sampled_from([1, 300, 700, 2000, 5000, 1 << 30]),
    absent=st.integers(0, 5),
)
def test_any_partitioning_equals_brute_force(sets, similarity, dice, parts, most_bytes, absent):
    order = list(range(len(sets)))
    dice.shuffle(order)
    order = order[absent:]  # rows that stand in another dataset take no part
    found = by_partition(
        column_of(sets, 2), parts, np.array(order, np.int64), similarity, most_bytes
    )
    assert as_dict(found) == brute_force(sets, order, similarity)


@pytest.mark.slow
@settings(max_examples=100)
@given(
    own=SETS,
    others=SETS,
    similarity=THRESHOLDS,
    parts=st.integers(1, 4),
    most_bytes=st.sampled_from([1, 300, 2000, 1 << 30]),
)
def test_the_closest_other_is_the_same_for_any_partitioning(
    own, others, similarity, parts, most_bytes
):
    mine, theirs = Parts(column_of(own), parts), Parts(column_of(others, 2), 5 - parts)
    found = closest_other_by_part(
        mine.readers(), mine.sizes, theirs.readers(), theirs.sizes, similarity, most_bytes
    )
    both = pa.chunked_array([*column_of(own).chunks, *column_of(others).chunks])
    expected = closest_other(both, len(own), similarity)
    partner = np.where(expected.partner < 0, -1, expected.partner - len(own))
    assert np.array_equal(found.partner, partner)
    assert np.array_equal(found.similarity, expected.similarity, equal_nan=True)


@pytest.mark.parametrize("in_source_order", [True, False])
@pytest.mark.parametrize("group", [1, 1 << 30])
def test_partitions_agree_with_the_plain_path(in_source_order, group, monkeypatch):
    monkeypatch.setattr(jaccard_partitioned, "_GUEST_BYTES", group)
    column = crowd(6000, seed=3)
    order = np.arange(6000) if in_source_order else np.random.default_rng(4).permutation(6000)
    plain = nearest_kept_small(column, order, threshold_of(0.8))
    assert 500 < (plain.partner >= 0).sum() < 5500
    for most_bytes in (1 << 18, 1 << 21):
        found = by_partition(column, 7, order, 0.8, most_bytes)
        assert np.array_equal(found.partner, plain.partner)
        assert np.array_equal(found.similarity, plain.similarity, equal_nan=True)


def test_partitions_keep_to_the_bound():
    sizes = np.random.default_rng(1).integers(0, 200, 5000).astype(np.int32)
    least = 4000  # more than the largest set takes
    for most_bytes in (least, 50_000, 1 << 20, 1 << 40):
        cuts = partition_cuts(sizes, threshold_of(0.8), most_bytes)
        assert (cuts[0], cuts[-1]) == (0, len(sizes))
        assert (np.diff(cuts) > 0).all()
        total = 0
        for a, b in itertools.pairwise(cuts):
            prefix = [prefix_length(n, threshold_of(0.8)) * (n > 0) for n in sizes[a:b].tolist()]
            own = (9 * sizes[a:b] + 28 * np.array(prefix) + 128).sum()
            assert own <= most_bytes
            total += own
        if most_bytes > 2 * least:
            assert len(cuts) <= 3 + total / (most_bytes - least)
    assert partition_cuts(sizes[:0], threshold_of(0.8), 1) == [0]


def test_parts_that_no_later_set_is_in_are_not_read_again():
    held, order = Parts(crowd(3000, seed=5), 10), np.arange(3000)
    cuts = partition_cuts(np.concatenate(held.sizes), threshold_of(0.8), 1 << 19)
    nearest_kept_by_partition(held.readers(), held.sizes, order, 0.8, 1 << 19)
    partitions = len(cuts) - 1
    assert partitions > 2
    # A part is copied where a partition has sets of it, and read past every earlier partition.
    assert held.calls <= (10 + partitions) + (10 + 1) * (partitions - 1) / 2 + partitions


@pytest.mark.parametrize("sets", [[], [[]], [[], [], []]])
def test_nothing_to_compare(sets):
    column = pa.chunked_array([pa.array(sets, pa.list_(pa.uint64()))])
    found = by_partition(column, 2, np.arange(len(sets)), 0.8, 1)
    assert found.partner.tolist() == [-1] * len(sets)
