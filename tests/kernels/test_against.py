"""The closest of another dataset, by Jaccard and by cosine: both are their definitions."""

import itertools
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.sets import jaccard_against
from curate.kernels.vectors.close_pairs import closest_other
from curate.kernels.vectors.prefilter import BFloat16Prefilter, FaissPrefilter
from curate.kernels.vectors.unit_vectors import UnitVectors
from tests.kernels.vectors.test_close_pairs import clustered

SETS = st.lists(st.sets(st.integers(0, 12), max_size=9), max_size=25)


def column(sets, cuts):
    """Sets as a chunked column, cut at some places."""
    arrays = [pa.array([sorted(s) for s in sets], pa.list_(pa.uint64()))]
    whole = pa.chunked_array(arrays)
    bounds = sorted({0, len(sets), *(c % (len(sets) + 1) for c in cuts)})
    parts = [whole.slice(a, b - a).chunks for a, b in itertools.pairwise(bounds)]
    return pa.chunked_array([c for part in parts for c in part], pa.list_(pa.uint64()))


@given(
    own=SETS,
    others=SETS,
    similarity=st.sampled_from([0.3, 0.5, 0.8, 1.0]),
    cuts=st.lists(st.integers(0, 50), max_size=3),
)
@settings(max_examples=150)
def test_the_most_similar_other_set_is_found(own, others, similarity, cuts):
    found = jaccard_against.closest_other(column([*own, *others], cuts), len(own), similarity)
    for line, one in enumerate(own):
        best = (-1, None)
        for place, other in enumerate(others):
            union = len(one | other)
            ratio = Fraction(len(one & other), union) if union else Fraction(0)
            if ratio >= Fraction(str(similarity)) and (best[1] is None or ratio > best[1]):
                best = (len(own) + place, ratio)
        assert found.partner[line] == best[0]
        assert (
            np.isnan(found.similarity[line])
            if best[1] is None
            else found.similarity[line] == float(best[1])
        )


@pytest.mark.parametrize("prefilter", [FaissPrefilter(), BFloat16Prefilter()])
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 50),
    more=st.integers(0, 50),
    block=st.sampled_from([1, 7, 1024]),
)
@settings(max_examples=25)
def test_the_closest_other_vector_is_found(prefilter, seed, count, more, block):
    every = UnitVectors.of(clustered(seed, count + more))
    found = closest_other(every, count, 0.85, block=block, prefilter=prefilter)
    others = np.arange(count, count + more)
    for line in range(count):
        cosines = every.cosines(np.full(more, line), others)
        best = -1 if not more or not (cosines >= 0.85).any() else int(np.nanargmax(cosines))
        assert found.partner[line] == (-1 if best < 0 else count + best)
        if best >= 0:
            assert found.similarity[line] == cosines[best]
        else:
            assert np.isnan(found.similarity[line])
