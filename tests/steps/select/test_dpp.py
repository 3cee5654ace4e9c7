import numpy as np
import pyarrow as pa

from curate import select
from curate.steps.select.dpp import Dpp

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
    plain, weighed = decide(Dpp(count=5), VECTORS), decide(Dpp(count=5, by="judge"), VECTORS, SCORE)
    assert kept(plain) == sorted(select.dpp(VECTORS, 5).tolist())
    assert kept(weighed) == sorted(select.dpp(VECTORS, 5, quality=SCORE).tolist()) != kept(plain)


def test_it_keeps_no_more_rows_than_there_are_dimensions():
    assert len(kept(decide(Dpp(count=20), VECTORS))) == 6
