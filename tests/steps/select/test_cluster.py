import numpy as np
import pyarrow as pa

from curate import select
from curate.steps.select.cluster import Cluster

VECTORS = np.random.default_rng(2).normal(size=(40, 6)).astype(np.float32)
SCORE = np.random.default_rng(3).random(40).tolist()


def decide(step, vectors, scores=None):
    columns = {
        "vector": pa.array(list(vectors), pa.list_(pa.float32(), len(vectors[0]))),
        "score": pa.array(scores or [None] * len(vectors), pa.float64()),
    }
    return step.decide(np.arange(len(vectors)), pa.table(columns))


def kept(verdicts):
    return np.flatnonzero(verdicts.code < 0).tolist()


def test_it_keeps_what_the_function_chooses():
    verdicts = decide(Cluster(count=7, clusters=4, by="judge", seed=5), VECTORS, SCORE)
    chosen = select.cluster(VECTORS, 7, groups=4, score=SCORE, seed=5)
    assert kept(verdicts) == sorted(chosen.tolist())


def test_uniform_places_are_the_same_number_for_each_cluster():
    verdicts = decide(Cluster(count=8, clusters=4, quota="uniform"), VECTORS)
    of, _ = select.clusters(VECTORS, 4)
    assert np.bincount(of[kept(verdicts)]).tolist() == [2, 2, 2, 2]
