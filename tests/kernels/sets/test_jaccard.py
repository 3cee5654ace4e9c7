from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.sets.jaccard import (
    near_duplicates,
    nearest_kept,
    nearest_kept_small,
    prefix_length,
    threshold_of,
)
from curate.kernels.sets.jaccard_compiled import nearest_kept_large

UINT64S = pa.list_(pa.uint64())
# Tiny vocabularies make ties, chains of similar sets and pairs exactly at the threshold common.
SETS = st.lists(st.frozensets(st.integers(0, 9), max_size=8), max_size=40)
THRESHOLDS = st.sampled_from([0.2, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0])


# Members are hashes elsewhere: spread these too, or they would share counters and chains.
SPREAD = sorted(np.random.default_rng(0).integers(0, 2**64, 200, np.uint64).tolist())


def column_of(sets, parts=1):
    values = [sorted(SPREAD[member] for member in own) for own in sets]
    cuts = np.linspace(0, len(sets), parts + 1).astype(int)
    chunks = [pa.array(values[a:b], UINT64S) for a, b in itertools.pairwise(cuts)]
    return pa.chunked_array(chunks, UINT64S)


def brute_force(sets, order, similarity):
    """Say it again in the simplest way: rationals, every kept set, no filter."""
    least, kept, found = Fraction(str(similarity)), [], {}
    for row in order:
        own = set(sets[row])
        best = (Fraction(-1), 0)
        for other in kept if own else ():
            theirs = set(sets[other])
            ratio = Fraction(len(own & theirs), len(own | theirs))
            if ratio >= least:
                best = max(best, (ratio, -other))
        if best[0] >= 0:
            found[row] = (-best[1], best[0].numerator / best[0].denominator)
        elif own:
            kept.append(row)
    return found


def as_dict(nearest):
    rows = np.flatnonzero(nearest.partner >= 0)
    assert np.isnan(np.delete(nearest.similarity, rows)).all()
    return {int(r): (int(nearest.partner[r]), float(nearest.similarity[r])) for r in rows}


@pytest.mark.slow
@settings(max_examples=200)  # the first example compiles
@given(SETS, THRESHOLDS, st.randoms(use_true_random=False), st.integers(1, 3))
def test_both_paths_equal_brute_force(sets, similarity, dice, parts):
    order = list(range(len(sets)))
    dice.shuffle(order)
    expected = brute_force(sets, order, similarity)
    column, rows = column_of(sets, parts), np.array(order, np.int64)
    threshold = threshold_of(similarity)
    assert as_dict(nearest_kept_small(column, rows, threshold)) == expected
    assert as_dict(nearest_kept_large(column, rows, threshold)) == expected


