import numpy as np
import pytest

from curate.kernels.vectors import dedup
from curate.kernels.vectors.dedup import PairSearch, nearest_kept
from curate.kernels.vectors.unit_vectors import UnitVectors
from curate.store.files import DERIVED, DerivedArrays
from tests.kernels.vectors.test_close_pairs import EXACT, clustered, same, searching

ORDER = np.random.default_rng(4).permutation(80)


@pytest.fixture
def own():
    return UnitVectors.of(clustered(5, 80))


@pytest.fixture
def no_search(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("searched")

    def forbid():
        monkeypatch.setattr(dedup.PairSearch, "source", refuse)

    return forbid


def test_a_threshold_from_the_floor_on_searches_nothing(own, tmp_path, no_search):
    expected = {s: searching(own, ORDER, s) for s in (0.8, 0.85, 0.97)}
    assert same(nearest_kept(own, ORDER, PairSearch(0.9, 0.8, DerivedArrays(tmp_path))).nearest,
                searching(own, ORDER, 0.9))  # fmt: skip
    no_search()
    for similarity, verdicts in expected.items():
        again = nearest_kept(own, ORDER, PairSearch(similarity, 0.8, DerivedArrays(tmp_path)))
        assert same(again.nearest, verdicts)
        assert again.remarks == ()


def test_below_the_floor_the_vectors_are_searched_and_a_remark_says_so(own, tmp_path):
    nearest_kept(own, ORDER, PairSearch(0.9, 0.8, DerivedArrays(tmp_path)))
    below = nearest_kept(own, ORDER, PairSearch(0.7, 0.8, DerivedArrays(tmp_path)))
    assert same(below.nearest, searching(own, ORDER, 0.7))
    assert "0.7 is below floor 0.8" in below.remarks[0]


def test_dense_data_is_searched_at_the_threshold_and_a_remark_says_so(own, tmp_path):
    dense = nearest_kept(own, ORDER, PairSearch(0.9, 0.8, DerivedArrays(tmp_path), budget=24))
    assert same(dense.nearest, searching(own, ORDER, 0.9))
    assert "would take more than" in dense.remarks[0]
    assert not list(tmp_path.iterdir())


def test_a_key_belongs_to_its_vectors_and_its_floor(own):
    changed = own.vectors.copy()
    changed[3, 2] += 1
    digests = {
        own.digest(0.8),
        own.digest(0.81),
        UnitVectors.of(changed).digest(0.8),
        UnitVectors.of(own.vectors[::-1]).digest(0.8),
        UnitVectors.of(own.vectors.reshape(-1, 6)).digest(0.8),
    }
    assert len(digests) == 5


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive"])
def test_a_broken_file_is_found_again(own, tmp_path, damage):
    search = PairSearch(0.9, 0.8, DerivedArrays(tmp_path))
    first = nearest_kept(own, ORDER, search)
    (path,) = (tmp_path / DERIVED).iterdir()
    whole = path.read_bytes()
    for wrong in (damage, whole[: len(whole) // 2]):
        path.write_bytes(wrong)
        again = nearest_kept(own, ORDER, search)
        assert same(again.nearest, first.nearest)
        assert path.read_bytes() == whole
    assert list((tmp_path / DERIVED).iterdir()) == [path]


@pytest.mark.parametrize(
    "how",
    [
        {"floor": 0.8},
        {"floor": 0.5},
        {"floor": 0.9},
        {"floor": 0.5, "budget": 1},
        {"floor": 0.5, "exact_up_to": 0},
        {"floor": 0.9, "exact_up_to": 0},
    ],
    ids=["at the floor", "above the floor", "below the floor", "dense", "index", "index, below"],
)
def test_a_cosine_at_the_threshold_is_a_duplicate_on_every_path(how):
    above = float(np.nextafter(0.8, 1))
    own = UnitVectors.of(EXACT[[0, 1, 4]])
    for similarity, partner in ((0.8, [-1, 0, -1]), (above, [-1, -1, -1])):
        floor = similarity if how["floor"] == 0.8 else how["floor"]
        search = PairSearch(similarity, **{**how, "floor": floor})
        kept = nearest_kept(own, np.arange(3), search)
        assert kept.nearest.partner.tolist() == partner
        # The same row and the same threshold, where the other one is of another dataset.
        leaked = nearest_kept(own, np.arange(1), search).leaked
        reached = similarity == 0.8
        assert leaked.partner.tolist() == [1 if reached else -1]
        assert np.array_equal(leaked.similarity, [0.8 if reached else np.nan], equal_nan=True)
