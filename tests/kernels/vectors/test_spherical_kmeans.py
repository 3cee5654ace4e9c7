import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.vectors import spherical_kmeans as spherical
from curate.kernels.vectors.spherical_kmeans import closest_centres
from curate.kernels.vectors.unit_vectors import UnitVectors
from tests.kernels.vectors.test_close_pairs import clustered


@given(seed=st.integers(0, 2**32), most=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_the_closest_centres_are_the_definition(seed, most):
    own, centres = UnitVectors.of(clustered(seed, 60)), UnitVectors.of(clustered(seed + 1, 9))
    lines = own.distinct()
    got = closest_centres(own, lines, centres, most)
    for line, found in zip(lines, got, strict=True):
        dots = own.vectors[line].astype(float) @ centres.vectors.T.astype(float)
        with np.errstate(invalid="ignore"):
            cosines = np.where(centres.lengths > 0, dots / centres.lengths, -np.inf)
        order = sorted(range(9), key=lambda k: (-cosines[k], k))[:most]
        assert np.allclose(cosines[found], cosines[order], atol=1e-12)


def test_blocks_move_no_centre(monkeypatch):
    own = UnitVectors.of(clustered(3, 500))
    lines = own.distinct()
    one = spherical.spherical_means(own, lines, 20, rounds=6)
    monkeypatch.setattr(spherical, "_BLOCK", 7)
    other = spherical.spherical_means(own, lines, 20, rounds=6)
    assert np.array_equal(one.vectors, other.vectors)
