from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from numba import njit

from curate.kernels.sets import components_compiled as components_join
from curate.kernels.sets import jaccard_compiled as jaccard_join
from curate.kernels.sets.components_compiled import link_similar_large
from curate.kernels.sets.jaccard_compiled import nearest_kept_large
from curate.kernels.sets.prefix_index import build_index, insert, meet, prefix_lengths
from curate.kernels.sets.set_column import window

UINT64S = pa.list_(pa.uint64())


def index_of(sets, order, ratio, threads=2):
    column = pa.chunked_array([pa.array(sets, UINT64S)])  # what `view` shows lives as long
    view = window(column)
    prefixes = prefix_lengths(view.size, *ratio)
    with ThreadPoolExecutor(threads) as pool:
        return build_index(view, order, prefixes, pool, threads)


def related_sets(count, seed):
    """Make sets of 0 to 120 members: boilerplate that all share, and changed copies."""
    dice = np.random.default_rng(seed)
    boilerplate, sets = dice.integers(0, 2**64, 50, np.uint64), []
    for k in range(count):
        own = dice.integers(0, 2**64, dice.integers(0, 70), np.uint64)
        if k % 3 == 0:
            own = np.concatenate([own[: len(own) // 4], boilerplate])
        elif sets:
            base = sets[dice.integers(len(sets))]
            fresh = dice.integers(0, 2**64, len(base), np.uint64)
            own = np.where(dice.random(len(base)) < 0.04, fresh, base)
        sets.append(np.unique(own))
    return sets


@pytest.mark.parametrize("ratio", [(7, 10), (4, 5), (9, 10), (1, 1)])
def test_sets_that_are_alike_meet_and_few_others(ratio):
    sets, (top, bottom) = related_sets(200, seed=1), ratio
    order = np.random.default_rng(2).permutation(len(sets))
    index = index_of(sets, order, ratio, threads=3)
    seen, room = np.full(len(sets), -1, np.int32), np.empty(len(sets), np.int32)
    members, pairs, visits = [set(sets[row].tolist()) for row in order], 0, 0
    for rank, own in enumerate(members):
        floor = rank // 4  # the sets before it are there, but were not asked for
        met = room[: meet(rank, floor, top, bottom, *index, seen, room)].tolist()
        assert len(set(met)) == len(met)
        assert all(floor <= other < rank for other in met)
        alike = {
            other
            for other in range(floor, rank)
            if own and len(own & members[other]) * bottom >= top * len(own | members[other])
        }
        assert alike <= set(met)
        pairs, visits = pairs + len(alike), visits + len(met)
        insert(rank, *index)
    assert 20 < pairs <= visits < 200 * 199 / 4  # half of all


def test_sets_without_a_prefix_take_no_part():
    own = np.arange(1, 40, dtype=np.uint64) << np.uint64(33)
    column = pa.chunked_array([pa.array([own] * 3, UINT64S)])
    view = window(column)
    with ThreadPoolExecutor(1) as pool:
        index = build_index(view, np.arange(3), np.array([8, 0, 8]), pool, 1)
    seen, room = np.full(3, -1, np.int32), np.empty(3, np.int32)
    counts = []
    for rank in range(3):
        counts.append(meet(rank, 0, 4, 5, *index, seen, room))
        insert(rank, *index)
    assert counts == [0, 0, 1]
    assert room[0] == 0


def test_members_of_one_prefix_have_no_bucket():
    sets = np.random.default_rng(3).integers(0, 2**64, (50, 20), np.uint64)
    index = index_of([np.sort(own) for own in sets], np.arange(50), (4, 5))
    # 250 postings in 256 slots: some fall together by chance, most stand alone.
    assert (index.postings == 0).sum() > 60
    assert len(index.entries) < 300


def counts_references(function):
    """Read the machine-independent code for a call that takes a reference to an array."""
    again = njit(nogil=True, error_model="numpy")(function.py_func)
    for signature in function.signatures:
        again.compile(signature)
    assert again.signatures
    return any("call void @NRT_incref" in again.inspect_llvm(s) for s in again.signatures)


@pytest.mark.slow
def test_loops_over_sets_count_no_references():
    """Atomic counters that all threads fight over cost more than the search itself."""
    sets = pa.chunked_array([pa.array(related_sets(20, seed=4), UINT64S)])
    nearest_kept_large(sets, np.arange(20), Fraction(4, 5))
    link_similar_large(np.arange(20), sets, Fraction(4, 5))
    for caller, name in (
        (jaccard_join._search, "meet"), (jaccard_join._search, "choose"),
        (jaccard_join._settle, "insert"), (components_join._walk, "_link"),
    ):  # fmt: skip
        function = caller.py_func.__globals__[name]
        assert counts_references(caller), "once a block is enough; this shows the search works"
        assert not counts_references(function), name
