from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.encoders import encode
from curate.encoders.precision import has_gpu
from curate.errors import MissingExtra
from curate.kernels.vectors import close_pairs
from curate.kernels.vectors import prefilter as prefilter_module
from curate.kernels.vectors.close_pairs import (
    AllPairs,
    all_neighbours,
    closest_other,
    hold_closest,
)
from curate.kernels.vectors.dedup import greedy_walk
from curate.kernels.vectors.prefilter import (
    BFloat16Prefilter,
    CudaPrefilter,
    FaissPrefilter,
    prefilter_for,
)
from curate.kernels.vectors.unit_vectors import UnitVectors, cosines_between

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def clustered(seed, count, width=12, groups=6, spread=0.3):
    """Vectors around a few centres, some equal, some zero, of any length."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((groups, width))
    vectors = centres[random.integers(0, groups, count)]
    vectors = vectors + spread * random.standard_normal((count, width))
    vectors *= random.uniform(0.1, 30, (count, 1))
    equal = random.random(count) < 0.2
    vectors[equal] = vectors[random.integers(0, max(count, 1), int(equal.sum()))]
    vectors[random.random(count) < 0.05] = 0
    return vectors.astype(np.float32)


def naive_cosine(one, other):
    """The definition: exact products, and an exact sum rounded once."""
    dot = math.fsum(float(a) * float(b) for a, b in zip(one, other, strict=True))
    lengths = [math.sqrt(math.fsum(float(a) ** 2 for a in v)) for v in (one, other)]
    return dot / (lengths[0] * lengths[1])


def naive_walk(own, order, similarity):
    """The definition of the walk, over all pairs."""
    count = len(own)
    partner, score, kept = np.full(count, -1), np.full(count, np.nan), []
    for line in order:
        if own.lengths[line] == 0:
            continue
        cosines = own.cosines(np.full(len(kept), line), np.array(kept, np.int64))
        close = [(-c, k) for c, k in zip(cosines, kept, strict=True) if c >= similarity]
        if close:
            score[line], partner[line] = -min(close)[0], min(close)[1]
        else:
            kept.append(int(line))
    return partner, score


def neighbours(own, at_least, budget=None, **how):
    return all_neighbours(AllPairs(own, at_least, **how), budget)


def searching(own, order, similarity, **how):
    return greedy_walk(own, AllPairs(own, similarity, **how), order, similarity)


def same(one, other):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


# -- cosines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 5, 32, 33, 384])
def test_a_cosine_is_that_of_exact_arithmetic_up_to_its_last_digits(width):
    vectors = np.random.default_rng(width).standard_normal((6, width)).astype(np.float32)
    own = UnitVectors.of(vectors)
    left, right = np.triu_indices(6, 1)
    expected = [naive_cosine(vectors[a], vectors[b]) for a, b in zip(left, right, strict=True)]
    assert np.allclose(own.cosines(left, right), expected, rtol=0, atol=1e-14)
    assert own.cosines(left, right).tolist() == own.cosines(right, left).tolist()


def test_the_order_of_summation_is_pinned():
    # These numbers lose digits in every other order: a faster one must not slip in.
    line = np.array([[1e8, 1.0, -1e8, 1.0] * 16 + [3.0] * 5], np.float32)
    own, ones = UnitVectors.of(line), UnitVectors.of(np.ones((1, 69), np.float32))
    lanes = np.zeros(32)
    for start in range(0, 69, 32):
        part = line[0, start : start + 32].astype(np.float64)
        lanes[: len(part)] += part
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    expected = lanes[0] / (own.lengths[0] * ones.lengths[0])
    zero = np.zeros(1, np.int64)
    assert cosines_between(own, zero, ones, zero).tolist() == [expected]


def test_equal_vectors_have_the_cosine_one_and_zeros_have_none():
    vectors = np.array([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0, 0, 0], [-0.0, 0, 0]], np.float32)
    own = UnitVectors.of(vectors)
    assert own.first.tolist() == [0, 0, 2, 2]
    assert own.distinct().tolist() == [0]
    assert own.cosines(np.array([0]), np.array([1])).tolist() == [1.0]
    assert np.isnan(own.cosines(np.array([0, 2]), np.array([2, 3]))).all()


def test_vectors_that_are_not_finite_are_refused():
    for wrong in (np.nan, np.inf):
        vectors = np.ones((3, 2), np.float32)
        vectors[1, 1] = wrong
        with pytest.raises(ValueError, match="vector 1 holds a NaN or an infinity"):
            UnitVectors.of(vectors)
    with pytest.raises(ValueError, match="must be a matrix"):
        UnitVectors.of(np.ones(3, np.float32))


# -- the join -------------------------------------------------------------------------------------


PREFILTERS = [FaissPrefilter(), BFloat16Prefilter()]
GPU = pytest.mark.skipif(not has_gpu(), reason="torch sees no GPU here")


@pytest.mark.parametrize("prefilter", PREFILTERS)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 90), block=st.sampled_from([1, 7, 64]))
@settings(max_examples=25)
def test_all_pairs_are_found_whatever_the_blocks_and_the_prefilter(prefilter, seed, count, block):
    own = UnitVectors.of(clustered(seed, count))
    lines = own.distinct()
    a, b = np.triu_indices(len(lines), 1)
    cosines = own.cosines(lines[a], lines[b])
    # A threshold that some pair meets exactly, where there is one.
    at_least = float(np.quantile(cosines, 0.9, method="nearest")) if len(a) else 0.9
    at_least = min(max(at_least, 0.06), 1.0)
    found = neighbours(own, at_least, block=block, prefilter=prefilter)
    assert found.rows.tolist() == lines.tolist()
    heads = np.repeat(np.arange(len(lines)), np.diff(found.starts))
    upper = heads < found.others
    enough = cosines >= at_least
    assert heads[upper].tolist() == a[enough].tolist()
    assert found.others[upper].tolist() == b[enough].tolist()
    assert found.cosines[upper].tolist() == cosines[enough].tolist()
    for line in range(len(lines)):
        own_others = found.others[found.starts[line] : found.starts[line + 1]]
        assert (np.diff(own_others) > 0).all()


@pytest.mark.parametrize("prefilter", [*PREFILTERS, pytest.param(CudaPrefilter(), marks=GPU)])
def test_no_product_of_a_prefilter_is_further_off_than_its_margin(prefilter):
    random = np.random.default_rng(3)
    near = random.standard_normal((1, 384)) + 0.4 * random.standard_normal((200, 384))
    own = UnitVectors.of(near.astype(np.float32))
    prepared = prefilter.prepare(own.vectors, own.lengths)
    left, right = np.triu_indices(200, 1)
    cosines = own.cosines(left, right)
    for at_least in np.quantile(cosines, [0.01, 0.5, 0.99]):
        named = prefilter.reaching(prepared, prepared, at_least - prefilter.margin(384))
        names = set(zip(*(side.tolist() for side in named), strict=True))
        enough = cosines >= at_least
        assert names >= set(zip(left[enough].tolist(), right[enough].tolist(), strict=True))


def test_more_pairs_than_first_room_are_all_written_down():
    own = UnitVectors.of(clustered(1, 400, groups=1, spread=0.01))
    found = neighbours(own, 0.5)
    count = len(own.distinct())
    assert found.pairs == count * (count - 1) // 2 > 4096


def test_pairs_above_the_budget_are_not_held(monkeypatch):
    monkeypatch.setattr(close_pairs, "_WAVE", 2)
    own = UnitVectors.of(clustered(1, 200, groups=1, spread=0.01))
    count = len(own.distinct())
    needed = close_pairs.BYTES_PER_PAIR * count * (count - 1) // 2
    assert neighbours(own, 0.5, budget=needed - 1, block=16) is None
    assert neighbours(own, 0.5, budget=needed, block=16) is not None


def test_a_prefilter_is_chosen_by_name_or_by_what_is_here(monkeypatch):
    monkeypatch.setattr(prefilter_module, "has_gpu", lambda: False)
    monkeypatch.setattr(prefilter_module, "native_dtype", lambda _: "float32")
    assert isinstance(prefilter_for(1 << 20, 0.9), FaissPrefilter)
    assert isinstance(prefilter_for(9, 0.9, "bfloat16"), BFloat16Prefilter)
    monkeypatch.setattr(prefilter_module, "native_dtype", lambda _: "bfloat16")
    assert isinstance(prefilter_for(1 << 20, 0.9), BFloat16Prefilter)
    assert isinstance(prefilter_for(1 << 20, 0.9, "float32"), FaissPrefilter)
    assert isinstance(prefilter_for(1 << 20, 0.05, "bfloat16"), FaissPrefilter)
    monkeypatch.setattr(prefilter_module, "has_gpu", lambda: True)
    assert isinstance(prefilter_for(1 << 20, 0.9), CudaPrefilter)


def test_without_faiss_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setattr("curate.system.package_data.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"needs faiss, which is not installed; .*vectors"):
        prefilter_for(9, 0.9, "float32")


@GPU
def test_a_gpu_finds_the_pairs_that_the_cpu_finds():
    own = UnitVectors.of(clustered(3, 5000, width=64))
    one, other = (neighbours(own, 0.8, prefilter=by) for by in (CudaPrefilter(), FaissPrefilter()))
    assert same(one, other)


@pytest.mark.real
def test_pairs_by_faiss_are_those_of_numpy_in_float64_on_real_vectors(monkeypatch):
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    rows = json.loads((DATA / "alpaca" / "alpaca_5000.json").read_text())
    own = UnitVectors.of(encode(["\n\n".join((r["instruction"], r["input"])) for r in rows]))
    rows = own.distinct()
    exact = own.vectors[rows].astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1)[:, None]
    cosines = np.triu(exact @ exact.T, 1)
    for at_least, cores in itertools.product((0.8, 0.9), (1, 2)):
        monkeypatch.setattr(prefilter_module, "cores", lambda cores=cores: cores)
        found = neighbours(own, at_least, prefilter=FaissPrefilter())
        heads = np.repeat(np.arange(len(rows)), np.diff(found.starts))
        upper = heads < found.others
        left, right = np.nonzero(cosines >= at_least)
        assert len(left) > 20
        assert np.array_equal(heads[upper], left)
        assert np.array_equal(found.others[upper], right)
        assert np.allclose(found.cosines[upper], cosines[left, right], rtol=0, atol=1e-14)


# -- the walk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefilter", PREFILTERS)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 90),
    block=st.sampled_from([1, 8, 1024]),
    similarity=st.sampled_from([0.3, 0.8, 0.95, 1.0]),
)
@settings(max_examples=25)
def test_both_walks_are_the_definition(prefilter, seed, count, block, similarity):
    own = UnitVectors.of(clustered(seed, count))
    order = np.random.default_rng(seed).permutation(count)
    expected = naive_walk(own, order, similarity)
    found = neighbours(own, similarity, prefilter=prefilter)
    assert same(greedy_walk(own, found, order, similarity), expected)
    assert same(searching(own, order, similarity, block=block, prefilter=prefilter), expected)
    # Neighbours that reach further down decide the same.
    further = neighbours(own, similarity / 2 + 0.06, prefilter=FaissPrefilter())
    if similarity / 2 + 0.06 <= similarity:
        assert same(greedy_walk(own, further, order, similarity), expected)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
@settings(max_examples=25)
def test_kept_vectors_are_apart_and_every_dropped_one_has_its_witness(seed, count):
    own = UnitVectors.of(clustered(seed, count))
    partner, score = searching(own, np.arange(count), 0.9)
    kept = np.flatnonzero((partner < 0) & (own.lengths > 0))
    a, b = np.triu_indices(len(kept), 1)
    assert (own.cosines(kept[a], kept[b]) < 0.9).all()
    dropped = np.flatnonzero(partner >= 0)
    assert np.isin(partner[dropped], kept).all()
    assert (own.cosines(dropped, partner[dropped]) == score[dropped]).all()
    assert (score[dropped] >= 0.9).all()


@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
@settings(max_examples=20)
def test_shuffled_lines_under_one_total_order_keep_the_same_set(seed, count):
    random = np.random.default_rng(seed)
    vectors, rank, shuffle = clustered(seed, count), random.permutation(count), None
    shuffle = random.permutation(count)
    partner, _ = searching(UnitVectors.of(vectors), np.argsort(rank), 0.9)
    moved, _ = searching(UnitVectors.of(vectors[shuffle]), np.argsort(rank[shuffle]), 0.9)
    assert set(np.flatnonzero(partner < 0)) == set(shuffle[np.flatnonzero(moved < 0)])


@pytest.mark.parametrize(
    ("vectors", "partner"),
    [
        (np.zeros((0, 4)), []),
        (np.zeros((0, 1)), []),
        (np.ones((1, 4)), [-1]),
        (np.ones((5, 4)), [-1, 0, 0, 0, 0]),
        (np.zeros((5, 4)), [-1] * 5),
        (np.eye(5), [-1] * 5),
        (np.array([[0, 0], [1, 0], [0, 0], [2, 0]]), [-1, -1, -1, 1]),
    ],
    ids=["empty", "no text", "one", "all equal", "all zero", "all apart", "zeros between"],
)
def test_the_ends_of_the_scale(vectors, partner):
    own = UnitVectors.of(vectors.astype(np.float32))
    order = np.arange(len(vectors))
    assert searching(own, order, 0.9).partner.tolist() == partner
    found = neighbours(own, 0.9)
    assert greedy_walk(own, found, order, 0.9).partner.tolist() == partner


# -- ties, and cosines at the threshold ------------------------------------------------------------

# Pythagorean triples: the cosines of these with the first are 1, 0.8, 0.8, 0.6 and 0 to the bit.
EXACT = np.array([[1, 0], [4, 3], [4, -3], [3, 4], [0, 1]], np.float32)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 2)), max_size=20),
    st.randoms(use_true_random=False),
)
def test_the_closest_is_held_in_whatever_order_the_pairs_come(pairs, chance):
    chance.shuffle(pairs)
    left, right, tenths = (np.array(side, np.int64) for side in zip(*pairs, (0, 0, 0), strict=True))
    cosines = tenths / 10
    partner, cosine = np.full(4, -1, np.int64), np.full(4, np.nan)
    hold_closest(left, right, cosines, partner, cosine)
    for own in range(4):
        close = [
            (-c, r) for n, r, c in zip(left.tolist(), right.tolist(), cosines, strict=True)
            if n == own
        ]  # fmt: skip
        assert partner[own] == (min(close)[1] if close else -1)
        assert not close or cosine[own] == -min(close)[0]


@pytest.mark.parametrize("block", [1, 64])
def test_of_others_as_close_the_first_row_is_named(block):
    for ways in ([0, 1, 2], [0, 2, 1]):
        every = UnitVectors.of(EXACT[ways])
        found = closest_other(every, 1, 0.5, block=block)
        assert (found.partner.tolist(), found.similarity.tolist()) == ([1], [0.8])


@pytest.mark.parametrize("way", [(1, 2), (2, 1)])
def test_of_kept_rows_as_close_the_first_row_is_named_in_any_order_of_the_walk(way):
    """The vector that comes first stands for a later row, where that is the one that is kept."""
    one, other = EXACT[list(way)]
    own = UnitVectors.of(np.stack([one, other, one, EXACT[0]]))
    partner, score = searching(own, np.array([2, 1, 0, 3]), 0.75)
    assert partner.tolist() == [2, -1, -1, 1]
    assert score[3] == 0.8


@pytest.mark.parametrize("prefilter", PREFILTERS)
def test_a_cosine_at_the_threshold_reaches_it_and_one_below_does_not(prefilter):
    own = UnitVectors.of(EXACT)
    for at_least, pairs in ((0.8, 4), (np.nextafter(0.8, 1), 1), (0.6, 6), (0.96, 1)):
        assert neighbours(own, at_least, prefilter=prefilter).pairs == pairs
        near = closest_other(own, 1, at_least, prefilter=prefilter).similarity
        assert np.array_equal(near, [0.8 if at_least <= 0.8 else np.nan], equal_nan=True)


# -- texts that were not read in whole -------------------------------------------------------------


@given(seed=st.integers(0, 2**32), count=st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_different_texts_of_which_the_same_was_read_are_never_pairs(seed, count):
    random = np.random.default_rng(seed)
    vectors, tokens = clustered(seed, count), random.integers(0, 3, count)
    texts = np.where(tokens > 0, random.integers(0, 5, count), 0)
    own = UnitVectors.of(vectors, np.stack([tokens, texts], 1).astype(np.int64))
    plain = UnitVectors.of(vectors)
    apart = (tokens[:, None] == tokens) & (tokens > 0) & (texts[:, None] != texts)
    kept = []
    partner, score = searching(own, np.arange(count), 0.9)
    for row in np.flatnonzero(own.lengths > 0):
        cosines = {k: plain.cosines(np.array([row]), np.array([k]))[0] for k in kept}
        close = [(-c, k) for k, c in cosines.items() if c >= 0.9 and not apart[row, k]]
        assert partner[row] == (min(close)[1] if close else -1)
        assert not close or score[row] == -min(close)[0]
        if not close:
            kept.append(row)
    assert own.digest(1) != plain.digest(1)
