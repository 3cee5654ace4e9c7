"""Distance from the usual style, against a computation by hand."""

import math
import statistics

import numpy as np
import pytest

from curate.kernels.text.style_features import FEATURES, style_counts, style_features
from curate.steps.score.style_distance import StyleDistance

TEXTS = [
    "The cat sat on the mat. It was warm.",
    "The dog ran to the park. It was wet.",
    "The bird sang in the tree. It was loud.",
    "WOW!!! Amazing: 1, 2, 3!!! Incomprehensibilities notwithstanding!!!",
    "",
]


def features_of(text: str) -> dict[str, float]:
    row = style_features(np.array([style_counts(text)]), 50)[0].tolist()
    named = dict(zip(FEATURES, row, strict=True))
    return {n: v for n, v in named.items() if n not in ("words", "mtld") and not math.isnan(v)}


def test_the_score_is_that_computed_by_hand(conversation, decide):
    rows = [conversation("Say.", text) for text in TEXTS]
    verdicts = decide(StyleDistance(share=0.6), rows)
    found = [features_of(text) for text in TEXTS]
    names = {name for one in found for name in one}
    by_hand = []
    for one in found:
        parts = []
        for name in sorted(set(one) & names):
            values = [other[name] for other in found if name in other]
            middle = statistics.median(values)
            spread = math.sqrt(statistics.fmean((v - middle) ** 2 for v in values))
            parts.append(((one[name] - middle) / spread) ** 2 if spread else 0.0)
        by_hand.append(math.sqrt(statistics.fmean(parts)) if parts else math.nan)
    assert verdicts.score.tolist() == pytest.approx(by_hand, abs=1e-9, nan_ok=True)
    # The odd one out and the empty one go.
    assert np.flatnonzero(np.asarray(verdicts.code) < 0).tolist() == [0, 1, 2]


def test_an_empty_text_has_no_score_and_comes_last(conversation, decide):
    rows = [conversation("Say.", text) for text in ("", "The cat sat.", "The dog ran.")]
    verdicts = decide(StyleDistance(count=2), rows)
    assert verdicts.code.tolist() == [0, -1, -1]


def test_without_a_rule_nothing_is_dropped(conversation, decide):
    rows = [conversation("Say.", text) for text in TEXTS]
    assert set(decide(StyleDistance(), rows).code.tolist()) == {-1}
    with pytest.raises(ValueError, match="not both"):
        StyleDistance(count=1, share=0.5).check()
