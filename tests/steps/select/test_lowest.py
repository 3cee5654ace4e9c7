"""Where the lowest score is best, a step chooses what it would choose of the negated scores."""

import pytest

from curate.steps.select.balance import Balance
from curate.steps.select.car import Car
from curate.steps.select.cluster import Cluster
from curate.steps.select.qdit import Qdit
from curate.steps.select.repr_filter import ReprFilter
from curate.steps.select.top import Top
from tests.steps.conftest import sft
from tests.steps.select.deciding import SCORE, VECTORS
from tests.steps.select.deciding import decide as decide_on_vectors

SCORES = [None if n % 9 == 4 else score for n, score in enumerate(SCORE)]
NEGATED = [None if score is None else -score for score in SCORES]


@pytest.mark.parametrize(
    "fields",
    [
        (Car, {"count": 7}), (Cluster, {"count": 9, "clusters": 4}), (ReprFilter, {"count": 8}),
        (Qdit, {"count": 9}),
    ],
)  # fmt: skip
def test_lowest_over_vectors_is_highest_of_the_negated(fields):
    cls, values = fields
    lowest = decide_on_vectors(cls(by="judge", lowest=True, **values), VECTORS, SCORES)
    highest = decide_on_vectors(cls(by="judge", **values), VECTORS, NEGATED)
    plain = decide_on_vectors(cls(by="judge", **values), VECTORS, SCORES)
    assert lowest.code.tolist() == highest.code.tolist()
    assert repr(lowest.score.tolist()) == repr(highest.score.tolist())
    assert lowest.code.tolist() != plain.code.tolist()


@pytest.mark.parametrize("fields", [(Top, {"count": 3}), (Balance, {"per": "source", "cap": 3})])
def test_lowest_of_each_group_is_highest_of_the_negated(fields, decide):
    cls, values = fields

    def kept(step, scores):
        rows = [
            sft(f"q{n}?", "a")._replace(source="ab"[n % 2], scores={"judge": score})
            for n, score in enumerate(scores)
        ]
        return decide(step, rows).code.tolist()

    lowest = kept(cls(by="judge", lowest=True, **values), SCORES)
    assert lowest == kept(cls(by="judge", **values), NEGATED)
    assert lowest != kept(cls(by="judge", **values), SCORES)


@pytest.mark.parametrize("step", [Cluster(lowest=True), Balance(per="source", lowest=True)])
def test_lowest_without_a_score_is_refused(step):
    with pytest.raises(ValueError, match="by must name the step"):
        step.check()


def test_a_missing_score_is_the_worst_either_way():
    scores = [1.0, None, 3.0]
    for lowest, kept in ((False, [0, 2]), (True, [0, 2])):
        verdicts = decide_on_vectors(
            Car(by="judge", count=2, per_cluster=0, lowest=lowest), VECTORS[:3], scores
        )
        assert [n for n, code in enumerate(verdicts.code.tolist()) if code < 0] == kept
