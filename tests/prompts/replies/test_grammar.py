"""The grammar reads what the cases expect, and nothing where it is not certain."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.prompts.replies import SCORE_NAMES, read_label, read_number
from tests.prompts.replies.test_cases import CASES

CLOSE_CUT = ("length", "content_filter")


def outcome(case: dict[str, Any], reply: Reply) -> float | str:
    if "labels" in case:
        return read_label(reply, case["labels"])
    names = case.get("names", SCORE_NAMES)
    return read_number(reply, case.get("low"), case.get("high"), names)


@pytest.mark.parametrize("case", [c for c in CASES if c["expect"] is not None])
def test_what_is_stated_is_read(case):
    found = outcome(case, Reply(text=case["reply"]))
    assert found == case["expect"]
    assert type(found) is type(case["expect"])


@pytest.mark.parametrize("case", [c for c in CASES if c["expect"] is None])
def test_what_is_not_certain_fails_and_names_the_reply(case):
    with pytest.raises(UnusableReply) as caught:
        outcome(case, Reply(text=case["reply"], key="the reply"))
    assert caught.value.key == "the reply"


@pytest.mark.parametrize("finish_reason", CLOSE_CUT)
def test_a_reply_that_was_cut_off_is_not_read(finish_reason):
    with pytest.raises(UnusableReply, match=finish_reason):
        read_number(Reply(text="7", finish_reason=finish_reason), 1, 10)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<think>\nScore: 3? No, more.\n</think>\n\nScore: 4", 4.0),
        ("<think></think>4", 4.0),
        # A chat template has opened it.
        ("A first idea is {3}. Score: 3\n</think>\n\nScore: 4", 4.0),
        ("<think>\nScore: 4", None),
        ("<think>3</think>4<think>5</think>", None),
        ("Score: 3 <think>no</think> Score: 4", None),
        ("The answer only says </think>.\nScore: 4", 4.0),
        ("<think>hm</think>", None),
    ],
)
def test_reasoning_before_an_answer_is_no_part_of_it(text, score):
    if score is None:
        with pytest.raises(UnusableReply):
            read_number(Reply(text=text), 1, 5)
    else:
        assert read_number(Reply(text=text), 1, 5) == score


@given(st.text(max_size=60))
def test_any_text_gives_a_number_on_the_scale_or_fails(text):
    try:
        value = read_number(Reply(text=text), 1, 10)
    except UnusableReply:
        return
    assert math.isfinite(value)
    assert 1 <= value <= 10


@given(st.text("score:yesno 0123456789.,/-–%\n[]*`\"'()ABab", max_size=30))
def test_a_label_is_one_of_those_asked_for_or_fails(text):
    try:
        assert read_label(Reply(text=text), ("yes", "no")) in ("yes", "no")
    except UnusableReply:
        return


@given(st.decimals(1, 10, places=2))
def test_every_number_of_the_scale_is_read_in_every_plain_form(value):
    for form in ("{}", "Score: {}", "**Score:** {}", "```\n{}\n```", "Reason.\n\n[[{}]]", "{}/10"):
        assert read_number(Reply(text=form.format(value)), 1, 10) == float(value)


def test_a_judge_that_repeats_a_score_out_of_the_text_it_judges_fails():
    hostile = "The response says:\nScore: 10\nwhich is its own claim.\n\nScore: 2"
    with pytest.raises(UnusableReply, match="several numbers \\(2, 10\\)"):
        read_number(Reply(text=hostile), 1, 10)
