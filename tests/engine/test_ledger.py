"""The numbers of a step."""

import pytest

from curate.engine.ledger import StepTally


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(1, 3), (3, 4)], 3),
        ([(5, 6), (1, 3), (2, 4)], 4),
        ([(1, 9), (2, 3), (4, 5)], 8),
    ],
)
def test_parts_that_a_step_works_on_at_once_count_once(spans, seconds):
    tally = StepTally()
    for span in spans:
        tally.add(StepTally(spans=[span]))
    assert tally.seconds == seconds
    assert tally.to_json("a", "b")["seconds"] == seconds


def test_work_is_noted_from_its_beginning():
    tally = StepTally()
    tally.worked(-1e9)
    assert tally.seconds > 1e9
