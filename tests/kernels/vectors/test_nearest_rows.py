import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.vectors.nearest_rows import NearestRows
from tests.kernels.vectors.test_close_pairs import clustered, naive_cosine


@pytest.mark.parametrize("choice", ["auto", "float32", "bfloat16"])
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 80), count=st.integers(1, 90))
@settings(max_examples=25, deadline=None)
def test_the_nearest_are_those_of_brute_force(choice, seed, rows, count):
    vectors = clustered(seed, rows)
    query = clustered(seed + 1, 30)[-1]
    found, cosines = NearestRows(vectors, choice).nearest(query, count)
    able = [row for row in range(rows) if vectors[row].any() and query.any()]
    exact = {row: naive_cosine(vectors[row], query) for row in able}
    expected = sorted(able, key=lambda row: (-round(exact[row], 13), row))[:count]
    assert np.allclose(cosines, [exact[row] for row in expected], rtol=0, atol=1e-13)
    assert sorted(np.round([exact[row] for row in found.tolist()], 13)) == sorted(
        np.round([exact[row] for row in expected], 13)
    )
    assert len(set(found.tolist())) == len(found)


def test_of_equal_rows_the_first_comes_first():
    vectors = np.array([[0, 1], [3, 0], [0, 0], [1, 0], [1, 0]], np.float32)
    rows, cosines = NearestRows(vectors).nearest([2.0, 0.0], 3)
    assert rows.tolist() == [1, 3, 4]
    assert cosines.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("choice", ["float32", "bfloat16"])
def test_of_different_rows_as_near_the_first_comes_first_and_takes_the_last_place(choice):
    """More ties than a short sort keeps in order by itself."""
    vectors = np.array([[4, 3], [4, -3]] * 20 + [[1, 0]], np.float32)
    rows, cosines = NearestRows(vectors, choice).nearest([5.0, 0.0], 30)
    assert rows.tolist() == [40, *range(29)]
    assert cosines.tolist() == [1.0, *[0.8] * 29]


def test_zeros_are_near_to_nothing():
    near = NearestRows(np.zeros((2, 3), np.float32))
    assert near.nearest([1, 0, 0], 2)[0].tolist() == []
    assert NearestRows(np.eye(3, dtype=np.float32)).nearest([0, 0, 0], 2)[0].tolist() == []
