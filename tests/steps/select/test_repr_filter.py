import math

import pytest

from curate.steps.select.repr_filter import ReprFilter
from tests.steps.select.deciding import around, decide, kept


def test_repr_filter_keeps_the_better_of_two_close_rows_up_to_a_count():
    vectors = [*around(0, 5, 90, 180, 270), [0, 0]]
    scores = [1, 2, 3, 4, None, 9]
    verdicts = decide(ReprFilter(by="judge"), vectors, scores)
    assert kept(verdicts) == [1, 2, 3, 4]
    assert (verdicts.code[0], verdicts.partner[0], verdicts.code[5]) == (0, 1, 2)
    assert verdicts.score[0] == pytest.approx(math.cos(math.radians(5)), abs=1e-6)
    verdicts = decide(ReprFilter(by="judge", count=2), vectors, scores)
    assert kept(verdicts) == [2, 3]
    assert [verdicts.reasons[code] for code in verdicts.code[[0, 1, 4]]] == [
        "not among the 2 rows chosen"
    ] * 3
    assert verdicts.partner.tolist() == [-1] * 6
