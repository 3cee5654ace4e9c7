"""CaR: the best of all, and the best of each of floor(sqrt(n / 2)) clusters."""

import numpy as np
import pytest

from curate import select
from curate.steps.select.car import Car
from tests.steps.select.deciding import SCORE, VECTORS, decide, kept


@pytest.mark.parametrize(("count", "per_cluster"), [(10, 1), (0, 1), (5, 0), (10, 2), (40, 1)])
def test_it_is_the_union_of_both_definitions(count, per_cluster):
    verdicts = decide(Car(by="judge", count=count, per_cluster=per_cluster), VECTORS, SCORE)
    of, _ = select.clusters(VECTORS, 4)  # floor(sqrt(40 / 2))
    ranked = sorted(range(40), key=lambda row: -SCORE[row])
    best = set(ranked[:count])
    groups = {c: [row for row in ranked if of[row] == c][:per_cluster] for c in set(of.tolist())}
    leading = {row for rows in groups.values() for row in rows}
    assert set(kept(verdicts)) == best | leading
    assert verdicts.figures["for their cluster alone"] == len(leading - best)
    for row in kept(verdicts):
        assert verdicts.details[row]["by_cluster"] is (row in leading - best)
    for row in np.flatnonzero(verdicts.code >= 0).tolist():
        assert verdicts.code[verdicts.partner[row]] < 0


def test_the_number_of_clusters_is_that_of_the_paper():
    # 52,002 rows of Alpaca make 161 clusters.
    assert decide(Car(by="judge", count=0), VECTORS, SCORE).figures["clusters"] == 4
    assert int((52_002 / 2) ** 0.5) == 161
    other = decide(Car(by="judge", count=0, clusters=7), VECTORS, SCORE)
    assert len(kept(other)) == other.figures["clusters"] == 7


def test_a_row_without_a_text_is_in_no_cluster():
    vectors = [[0, 0], [1, 0], [0, 1]]
    verdicts = decide(Car(by="judge", count=0, clusters=2), vectors, [9, 1, 1])
    assert kept(verdicts) == [1, 2]
    assert verdicts.reasons[verdicts.code[0]] == "no text to compare"
    assert kept(decide(Car(by="judge", count=1, clusters=2), vectors, [9, 1, 1])) == [0, 1, 2]
