import numpy as np

from curate import select
from curate.steps.select.cluster import Cluster
from tests.steps.select.deciding import SCORE, VECTORS, decide, kept


def test_it_keeps_what_the_function_chooses():
    verdicts = decide(Cluster(count=7, clusters=4, by="judge", seed=5), VECTORS, SCORE)
    chosen = select.cluster(VECTORS, 7, groups=4, score=SCORE, seed=5)
    assert kept(verdicts) == sorted(chosen.tolist())


def test_uniform_places_are_the_same_number_for_each_cluster():
    verdicts = decide(Cluster(count=8, clusters=4, quota="uniform"), VECTORS)
    of, _ = select.clusters(VECTORS, 4)
    assert np.bincount(of[kept(verdicts)]).tolist() == [2, 2, 2, 2]
