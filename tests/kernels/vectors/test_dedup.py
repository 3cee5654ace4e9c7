import numpy as np
import pytest

from curate.kernels.vectors import dedup as cosine_kept
from curate.kernels.vectors.cache import derived_file
from curate.kernels.vectors.dedup import PairSearch, nearest_kept
from curate.kernels.vectors.greedy_walk import walk_searching
from curate.kernels.vectors.unit_vectors import UnitVectors
from tests.kernels.test_cosine import clustered, same

ORDER = np.random.default_rng(4).permutation(80)


@pytest.fixture
def own():
    return UnitVectors.of(clustered(5, 80))


@pytest.fixture
def no_search(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("searched")

    def forbid():
        monkeypatch.setattr(cosine_kept, "neighbours", refuse)
        monkeypatch.setattr(cosine_kept, "walk_searching", refuse)

    return forbid


def test_a_threshold_from_the_floor_on_searches_nothing(own, tmp_path, no_search):
    expected = {s: walk_searching(own, ORDER, s) for s in (0.8, 0.85, 0.97)}
    assert same(nearest_kept(own, ORDER, PairSearch(0.9, 0.8, tmp_path)).nearest,
                walk_searching(own, ORDER, 0.9))  # fmt: skip
    no_search()
    for similarity, verdicts in expected.items():
        again = nearest_kept(own, ORDER, PairSearch(similarity, 0.8, tmp_path))
        assert same(again.nearest, verdicts)
        assert again.remarks == ()


def test_below_the_floor_the_vectors_are_searched_and_a_remark_says_so(own, tmp_path):
    nearest_kept(own, ORDER, PairSearch(0.9, 0.8, tmp_path))
    below = nearest_kept(own, ORDER, PairSearch(0.7, 0.8, tmp_path))
    assert same(below.nearest, walk_searching(own, ORDER, 0.7))
    assert "0.7 is below floor 0.8" in below.remarks[0]


def test_dense_data_is_searched_at_the_threshold_and_a_remark_says_so(own, tmp_path):
    dense = nearest_kept(own, ORDER, PairSearch(0.9, 0.8, tmp_path, budget=24))
    assert same(dense.nearest, walk_searching(own, ORDER, 0.9))
    assert "would take more than" in dense.remarks[0]
    assert not list(tmp_path.iterdir())


def test_a_file_belongs_to_its_vectors_and_its_floor(own, tmp_path):
    changed = own.vectors.copy()
    changed[3, 2] += 1
    names = {
        derived_file(tmp_path, own, 0.8),
        derived_file(tmp_path, own, 0.81),
        derived_file(tmp_path, UnitVectors.of(changed), 0.8),
        derived_file(tmp_path, UnitVectors.of(own.vectors[::-1]), 0.8),
        derived_file(tmp_path, UnitVectors.of(own.vectors.reshape(-1, 6)), 0.8),
    }
    assert len(names) == 5


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive"])
def test_a_broken_file_is_found_again(own, tmp_path, damage):
    first = nearest_kept(own, ORDER, PairSearch(0.9, 0.8, tmp_path / "new"))
    (path,) = (tmp_path / "new").iterdir()
    whole = path.read_bytes()
    for wrong in (damage, whole[: len(whole) // 2]):
        path.write_bytes(wrong)
        again = nearest_kept(own, ORDER, PairSearch(0.9, 0.8, tmp_path / "new"))
        assert same(again.nearest, first.nearest)
        assert path.read_bytes() == whole
    assert list((tmp_path / "new").iterdir()) == [path]
