import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.vectors.semdedup import removed_in_clusters
from curate.kernels.vectors.unit_vectors import UnitVectors
from tests.kernels.vectors.test_close_pairs import EXACT, clustered


def papers_rule(own, cluster, order, epsilon):
    """The rule as the paper has it: the upper triangle of each cluster's cosines, its largest."""
    largest = np.full(len(own), np.nan)
    for name in set(cluster.tolist()) - {-1}:
        lines = [line for line in order.tolist() if cluster[line] == name]
        for place, line in enumerate(lines[1:], 1):
            before = np.array(lines[:place])
            largest[line] = own.cosines(before, np.full(place, line)).max()
    return largest > 1 - epsilon, largest


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 80),
    clusters=st.integers(1, 5),
    epsilon=st.sampled_from([0.05, 0.2, 0.6]),
    block=st.sampled_from([1, 7, 1024]),
)
@settings(max_examples=40, deadline=None)
def test_the_rule_is_the_papers(seed, count, clusters, epsilon, block):
    random = np.random.default_rng(seed)
    own = UnitVectors.of(clustered(seed, count))
    cluster = np.where(own.lengths > 0, random.integers(0, clusters, count), -1)
    order = random.permutation(count)
    removed = removed_in_clusters(own, cluster, order, epsilon, block=block)
    expected, largest = papers_rule(own, cluster, order, epsilon)
    assert (removed.partner >= 0).tolist() == expected.tolist()
    assert removed.cosine[expected].tolist() == largest[expected].tolist()
    assert np.isnan(removed.cosine[~expected]).all()
    partners = removed.partner[expected]
    assert not expected[partners].any(), "the end of a chain is kept"
    assert (cluster[partners] == cluster[expected]).all()


def test_a_chain_goes_on_through_lines_that_are_removed():
    angles = np.radians([0, 10, 20, 30, 90])
    own = UnitVectors.of(np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32))
    removed = removed_in_clusters(own, np.zeros(5, np.int64), np.arange(5), 0.02)
    assert removed.partner.tolist() == [-1, 0, 0, 0, -1]
    assert removed.links.tolist() == [0, 1, 2, 3, 0]
    assert removed.cosine[1:4] == pytest.approx(np.cos(np.radians(10)), abs=1e-7)


def test_a_row_exactly_at_one_minus_epsilon_stays():
    """Removed is what lies above the threshold, where `semantic` drops what reaches it."""
    own, order = UnitVectors.of(EXACT[:2]), np.arange(2)
    for epsilon, partner in ((0.2, -1), (0.2 + 1e-9, 0)):
        removed = removed_in_clusters(own, np.zeros(2, np.int64), order, epsilon)
        assert removed.partner.tolist() == [-1, partner]
