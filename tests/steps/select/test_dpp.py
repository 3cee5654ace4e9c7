from curate import select
from curate.steps.select.dpp import Dpp
from tests.steps.select.deciding import SCORE, VECTORS, decide, kept


def test_it_keeps_what_the_function_chooses():
    plain, weighed = decide(Dpp(count=5), VECTORS), decide(Dpp(count=5, by="judge"), VECTORS, SCORE)
    assert kept(plain) == sorted(select.dpp(VECTORS, 5).tolist())
    assert kept(weighed) == sorted(select.dpp(VECTORS, 5, quality=SCORE).tolist()) != kept(plain)


def test_it_keeps_no_more_rows_than_there_are_dimensions():
    assert len(kept(decide(Dpp(count=20), VECTORS))) == 6
