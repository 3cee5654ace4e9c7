"""Vectors with scores, and what a selecting step decides on them."""

import math

import numpy as np
import pyarrow as pa

VECTORS = np.random.default_rng(2).normal(size=(40, 6)).astype(np.float32)
SCORE = np.random.default_rng(3).random(40).tolist()


def around(*degrees):
    """Return vectors of length 1 in the plane."""
    return [[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees]


def decide(step, vectors, scores=None):
    """Return the verdicts of `step` on vectors, and on the scores that it reads."""
    columns = {"vector": pa.array(list(vectors), pa.list_(pa.float32(), len(vectors[0])))}
    if step.reads_scores():
        columns["score"] = pa.array(scores, pa.float64())
    return step.decide(np.arange(len(vectors)), pa.table(columns))


def kept(verdicts):
    """Return the rows that are kept."""
    return np.flatnonzero(verdicts.code < 0).tolist()
