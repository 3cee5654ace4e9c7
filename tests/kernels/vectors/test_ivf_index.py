import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.vectors import dedup, ivf_index
from curate.kernels.vectors.close_pairs import all_neighbours
from curate.kernels.vectors.dedup import PairSearch, greedy_walk, nearest_kept
from curate.kernels.vectors.ivf_index import IVFIndex, Recall
from curate.kernels.vectors.prefilter import BFloat16Prefilter, FaissPrefilter, prepared
from curate.kernels.vectors.unit_vectors import UnitVectors
from curate.store.files import DerivedArrays
from tests.kernels.vectors.test_close_pairs import clustered, neighbours, same, searching


def indexed_neighbours(own, at_least, budget=None, prefilter=None):
    return all_neighbours(IVFIndex(own, at_least, prefilter=prefilter), budget)


def pairs(found):
    heads = np.repeat(np.arange(len(found.rows)), np.diff(found.starts))
    return set(zip(heads.tolist(), found.others.tolist(), found.cosines.tolist(), strict=True))


@given(seed=st.integers(0, 2**32), count=st.integers(0, 200))
@settings(max_examples=20, deadline=None)
def test_an_index_that_looks_everywhere_finds_all_pairs(seed, count):
    own = UnitVectors.of(clustered(seed, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ivf_index, "PROBES", 1000)
        patch.setattr(ivf_index, "_ASKED", 16)
        patch.setattr(ivf_index, "_MEMBERS", 7)
        found = indexed_neighbours(own, 0.8)
    assert pairs(found) == pairs(neighbours(own, 0.8))


@given(seed=st.integers(0, 2**32), count=st.integers(1, 200), probes=st.sampled_from([1, 2, 5]))
@settings(max_examples=20, deadline=None)
def test_its_pairs_are_true_and_its_recall_is_counted(seed, count, probes):
    own = UnitVectors.of(clustered(seed, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ivf_index, "PROBES", probes)
        index = IVFIndex(own, 0.8, prefilter=FaissPrefilter())
        found, recall = all_neighbours(index), index.recall()
        assert pairs(indexed_neighbours(own, 0.8, prefilter=BFloat16Prefilter())) == pairs(found)
    true = pairs(neighbours(own, 0.8))
    assert pairs(found) <= true
    assert len(recall.found) == len(true), "the sample is everything here"
    assert recall.found.sum() == len(pairs(found))


@given(seed=st.integers(0, 2**32), count=st.integers(1, 200), probes=st.sampled_from([1, 2, 5]))
@settings(max_examples=20, deadline=None)
def test_it_finds_the_pairs_of_which_one_looks_into_the_list_of_the_other(seed, count, probes):
    own = UnitVectors.of(clustered(seed, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ivf_index, "PROBES", probes)
        lists = IVFIndex(own, 0.8)
        found = pairs(indexed_neighbours(own, 0.8))
    true = sorted(pairs(neighbours(own, 0.8)))
    left, right, _ = (
        (np.array(side, np.int64) for side in zip(*true, strict=True))
        if true
        else (np.zeros((3, 0), np.int64))
    )
    reached = lists.finds(left, right)
    assert {pair for pair, yes in zip(true, reached.tolist(), strict=True) if yes} == found


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 150),
    budget=st.integers(0, 3000),
    few=st.sampled_from([3, 1000]),
    probes=st.sampled_from([1, 3, 16]),
)
@settings(max_examples=40, deadline=None)
def test_a_walk_in_portions_is_the_walk_through_all_its_pairs(seed, count, budget, few, probes):
    random = np.random.default_rng(seed)
    own = UnitVectors.of(clustered(seed, count))
    own = UnitVectors.of(own.vectors[random.integers(0, count, count + 20)])
    order = random.permutation(len(own))[: random.integers(0, len(own)) + 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ivf_index, "PROBES", probes)
        patch.setattr(dedup, "_PAIRS_EACH", 1)
        patch.setattr(dedup, "_FEW_PAIRS", few)
        expected = greedy_walk(own, indexed_neighbours(own, 0.8), order, 0.8)
        found = greedy_walk(own, IVFIndex(own, 0.8), order, 0.8, budget)
    assert same(found, expected)


any_memory = given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 200),
    room=st.integers(0, 40_000),
    probes=st.sampled_from([1, 3, 16]),
    prefilter=st.sampled_from([BFloat16Prefilter, FaissPrefilter]),
)


