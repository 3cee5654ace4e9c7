"""Pairs of about one length: the gap in words, and what the report says before and after."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.words import words
from curate.row import Message
from curate.steps.pairs.length_gap import LengthGap
from curate.steps.pairs.pairs import Pairs
from tests.models import tiny
from tests.steps.conftest import both_decisions, row_of


def pair(chosen, rejected):
    sides = {"chosen": chosen, "rejected": rejected}
    fields = {name: (Message("assistant", text),) for name, text in sides.items()}
    prompt = (Message("user", "Why?"),)
    return row_of("preference", {"prompt": prompt, **fields, "margin": None, "p_chosen": None})


TEXTS = st.lists(
    st.tuples(st.text("ab 好\n", max_size=9), st.text("ab 好\n", max_size=9)), max_size=9
)


@given(TEXTS, st.one_of(st.none(), st.integers(0, 6)))
def test_pairs_further_apart_than_the_limit_are_dropped(texts, within):
    step = LengthGap(within=within)
    verdicts = both_decisions(step, [pair(*one) for one in texts])
    gaps = [len(words(chosen)) - len(words(rejected)) for chosen, rejected in texts]
    assert verdicts.score.tolist() == gaps
    kept = [gap for gap in gaps if within is None or abs(gap) <= within]
    assert [gap for gap, code in zip(gaps, verdicts.code, strict=True) if code < 0] == kept
    for when, own in (("before", gaps), ("after", kept)):
        assert verdicts.figures[f"pairs {when}"] == len(own)
        if own:
            longer = sum((gap > 0) + (gap == 0) / 2 for gap in own) / len(own)
            assert verdicts.figures[f"length gap {when}, words"] == pytest.approx(np.mean(own))
            assert verdicts.figures[f"chosen longer {when}"] == pytest.approx(longer)


def test_a_limit_that_is_none_is_refused():
    with pytest.raises(ValueError, match="within is -1"):
        LengthGap(within=-1).check()


def test_lengths_can_be_tokens(tmp_path):
    tiny.byte_tokenizer().save_pretrained(tmp_path)
    step = LengthGap(within=2, tokenizer=str(tmp_path))
    step.prepare()
    # Its tokens are bytes: two words are five of them, and two characters six.
    verdicts = both_decisions(step, [pair("ab ab", "abc"), pair("好好", "abc")])
    assert verdicts.score.tolist() == [2, 3]
    assert verdicts.code.tolist() == [-1, 0]
    assert verdicts.reasons == ("the lengths differ by more than 2 tokens",)
    assert verdicts.figures["length gap before, tokens"] == 2.5


@pytest.mark.parametrize("step", [LengthGap, Pairs])
def test_a_tokenizer_that_is_none_is_refused_before_the_run(step, tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded; it must be a folder"):
        step(tokenizer=str(tmp_path / "gone")).prepare()
