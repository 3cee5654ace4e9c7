import numpy as np
import pyarrow as pa

from curate import select
from curate.steps.select.facility_location import FacilityLocation

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
    all_pairs = decide(FacilityLocation(count=7, neighbours=None), VECTORS)
    assert kept(all_pairs) == sorted(select.facility_location(VECTORS, 7).tolist())
    few = decide(FacilityLocation(count=7, neighbours=5), VECTORS)
    chosen = select.facility_location(VECTORS, 7, neighbours=5)
    assert kept(few) == sorted(chosen.tolist()) != kept(all_pairs)
