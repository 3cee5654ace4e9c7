import numpy as np
import pyarrow as pa

from curate import select
from curate.steps.select.k_center import KCenter

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


def test_it_keeps_what_the_function_chooses_in_its_order():
    verdicts, chosen = decide(KCenter(count=7), VECTORS), select.k_center(VECTORS, 7).tolist()
    assert kept(verdicts) == sorted(chosen)
    assert [verdicts.details[row] for row in chosen] == [{"place": n + 1} for n in range(7)]


def test_every_dropped_row_is_within_the_radius_of_the_row_it_names():
    verdicts = decide(KCenter(share=0.2), VECTORS)
    assert len(kept(verdicts)) == 8
    dropped = verdicts.code >= 0
    farthest = np.sqrt(2 - 2 * verdicts.score[dropped].min())
    assert farthest == select.radius(VECTORS, kept(verdicts))
