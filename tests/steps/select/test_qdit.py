import math

import numpy as np
import pyarrow as pa
import pytest

from curate import select
from curate.steps.select.qdit import Qdit

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


def around(*degrees):
    return [[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees]


def test_it_keeps_what_the_function_chooses():
    step = Qdit(by="judge", count=7, alpha=0.4, neighbours=None)
    chosen = select.qdit(VECTORS, SCORE, 7, alpha=0.4)
    assert kept(decide(step, VECTORS, SCORE)) == sorted(chosen.tolist())


def test_a_row_without_a_score_counts_as_the_worst():
    vectors = around(0, 90, 180)
    step = Qdit(by="judge", alpha=1.0, count=2, neighbours=None)
    assert kept(decide(step, around(0, 90, 180, 270), [None, 5, 4, 3])) == [1, 2]
    with pytest.raises(ValueError, match="no row has a score by 'judge'"):
        decide(step, vectors, [None, None, None])