def crowd(rows, seed):
    """Make sets with common members, boilerplate, copies, near-copies and sizes from 0 to 150."""
    dice = np.random.default_rng(seed)

    def fresh(count, top=2**64):
        return dice.integers(0, top, count, np.uint64)

    boilerplate, sets = fresh(60), []
    for _ in range(rows):
        kind = dice.random()
        if kind < 0.06:
            own = sets[dice.integers(len(sets))] if kind < 0.04 and sets else fresh(0)
        elif kind < 0.3 and sets:
            base = sets[dice.integers(len(sets))]
            own = np.where(dice.random(len(base)) < 0.08, fresh(len(base)), base)
        elif kind < 0.6:
            own = np.concatenate([boilerplate, fresh(dice.integers(1, 30))])
        else:
            own = fresh(dice.integers(1, 150), 300 if kind < 0.8 else 2**64)
        sets.append(np.unique(own))
    parts = (sets[: rows // 3], sets[rows // 3 :])
    return pa.chunked_array([pa.array(part, UINT64S) for part in parts])


@pytest.mark.parametrize(
    "similarity", [0.8, *(pytest.param(one, marks=pytest.mark.slow) for one in (0.5, 0.7, 0.9))]
)
def test_compiled_and_plain_paths_agree_beyond_one_block(similarity):
    column = crowd(6000, seed=3)
    order = np.random.default_rng(4).permutation(6000)
    plain = nearest_kept_small(column, order, threshold_of(similarity))
    compiled = nearest_kept_large(column, order, threshold_of(similarity))
    assert 500 < (plain.partner >= 0).sum() < 5500
    assert np.array_equal(plain.partner, compiled.partner)
    assert np.array_equal(plain.similarity, compiled.similarity, equal_nan=True)


def test_rows_that_are_left_out_take_no_part():
    column = crowd(6000, seed=3)
    order = np.random.default_rng(5).permutation(6000)[:4500]  # not a whole number of blocks
    plain = nearest_kept_small(column, order, threshold_of(0.8))
    compiled = nearest_kept_large(column, order, threshold_of(0.8))
    assert (plain.partner[np.setdiff1d(np.arange(6000), order)] == -1).all()
    assert np.array_equal(plain.partner, compiled.partner)
    assert np.array_equal(plain.similarity, compiled.similarity, equal_nan=True)


@pytest.mark.parametrize("similarity", [0.7, 0.9])
def test_sets_of_more_than_65535_members(similarity):
    dice, members = np.random.default_rng(6), np.arange(90_000)
    sets = [members[:size] for size in (70_000, 65_536, 65_535, 63_000, 90_000, 58_982, 45_000)]
    for base in (70_000, 66_000):  # a tenth changed: 9/11 alike
        changed = dice.random(base) < 0.1
        sets.append(np.where(changed, 100_000 + members[:base], members[:base]))
    order, spread = dice.permutation(len(sets)), dice.integers(0, 2**64, 200_000, np.uint64)
    column = pa.chunked_array([pa.array([np.sort(spread[own]) for own in sets], UINT64S)])
    found = as_dict(nearest_kept_large(column, order, threshold_of(similarity)))
    assert found == brute_force([own.tolist() for own in sets], order, similarity)
    assert 2 < len(found) < len(sets)


@pytest.mark.parametrize("similarity", [0, -0.1, 1.01, math.nan, math.inf, 0.1234567, 2 / 3])
def test_impossible_thresholds_are_refused(similarity):
    with pytest.raises(ValueError, match="at most 1, and have no more than 6 decimals"):
        threshold_of(similarity)


def test_a_threshold_is_the_decimal_that_was_written():
    assert threshold_of(0.8) == Fraction(4, 5)
    assert threshold_of(1) == 1
    assert threshold_of(1e-6) == Fraction(1, 10**6)
    # 8 of 10 reach 0.8, although 0.8 as a float lies above 4/5.
    sets = [range(10), range(8)]
    assert as_dict(nearest_kept(column_of(sets), np.arange(2), 0.8)) == {1: (0, 0.8)}


@given(st.integers(1, 500), THRESHOLDS)
def test_prefix_is_the_shortest_that_cannot_be_missed(size, similarity):
    prefix, least = prefix_length(size, threshold_of(similarity)), Fraction(str(similarity))
    # What is left without the prefix is too little; one member more might be enough.
    assert Fraction(size - prefix, size) < least <= Fraction(size - prefix + 1, size)


@pytest.mark.parametrize("sets", [[], [[]], [[], [], []]])
def test_nothing_to_compare(sets):
    column, order = pa.chunked_array([pa.array(sets, UINT64S)]), np.arange(len(sets))
    for path in (nearest_kept_small, nearest_kept_large):
        assert path(column, order, Fraction(4, 5)).partner.tolist() == [-1] * len(sets)


def test_plain_texts():
    texts = ["one two three four five six", "something else", "One two three, four five six!", ""]
    found = near_duplicates(texts, similarity=0.9)
    assert found.partner.tolist() == [-1, -1, 0, -1]
    assert found.similarity[2] == 1.0


def hostile(kind, rows):
    dice = np.random.default_rng(0)
    if kind == "identical":
        return [np.arange(1, 51, dtype=np.uint64) << np.uint64(40)] * rows
    if kind == "single":
        return list(dice.integers(0, rows // 2, (rows, 1)).astype(np.uint64) << np.uint64(30))
    # 85 % boilerplate: every pair is at 0.74, just below the threshold, and shares its prefix.
    shared = np.sort(dice.integers(0, 2**63, 85).astype(np.uint64))
    return [np.union1d(shared, dice.integers(0, 2**63, 15).astype(np.uint64)) for _ in range(rows)]


@pytest.mark.parametrize("kind", ["identical", "single", "boilerplate"])
def test_hostile_sets_do_not_take_quadratic_time(kind):
    rows = 30_000
    column, order = pa.chunked_array([pa.array(hostile(kind, rows), UINT64S)]), np.arange(rows)
    nearest_kept_large(column.slice(0, 10), order[:10], Fraction(4, 5))  # compile first
    began = time.process_time()
    found = nearest_kept_large(column, order, Fraction(4, 5))
    # All pairs would be 450 million comparisons: minutes.
    assert time.process_time() - began < 5
    kept = int((found.partner < 0).sum())
    assert kept == {"identical": 1, "boilerplate": rows}.get(kind, kept)


def test_small_inputs_load_no_compiled_code():
    code = (
        "import sys; from curate.kernels.sets.jaccard import near_duplicates;"
        "print(near_duplicates(['a b c d', 'A b c d']).partner.tolist(), 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[-1, 0] False"
