import numpy as np

from curate import select
from curate.steps.select.k_center import KCenter
from tests.steps.select.deciding import VECTORS, decide, kept


def test_it_keeps_what_the_function_chooses_in_its_order():
    verdicts, chosen = decide(KCenter(count=7), VECTORS), select.k_center(VECTORS, 7).tolist()
    assert kept(verdicts) == sorted(chosen)
    assert [verdicts.details[row] for row in chosen] == [{"place": n + 1} for n in range(7)]


def test_every_dropped_row_is_within_the_radius_of_the_row_it_names():
    verdicts = decide(KCenter(share=0.2), VECTORS)
    assert len(kept(verdicts)) == 8
    dropped = verdicts.code >= 0
    farthest = np.sqrt(2 - 2 * verdicts.score[dropped].min())
    assert farthest == select.radius(VECTORS, kept(verdicts))
