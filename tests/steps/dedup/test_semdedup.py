from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.chunk import Chunk, table_of
from curate.kernels.vectors.semdedup import removed_in_clusters
from curate.kernels.vectors.spherical_kmeans import spherical_clusters
from curate.kernels.vectors.unit_vectors import UnitVectors
from curate.row import Message, Row
from curate.steps.dedup.semdedup import Semdedup
from tests.kernels.vectors.test_close_pairs import clustered


def decide(step, vectors, draws=None):
    draws = np.arange(len(vectors)) / 100 if draws is None else draws
    columns = {
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        "draw": pa.array(draws, pa.float64()),
    }
    return step.decide(np.arange(len(vectors)), pa.table(columns))


@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
def test_clusters_are_ordered_by_distance_to_their_centroid_or_by_draw(keep):
    vectors = clustered(2, 120)
    draws = np.random.default_rng(0).random(120)
    verdicts = decide(Semdedup(clusters=4, keep=keep), vectors, draws)
    own = UnitVectors.of(vectors)
    found = spherical_clusters(own, 4, 0)
    key = {"hard": found.cosine, "easy": -found.cosine, "random": draws}[keep]
    removed = removed_in_clusters(own, found.cluster, np.argsort(key, kind="stable"), 0.1)
    assert verdicts.partner.tolist() == removed.partner.tolist()
    assert (verdicts.code == 0).tolist() == (removed.partner >= 0).tolist()
    dropped = np.flatnonzero(removed.partner >= 0)
    assert len(dropped) > 10
    for line in dropped.tolist():
        told = {"cluster": int(found.cluster[line]), "links": int(removed.links[line])}
        assert verdicts.details[line] == told


def test_rows_without_a_direction_stay_and_nothing_is_nothing():
    assert decide(Semdedup(), np.zeros((3, 2), np.float32)).code.tolist() == [-1] * 3
    assert decide(Semdedup(), np.zeros((0, 1), np.float32)).code.tolist() == []
    assert decide(Semdedup(), np.ones((3, 2), np.float32)).code.tolist() == [-1, 0, 0]


def test_chunks_are_sketched_as_rows_are():
    rows = [
        Row(f"{i:032x}", (0, 0, i), "sft", {"messages": (Message("user", text),)}, run_seed=5)
        for i, text in enumerate(["north", "", "east"])
    ]
    step = Semdedup(on="instruction")
    many = pa.table(step.sketch_many(Chunk(table_of(rows), run_seed=5))).to_pylist()
    assert many == [step.sketch(row) for row in rows]


@pytest.mark.parametrize(
    ("step", "message"),
    [(Semdedup(epsilon=1.0), "above 0 and below 1"), (Semdedup(clusters=0), "at least 1")],
)
def test_contradictions_are_refused(step, message):
    with pytest.raises(ValueError, match=message):
        step.check()


def test_its_rules_are_no_part_of_the_fingerprint():
    assert Semdedup(epsilon=0.2, keep="easy").fingerprint() == Semdedup().fingerprint()
    assert Semdedup(clusters=3).fingerprint() != Semdedup().fingerprint()
