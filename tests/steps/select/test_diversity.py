import math

import numpy as np
import pyarrow as pa
import pytest

from curate import select
from curate.steps.select.diversity import Diversity


def table(vectors):
    return pa.table({"vector": pa.array(list(vectors), pa.list_(pa.float32(), len(vectors[0])))})


def test_the_figures_are_those_of_the_functions():
    vectors = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32)
    vectors[3] = 0
    verdicts = Diversity(clusters=4).decide(np.arange(30), table(vectors))
    some = np.delete(vectors, 3, axis=0)
    distance = select.nearest_distance(some)
    assert math.isnan(verdicts.score[3])
    assert np.delete(verdicts.score, 3).tolist() == distance.tolist()
    evenness = select.cluster_entropy(select.clusters(some, 4)[0])
    assert verdicts.remarks == (
        f"mean distance to the nearest row: {distance.mean():.4f}",
        f"Vendi score: {select.vendi_score(some):.1f}",
        f"evenness of 4 clusters: {evenness:.3f}",
        "rows measured: 29 of 30",
    )


def test_a_sample_is_measured_by_itself():
    vectors = np.random.default_rng(2).normal(size=(50, 5)).astype(np.float32)
    one, two, other = (
        Diversity(sample=20, seed=seed).decide(np.arange(50), table(vectors)) for seed in (1, 1, 2)
    )
    drawn = np.flatnonzero(~np.isnan(one.score))
    assert len(drawn) == 20
    assert one.score[drawn].tolist() == select.nearest_distance(vectors[drawn]).tolist()
    assert one.remarks == two.remarks != other.remarks
    assert one.remarks[-1] == "rows measured: 20 of 50"


@pytest.mark.parametrize("rows", [[[0, 0]] * 3, [[1, 0]]])
def test_nothing_is_said_of_fewer_than_two_rows(rows):
    assert Diversity().decide(np.arange(len(rows)), table(rows)).remarks == ()