def assert_memory_changes_nothing(seed, count, room, probes, prefilter):
    random = np.random.default_rng(seed)
    own = UnitVectors.of(clustered(seed, count))
    order = random.permutation(count)
    answers = []
    for most in (1 << 30, room):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ivf_index, "PROBES", probes)
            patch.setattr(ivf_index, "READY_BYTES", most)
            patch.setattr(ivf_index, "READY_SHARE", 0)
            patch.setattr(ivf_index, "_ASKED", 16)
            index = IVFIndex(own, 0.8, prefilter=prefilter())
            found = all_neighbours(index)
            walks = [greedy_walk(own, IVFIndex(own, 0.8), order, 0.8, b) for b in (None, 500)]
            answers.append((found, index.recall(), *walks))
    for one, other in zip(*answers, strict=True):
        assert same(one, other)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@any_memory
def test_the_memory_for_prepared_vectors_changes_nothing(**drawn):
    assert_memory_changes_nothing(**drawn)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@any_memory
def test_no_amount_of_memory_for_prepared_vectors_changes_anything(**drawn):
    assert_memory_changes_nothing(**drawn)


def test_no_more_vectors_are_prepared_at_once_than_there_is_memory_for(monkeypatch):
    own = UnitVectors.of(clustered(3, 2000))
    sizes = []

    def counted(prefilter, every, rows):
        out = prepared(prefilter, every, rows)
        sizes.append(out.nbytes)
        return out

    expected = pairs(indexed_neighbours(own, 0.8, prefilter=FaissPrefilter()))
    whole = 4 * own.vectors.shape[1] * len(own.distinct())
    monkeypatch.setattr(ivf_index, "prepared", counted)
    monkeypatch.setattr(ivf_index, "READY_BYTES", whole // 4)
    monkeypatch.setattr(ivf_index, "READY_SHARE", 0)
    assert pairs(indexed_neighbours(own, 0.8, prefilter=FaissPrefilter())) == expected
    assert len(expected) > 0
    assert max(sizes) <= whole // 16


def test_pairs_above_the_budget_are_not_held():
    own = UnitVectors.of(clustered(1, 200, groups=1, spread=0.01))
    assert indexed_neighbours(own, 0.5, budget=24 * 1000) is None
    assert indexed_neighbours(own, 0.5, budget=24 * 20000) is not None


def test_recall_is_told_in_words():
    recall = Recall(np.array([0.95, 0.9, 0.85, 0.8]), np.array([True, True, True, False]))
    assert recall.describe(0.8) == "recall 0.75000 of 4 pairs at 0.8"
    assert recall.describe(0.9) == "recall 1.00000 of 2 pairs at 0.9"
    assert recall.describe(0.99) == "no pair at 0.99 in the sample"


def test_above_its_size_a_search_uses_the_index_and_tells_its_recall(tmp_path, monkeypatch):
    own = UnitVectors.of(clustered(5, 300))
    order, search = np.arange(300), PairSearch(0.9, 0.8, DerivedArrays(tmp_path), exact_up_to=100)
    kept = nearest_kept(own, order, search)
    exact = nearest_kept(own, order, PairSearch(0.9, 0.8, DerivedArrays(tmp_path)))
    assert exact.remarks == ()
    (remark,) = kept.remarks
    distinct = len(own.distinct())
    told = f"an index was searched, not all pairs; on a sample of {distinct}: recall "
    assert remark.startswith(told)
    assert "at 0.8; recall" in remark
    assert "at 0.9" in remark
    assert np.array_equal(kept.nearest.partner, exact.nearest.partner)
    monkeypatch.setattr(dedup.PairSearch, "source", None)
    again = nearest_kept(own, order, search)
    assert again.remarks == kept.remarks
    assert np.array_equal(again.nearest.partner, kept.nearest.partner)


@pytest.mark.parametrize(
    ("search", "why"),
    [
        (
            PairSearch(0.7, 0.8, exact_up_to=100),
            "0.7 is below floor 0.8: the vectors were searched",
        ),
        (
            PairSearch(0.9, 0.8, exact_up_to=100, budget=24),
            "would take more than 0 MB: the vectors",
        ),
    ],
)
def test_what_is_searched_again_at_that_size_is_searched_by_the_index(search, why):
    own, order = UnitVectors.of(clustered(5, 300)), np.arange(300)
    expected = searching(own, order, search.similarity)
    kept = nearest_kept(own, order, search)
    assert same(kept.nearest, expected)
    assert why in kept.remarks[0]
    assert kept.remarks[1].startswith("an index was searched, not all pairs; on a sample of ")
    assert kept.remarks[1].count("recall 1.00000 of ") == 1
