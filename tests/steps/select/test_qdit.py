import pytest

from curate import select
from curate.steps.select.qdit import Qdit
from tests.steps.select.deciding import SCORE, VECTORS, around, decide, kept


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
