"""A judge of known error: the corrected share covers the truth, the reported one does not."""

import math

import numpy as np
import pytest

from curate.evaluate.calibration import Calibration


def test_a_corrected_difference_covers_the_true_one():
    dice = np.random.default_rng(5)
    covered = 0
    for _ in range(1000):
        # Two shares of 400 prompts, judged with sensitivity 0.85 and specificity 0.75.
        said = [dice.binomial(400, p * 0.85 + (1 - p) * 0.25) / 400 for p in (0.6, 0.45)]
        good, bad = dice.binomial(60, 0.85), dice.binomial(60, 0.75)
        error = math.sqrt(sum(p * (1 - p) / 400 for p in said))
        calibration = Calibration(good, 60 - good, bad, 60 - bad)
        effect, wider = calibration.corrected_difference(said[0] - said[1], error)
        assert wider > error
        covered += abs(effect - 0.15) < 1.96 * wider
    assert 930 <= covered <= 975
    nothing, wider = calibration.corrected_difference(0.0, error)
    assert (nothing, wider > 0) == (0, True)
    with pytest.raises(ValueError, match="no better than chance"):
        Calibration(5, 5, 5, 5).corrected_difference(0.1, 0.1)


def test_the_corrected_share_is_rogan_and_gladens():
    calibration = Calibration(90, 10, 160, 40)
    assert calibration.sensitivity.value == 0.9
    assert calibration.specificity.value == 0.8
    found = calibration.corrected(410, 1000)
    # (0.41 + 0.8 - 1) / (0.9 + 0.8 - 1)
    assert found.reported.value == 0.41
    assert found.corrected.value == pytest.approx(0.3)
    assert found.corrected.low < 0.3 < found.corrected.high
    assert calibration.corrected(0, 1000).corrected.value == 0.0
    assert calibration.corrected(1000, 1000).corrected.value == 1.0


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "truth", "labelled", "judged"),
    [(0.9, 0.8, 0.3, 200, 1000), (0.8, 0.7, 0.1, 200, 1000), (0.7, 0.65, 0.3, 300, 2000)],
)
def test_it_covers_the_truth_where_the_reported_share_does_not(
    sensitivity, specificity, truth, labelled, judged
):
    draw = np.random.default_rng(0)
    covered, reported_covers, widths = [], 0, []
    # A judge that errs so often, on good and bad labelled rows, and then on others.
    for _ in range(1000):
        half = labelled // 2
        hits, passes = draw.binomial(half, sensitivity), draw.binomial(half, specificity)
        calibration = Calibration(int(hits), half - int(hits), int(passes), half - int(passes))
        good = draw.binomial(judged, truth)
        called = draw.binomial(good, sensitivity) + draw.binomial(judged - good, 1 - specificity)
        found = calibration.corrected(int(called), judged)
        covered.append(found.corrected.low <= good / judged <= found.corrected.high)
        reported_covers += found.reported.low <= good / judged <= found.reported.high
        widths.append(found.corrected.high - found.corrected.low)
    # One hundred of eight is below 93 where an interval covers exactly 95 %: so the rate is that of
    # 1,000 trials, and most hundreds reach 93.
    hundreds = [sum(covered[start : start + 100]) for start in range(0, 1000, 100)]
    assert 940 <= sum(hundreds) <= 985
    assert sum(count >= 93 for count in hundreds) >= 7
    assert reported_covers == 0
    # An interval that covered everything would say nothing.
    assert sum(widths) / 1000 < 0.4


def test_what_cannot_be_corrected_is_refused():
    with pytest.raises(ValueError, match="one of each"):
        Calibration(3, 1, 0, 0).corrected(1, 2)
    with pytest.raises(ValueError, match="one of each"):
        Calibration(3, 1, 3, 1).corrected(0, 0)
    with pytest.raises(ValueError, match="no better than chance"):
        Calibration(5, 5, 5, 5).corrected(1, 2)
