import math

import numpy as np
import pytest

from curate import select


def test_the_vendi_score_counts_different_rows():
    eye = np.eye(6, dtype=np.float32)
    assert select.vendi_score(eye) == pytest.approx(6)
    assert select.vendi_score(np.repeat(eye[:2], 5, axis=0)) == pytest.approx(2)
    assert select.vendi_score(np.vstack([eye[:3], np.zeros((4, 6))])) == pytest.approx(3)
    assert select.vendi_score(np.zeros((0, 3))) == 0


def test_the_vendi_score_is_that_of_its_definition():
    vectors = np.random.default_rng(1).normal(size=(20, 7))
    units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    values = np.linalg.eigvalsh(units @ units.T / 20)
    values = values[values > 1e-10]
    wanted = math.exp(-sum(v * math.log(v) for v in values))
    assert select.vendi_score(vectors) == pytest.approx(wanted, rel=1e-5)
    assert select.vendi_score(vectors[:5] * 100) <= 5


def test_the_nearest_distance_is_that_to_another_row():
    vectors = np.array([[1, 0], [2, 0], [0, 1], [0, 0], [3, 4]])
    found = select.nearest_distance(vectors)
    assert found[[0, 1]].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert found[[2, 4]].tolist() == pytest.approx([0.2, 0.2])
    assert math.isnan(found[3])
    assert np.isnan(select.nearest_distance(vectors[:1])).all()


def test_the_entropy_of_clusters_tells_how_even_they_are():
    assert select.cluster_entropy([0, 1, 2, -1]) == pytest.approx(1)
    assert select.cluster_entropy([0, 0, -1]) == 0
    assert select.cluster_entropy([0, 0, 0, 1]) == pytest.approx(0.8112781)
