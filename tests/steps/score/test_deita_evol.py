"""DEITA's evol score: the sum of products, paid once."""

import pytest

from curate.steps.score.deita_complexity import DeitaComplexity
from curate.steps.score.deita_evol import DeitaEvol
from curate.steps.score.deita_quality import DeitaQuality
from tests.steps.score.deita_replies import EVEN, HALF, SKEWED, answered


def test_the_evol_score_is_the_sum_of_products_over_exchanges(conversation):
    row = conversation("A?", "B.", "C?", "D.")
    step = DeitaEvol(model="m", quality_model="q")
    found, asked = answered(step, row, EVEN, SKEWED, HALF, EVEN)
    assert found.value == pytest.approx(3.5 * 4.65 + 3.1 * 3.5, abs=1e-12)
    assert [one.model for one in asked] == ["m", "m", "q", "q"]
    # The requests are those of the two scorers, which are then not paid twice.
    assert asked[:2] == answered(DeitaComplexity(model="m"), row, EVEN, EVEN)[1]
    assert asked[2:] == answered(DeitaQuality(model="q"), row, EVEN, EVEN)[1]
    assert step.reads_models() == ("m", "q")
