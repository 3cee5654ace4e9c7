import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import cosine_index, cosine_kept
from curate.kernels.cosine_index import Recall, indexed_neighbours, measured_recall
from curate.kernels.cosine_join import neighbours
from curate.kernels.cosine_kept import Search, nearest_kept
from curate.kernels.cosine_screen import FloatScreen, HalfScreen
from curate.kernels.directions import Directions
from tests.kernels.test_cosine import clustered


def pairs(found):
    heads = np.repeat(np.arange(len(found.lines)), np.diff(found.starts))
    return set(zip(heads.tolist(), found.others.tolist(), found.cosines.tolist(), strict=True))


@given(seed=st.integers(0, 2**32), count=st.integers(0, 200))
@settings(max_examples=20, deadline=None)
def test_an_index_that_looks_everywhere_finds_all_pairs(seed, count):
    own = Directions.of(clustered(seed, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine_index, "PROBES", 1000)
        patch.setattr(cosine_index, "_ASKED", 16)
        patch.setattr(cosine_index, "_MEMBERS", 7)
        found = indexed_neighbours(own, 0.8)
    assert pairs(found) == pairs(neighbours(own, 0.8))


@given(seed=st.integers(0, 2**32), count=st.integers(1, 200), probes=st.sampled_from([1, 2, 5]))
@settings(max_examples=20, deadline=None)
def test_its_pairs_are_true_and_its_recall_is_counted(seed, count, probes):
    own = Directions.of(clustered(seed, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine_index, "PROBES", probes)
        found = indexed_neighbours(own, 0.8, screen=FloatScreen())
        assert pairs(indexed_neighbours(own, 0.8, screen=HalfScreen())) == pairs(found)
    true = pairs(neighbours(own, 0.8))
    assert pairs(found) <= true
    recall = measured_recall(own, found, 0.8)
    assert len(recall.found) == len(true), "the sample is everything here"
    assert recall.found.sum() == len(pairs(found))


def test_pairs_above_the_budget_are_not_held():
    own = Directions.of(clustered(1, 200, groups=1, spread=0.01))
    assert indexed_neighbours(own, 0.5, budget=24 * 1000) is None
    assert indexed_neighbours(own, 0.5, budget=24 * 20000) is not None


def test_recall_is_told_in_words():
    recall = Recall(np.array([0.95, 0.9, 0.85, 0.8]), np.array([True, True, True, False]))
    assert recall.told(0.8) == "recall 0.75000 of 4 pairs at 0.8"
    assert recall.told(0.9) == "recall 1.00000 of 2 pairs at 0.9"
    assert recall.told(0.99) == "no pair at 0.99 in the sample"


def test_above_its_size_a_search_uses_the_index_and_tells_its_recall(tmp_path, monkeypatch):
    own = Directions.of(clustered(5, 300))
    order, search = np.arange(300), Search(0.9, 0.8, tmp_path, exact_up_to=100)
    kept = nearest_kept(own, order, search)
    exact = nearest_kept(own, order, Search(0.9, 0.8, tmp_path))
    assert exact.remarks == ()
    (remark,) = kept.remarks
    distinct = len(own.distinct())
    told = f"an index was searched, not all pairs; on a sample of {distinct}: recall "
    assert remark.startswith(told)
    assert "at 0.8; recall" in remark
    assert "at 0.9" in remark
    assert np.array_equal(kept.nearest.partner, exact.nearest.partner)
    monkeypatch.setattr(cosine_kept, "indexed_neighbours", None)
    again = nearest_kept(own, order, search)
    assert again.remarks == kept.remarks
    assert np.array_equal(again.nearest.partner, kept.nearest.partner)
