"""Replies as steps receive them, and the keys under which they are kept."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Likelihood, Reply, Request, Reward, TurnLikelihood, request_key
from curate.errors import UnusableReply
from curate.requests.session import RowTask
from curate.row import Message
from tests.engine.asking import Answering, driver

# -- whole replies --------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["stop", "refusal", "tool_calls", "eos"])
def test_a_finished_reply_is_whole(reason: str) -> None:
    assert Reply(text="yes", finish_reason=reason).whole() == "yes"


@pytest.mark.parametrize(
    ("reason", "words"), [("length", "raise max_tokens"), ("content_filter", "change the prompt")]
)
def test_a_reply_that_was_cut_off_says_what_to_do(reason: str, words: str) -> None:
    reply = Reply(text="half a", finish_reason=reason, output_tokens=16, key="ab" * 16)
    with pytest.raises(UnusableReply, match=rf"finish_reason={reason}, 16 tokens.*{words}") as told:
        reply.whole()
    assert told.value.key == reply.key


def needing(text: str) -> RowTask:
    """A job whose step needs the whole reply."""

    def start() -> Any:
        reply = yield Ask.text(text, max_tokens=16)
        return reply.whole()

    return RowTask(start, salt=text)


def test_a_cut_off_reply_fails_its_row_is_kept_and_is_asked_again_on_demand(tmp_path: Path) -> None:
    cut = Reply(text="half a", finish_reason="length", output_tokens=16)
    model = Answering(lambda text: cut if text == "long" else "whole")
    for _ in range(2):  # The second run replays both.
        with driver(tmp_path, model) as opened:
            failed, fine = opened.run([needing("long"), needing("short")])
            assert isinstance(failed.error, UnusableReply) and fine.value == "whole"
            (key,) = failed.keys
            assert opened.store.get_many([key])[key].reply.text == "half a"
    assert sorted(model.sent) == ["long", "short"]
    mended = Answering(lambda text: "whole at last")
    with driver(tmp_path, mended, retry_failed=True) as opened:
        outcomes = opened.run([needing("long"), needing("short")])
    assert [outcome.value for outcome in outcomes] == ["whole at last", "whole"]
    assert mended.sent == ["long"]


# -- choices --------------------------------------------------------------------------------------


def test_chances_are_shares_of_what_the_options_hold() -> None:
    reply = Reply(values=(math.log(0.3), math.log(0.1), -math.inf), mass=0.4)
    assert reply.chances(["a", "b", "c"]) == pytest.approx([0.75, 0.25, 0.0])
    assert reply.chosen(["a", "b", "c"]) == 0
    # Far below what a float holds as a probability.
    assert Reply(values=(-2000.0, -2000.0)).chances(["a", "b"]) == [0.5, 0.5]
    assert Reply(text=" b ").chances(["a", "b"]) == [0.0, 1.0]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(values=(-math.inf, -math.inf), mass=0.0),
        # As a server's list that holds neither gives them: both have the least value of the list.
        Reply(text="a", values=(-9.0, -9.0), mass=0.0, floored=(0, 1)),
        Reply(text="perhaps"),
    ],
)
def test_a_choice_of_which_no_option_is_likely_is_none(reply: Reply) -> None:
    for read in (reply.chosen, reply.chances):
        with pytest.raises(UnusableReply, match="options a, b"):
            read(["a", "b"])


# -- keys -----------------------------------------------------------------------------------------

PLAIN = Ask.text("hello")
OTHER: dict[str, Any] = {
    "sample": 1,
    "messages": (Message("user", "hello!"),),
    "prompt": "hello",
    "system": "Be kind.",
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 5,
    "stop": ("x",),
    "seed": 1,
    "schema": {"type": "object"},
    "logprobs": 1,
    "turn": "user",
    "prefill": "Sure",
    "stop_tokens": ("<end>",),
    "top_k": 5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
}


def test_each_field_that_decides_a_reply_changes_the_key() -> None:
    aside = {"model", "share", "example", "longest_reply"}
    fields = {field.name for field in dataclasses.fields(Ask)} - aside
    assert set(OTHER) == fields, "add the new field to OTHER"
    keys = [request_key(PLAIN, "id", "")]
    keys += [request_key(dataclasses.replace(PLAIN, **{n: v}), "id", "") for n, v in OTHER.items()]
    keys += [request_key(PLAIN, "other id", ""), request_key(PLAIN, "id", "salt")]
    assert len(set(keys)) == len(keys)
    others = dataclasses.replace(PLAIN, model="m", example="e", longest_reply=9)
    assert request_key(others, "id", "") == keys[0]


def test_what_a_template_is_given_changes_the_key_and_its_absence_does_not() -> None:
    turns, tools = (Message("user", "hello"),), {"tools": [{"name": "add"}]}
    asked: list[Request] = [
        Reward(messages=turns),
        Reward(messages=turns, template_options=tools),
        TurnLikelihood(messages=turns),
        TurnLikelihood(messages=turns, first=1),
        TurnLikelihood(messages=turns, template_options=tools),
        Likelihood(messages=turns, answer=""),
    ]
    keys = [request_key(one, "id", "") for one in asked]
    assert len(set(keys)) == len(keys)
    # The key under which stores hold rewards that were asked for before there were options.
    assert keys[0] == "fe6341b94653126cc2d0f0bb372ed91d"
