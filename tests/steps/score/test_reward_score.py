"""Rewards of conversations, and of pairs the difference."""

import json

import pytest

from curate.ask import Reply
from curate.row import Message
from curate.steps.score.reward_score import RewardScore
from tests.steps.score.weighing import scored

PROMPT = (Message("user", "Why?"),)
GOOD, BAD = (Message("assistant", "Because."),), (Message("assistant", "No."),)


def pair(make_row, rejected=BAD):
    fields = {"prompt": PROMPT, "chosen": GOOD, "rejected": rejected}
    return make_row("preference", {**fields, "margin": None, "p_chosen": None})


def test_a_conversation_has_one_reward(conversation):
    found, (asked,) = scored(
        RewardScore(model="m"), conversation("Why?", "Because."), Reply(values=(1.5,))
    )
    assert asked.messages == (*PROMPT, *GOOD)
    assert found.value == 1.5


def test_the_template_is_given_what_the_row_has_for_it(make_row):
    step, tools = RewardScore(model="m"), [{"name": "add"}]
    columns = {"tools": json.dumps(tools), "chat_template_kwargs": {"x": 1}, "topic": "sums"}
    row = pair(make_row)._replace(extra=json.dumps(columns))
    _, (asked,) = scored(step, row, [Reply(values=(1.0,)), Reply(values=(3.0,))])
    assert [one.template_options for one in asked] == [{"x": 1, "tools": tools}] * 2
    alone = make_row("sft", {"messages": (*PROMPT, *GOOD)})._replace(extra=json.dumps(columns))
    _, (asked,) = scored(step, alone, Reply(values=(1.0,)))
    assert asked.template_options == {"x": 1, "tools": tools}
    broken = alone._replace(extra='{"tools": "[{"}')
    with pytest.raises(ValueError, match="its columns tools and chat_template_kwargs cannot be"):
        scored(step, broken)


def test_a_pair_has_the_difference(make_row):
    replies = [Reply(values=(1.0,)), Reply(values=(3.0,))]
    found, (asked,) = scored(RewardScore(model="m"), pair(make_row), replies)
    assert [one.messages for one in asked] == [(*PROMPT, *GOOD), (*PROMPT, *BAD)]
    assert (found.value, found.detail) == (-2.0, {"chosen": 1.0, "rejected": 3.0})


def test_an_image_is_not_passed_over(make_row):
    seen = (Message("assistant", "", '{"images": ["a.png"]}'),)
    with pytest.raises(ValueError, match="the rejected answer has tool calls or media"):
        scored(RewardScore(model="m"), pair(make_row, seen))


def test_rules():
    step = RewardScore(model="m", at_least=0.5)
    assert (step.keep(None), step.keep(0.5)) == (None, None)
    assert step.keep(0.4) == "reward below 0.5"
