"""Style: one feature is the score, the ledger has all."""

import pytest

from curate.kernels.text.style_features import FEATURES
from curate.steps.score.style import Style
from tests.steps.conftest import row_of

LONG = "The cat sat on the mat, and the dog ran after the cat. " * 5
TEXTS = ["", "...", "Sure! Here is **one**.\n- a\n- b", LONG, "# Titel\n\nÄpfel", "Привет, мир"]


@pytest.mark.parametrize("feature", FEATURES)
def test_both_forms_give_the_same_score_and_detail(feature, conversation, scores_of):
    rows = [conversation("q", text) for text in TEXTS]
    scores = scores_of(Style(feature=feature, min_words=20), rows)
    missing = [score is None for score in scores]
    words, few = feature == "words", feature == "mtld"
    other = feature in ("flesch", "function_words")
    assert missing == [not words, not words, few, False, few, few or other]


def test_the_ledger_has_all_features_and_the_opening(conversation):
    found = Style().score(conversation("q", TEXTS[2]))
    assert found.detail["opening"] == "sure here is"
    assert (found.detail["bold"], found.detail["list_items"]) == (0.3333, 0.6667)
    assert "mtld" not in found.detail
    assert set(found.detail) == {*FEATURES, "opening"} - {"mtld"}
    empty = Style().score(conversation("q", ""))
    assert (empty.value, empty.detail) == (None, {"words": 0.0, "opening": ""})


def test_rules_drop_what_is_outside_and_keep_what_has_no_score():
    step = Style(feature="mtld", min=40, max=90)
    assert step.keep(None) is None
    assert step.keep(40) is None
    assert step.keep(39.9) == "mtld below 40"
    assert step.keep(91) == "mtld above 90"


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match=r"min \(2\) is above max \(1\)"):
        Style(min=2, max=1).check()
    with pytest.raises(ValueError, match="min_words is 0"):
        Style(min_words=0).check()


def test_it_reads_the_text_it_is_told_to(scores_of):
    row = row_of("prompt", {"prompt": ()})
    assert scores_of(Style(on="instruction", feature="words"), [row]) == [0.0]
