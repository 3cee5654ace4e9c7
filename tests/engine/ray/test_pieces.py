"""What asks models stays where the run is; everything that costs work on rows goes to nodes."""

from __future__ import annotations

import pytest

from curate.engine.ray.on_ray import pieces_of
from curate.engine.segment import Segment
from curate.steps import Exact, Length, Semantic
from tests.engine.contract_steps import Couples, Fragile, Judge, Many, Modulo, Novel

ONE, TWO, ASKS = Length(min=1), Fragile(), Judge()
# As a run has it: with the encoder that nobody named filled in.
SEES = Semantic(encoder="minilm")


@pytest.mark.parametrize(
    ("steps", "cut", "want"),
    [
        ((), None, [((), None, True)]),
        ((), Novel(target=3), [((), Novel(target=3), True)]),
        ((), Exact(), [((), Exact(), False)]),
        ((ONE, TWO), None, [((ONE, TWO), None, False)]),
        ((ONE, TWO), Exact(), [((ONE, TWO), Exact(), False)]),
        ((ONE,), SEES, [((ONE,), None, False), ((), SEES, True)]),
        ((ASKS,), Modulo(), [((ASKS,), None, True), ((), Modulo(), False)]),
        ((ASKS,), SEES, [((ASKS,), SEES, True)]),
        ((ASKS,), Couples(), [((ASKS,), None, True), ((), Couples(), False)]),
        (
            (ONE, ASKS, TWO, Many()),
            None,
            [((ONE,), None, False), ((ASKS,), None, True), ((TWO, Many()), None, False)],
        ),
    ],
)
def test_pieces(steps: tuple, cut: object, want: list) -> None:
    found = pieces_of(Segment(steps, cut))
    assert [(p.segment.steps, p.segment.cut, p.here) for p in found] == want
