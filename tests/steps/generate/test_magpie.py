"""MAGPIE: turns of nothing, each failed or dropped by itself, by name and with its reply kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Ask, Reply, Request, Reward
from curate.errors import RecipeError
from curate.row import Message, Row
from curate.step import Drop, Failed, Made
from curate.steps.generate.magpie import (
    BOTH_SIDES,
    CONTROL,
    LOOPS,
    MARKS,
    REFUSES,
    Magpie,
    broken_rule,
)
from tests.models.chaos import Answer, Received, Server, as_json

Script = Callable[[Request], Reply | str]
QUESTION, ANSWER = "What is rust?", "Iron oxide."


def driven(step: Magpie, row: Row, script: Script) -> tuple[list[Any], list[Request]]:
    """Return what `step` makes of `row` when `script` answers, and all that it asked."""
    asking, asked, replies = step.make(row), [], None
    while True:
        try:
            wanted: Sequence[Request] = asking.send(replies)
        except StopIteration as end:
            return end.value, asked
        asked += wanted
        told = [script(request) for request in wanted]
        replies = [Reply(text=one) if isinstance(one, str) else one for one in told]


def writes(request: Request) -> str:
    assert isinstance(request, Ask)
    return QUESTION if request.turn == "user" else ANSWER


@pytest.fixture
def blank(make_row: Any) -> Row:
    row: Row = make_row("prompt", {"prompt": ()})
    return row


def turns_of(product: Any) -> list[tuple[str, str]]:
    record = product if not isinstance(product, Made | Drop | Failed) else product.record
    (turns,) = record.fields.values()
    return [(turn.role, turn.content) for turn in turns]


def test_a_blank_row_becomes_a_conversation(blank: Row) -> None:
    made, (user, answer) = driven(Magpie(model="m", max_tokens=64), blank, writes)
    assert turns_of(made[0]) == [("user", QUESTION), ("assistant", ANSWER)]
    assert made[0].record.kind == "sft" and made[0].detail["exchanges"] == 1
    # The paper's sampling: temperature 1 and top-p 1 for the user, greedy for the answer.
    assert user == Ask(
        model="m", turn="user", temperature=1.0, top_p=1.0, max_tokens=64, system=None
    )
    assert answer == Ask(
        model="m", messages=(Message("user", QUESTION),), temperature=0.0, max_tokens=64
    )


def test_several_turns_have_a_system_prompt_for_the_users_only(blank: Row) -> None:
    step = Magpie(model="m", responder="r", turns=3)
    made, asked = driven(step, blank, writes)
    assert len(turns_of(made[0])) == 6 and made[0].detail["exchanges"] == 3
    assert [(one.turn, one.model, len(one.messages)) for one in asked] == [  # type: ignore[attr-defined]
        ("user", "m", 0),
        ("assistant", "r", 1),
        ("user", "m", 2),
        ("assistant", "r", 3),
        ("user", "m", 4),
        ("assistant", "r", 5),
    ]
    systems = [one.system for one in asked]  # type: ignore[attr-defined]
    assert systems[0] is None and systems[1::2] == [None] * 3
    assert "several turns" in systems[2] and systems[2] == systems[4]
    own = driven(Magpie(model="m", turns=2, system="You know chess."), blank, writes)[1]
    assert [one.system for one in own[::2]] == ["You know chess."] * 2  # type: ignore[attr-defined]


def test_a_conversation_is_gone_on_with(conversation: Any, make_row: Any) -> None:
    made, asked = driven(
        Magpie(model="m", system="Be brief."), conversation("Hi", "Hello", system="Own."), writes
    )
    assert turns_of(made[0])[-2:] == [("user", QUESTION), ("assistant", ANSWER)]
    assert len(turns_of(made[0])) == 5
    assert asked[0].system is None, "a row's own system prompt stands"  # type: ignore[attr-defined]
    open_ = make_row("prompt", {"prompt": (Message("user", "Why?"),)})
    made, asked = driven(Magpie(model="m"), open_, writes)
    assert [role for role, _ in turns_of(made[0])] == ["user", "assistant"] * 2
    assert [one.turn for one in asked] == ["assistant", "user", "assistant"]  # type: ignore[attr-defined]


def test_a_seed_fills_the_system_prompt_and_is_no_part_of_the_row(make_row: Any) -> None:
    row = make_row("prompt", {"prompt": (Message("user", "bird migration"),)})
    made, asked = driven(Magpie(model="m", prompt="magpie_topic", to="prompt"), row, writes)
    assert turns_of(made[0]) == [("user", QUESTION)] and made[0].record.kind == "prompt"
    assert len(asked) == 1 and "bird migration" in asked[0].system  # type: ignore[attr-defined]
    assert asked[0].messages == ()  # type: ignore[attr-defined]


BAD = {
    BOTH_SIDES: "What is rust?\nassistant\n\nIron oxide.",
    MARKS: "What is rust?<|im_end|>",
    CONTROL: "What is \x1b[31mrust\x1b[0m?",
    LOOPS: "rust " * 10_000,
    REFUSES: "I'm sorry, but I cannot assist with that request.",
}


@pytest.mark.parametrize(("rule", "text"), BAD.items())
def test_a_users_turn_that_breaks_a_rule_is_dropped_by_its_name(
    blank: Row, rule: str, text: str
) -> None:
    made, asked = driven(Magpie(model="m"), blank, lambda request: text)
    (drop,) = made
    assert isinstance(drop, Drop) and drop.reason == rule
    assert turns_of(drop) == [("user", text.strip())], "what was written is in dropped/"
    assert len(asked) == 1, "no answer to it is paid for"


@pytest.mark.parametrize(
    "text",
    [
        "Write a dialogue.\nUser: Hi\nAssistant: Hello",
        "```python\nfor n in range(9):\n    print(n)\n```\nWhat does it print?",
        "Sort: 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3",
        "Make a table:\n| a | b |\n|---|---|\n| 1 | 2 |",
        "你好，请介绍一下你自己。",
    ],
)
def test_turns_that_a_user_could_write_pass(text: str) -> None:
    assert broken_rule(text, "user") is None


def test_no_white_space_is_needed_to_see_a_loop() -> None:
    assert broken_rule("ha" * 5_000, "assistant") == LOOPS
    assert broken_rule("不好" * 60, "user") == LOOPS


def test_one_cut_turn_fails_alone_and_keeps_its_reply(blank: Row) -> None:
    cut = Reply(text="What is the", finish_reason="length", output_tokens=64, key="k" * 32)

    def script(request: Request) -> Reply | str:
        assert isinstance(request, Ask)
        if request.turn == "user" and request.sample == 1:
            return cut
        return "" if request.turn == "assistant" and request.sample == 2 else writes(request)

    made, asked = driven(Magpie(model="m", samples=4), blank, script)
    assert [type(one) for one in made] == [Made, Failed, Failed, Made]
    assert made[1].reply is cut and "cut off at max_tokens" in str(made[1].error)
    assert turns_of(made[1]) == [("user", "What is the")]
    assert "the answer is empty" in str(made[2].error)
    assert len(asked) == 4 + 3


def test_exchanges_before_a_bad_turn_stay(blank: Row) -> None:
    def script(request: Request) -> str:
        assert isinstance(request, Ask)
        return BAD[MARKS] if len(request.messages) == 3 and not request.system else writes(request)

    made, _ = driven(Magpie(model="m", turns=3), blank, script)
    assert turns_of(made[0]) == [("user", QUESTION), ("assistant", ANSWER)]
    assert (made[1].reason, made[1].detail) == (MARKS, {"turn": 4, "side": "assistant"})
    assert len(turns_of(made[1])) == 4


def test_the_reward_and_its_difference_to_a_base_model(blank: Row) -> None:
    def script(request: Request) -> Reply | str:
        if isinstance(request, Reward):
            return Reply(values=(float(len(request.messages[-1].content)),))
        assert isinstance(request, Ask)
        if request.model == "base":
            assert request.prompt is not None and request.prompt.endswith(
                f"# Query:\n{QUESTION}\n\n# Answer:"
            )
            return " Rust?\n" if request.sample == 0 else ""
        return writes(request)

    step = Magpie(model="m", scorer="s", base="base", samples=2)
    assert step.reads_models() == ("m", "s", "base")
    (made, failed), asked = driven(step, blank, script)
    assert made.score == made.detail["reward"] == 11.0
    assert (made.detail["base_reward"], made.detail["reward_difference"]) == (5.0, 6.0)
    assert isinstance(failed, Failed) and "base model is empty" in str(failed.error)
    assert sum(isinstance(request, Reward) for request in asked) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "model must name one"),
        ({"temperature": 0.0}, "every row would begin alike"),
        ({"turns": 0}, "turns is 0"),
        ({"system": "s", "prompt": "magpie_topic"}, "give one of them"),
        ({"base": "b"}, "base needs a scorer"),
        ({"scorer": "s", "to": "prompt"}, "leaves out the last one"),
    ],
)
def test_a_step_that_cannot_work_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Magpie(**{"model": "m", **fields} if fields else {}).check()
    with pytest.raises(ValueError, match="takes"):
        Magpie(model="m", prompt="evolve").prepare()


def pipeline(model: Any, count: int = 6, **fields: Any) -> Pipeline:
    return Pipeline(
        [Magpie(model="m", max_tokens=32, **fields)],
        inputs={"nothing": {"count": count}},
        models={"m": model},
        seed=1,
    )


def test_a_run_of_blank_rows_counts_made_dropped_and_failed(tmp_path: Path) -> None:
    lines = [
        {"when": {"messages": []}, "sample": 0, "reply": QUESTION},
        {"when": {"messages": []}, "sample": 1, "reply": BAD[BOTH_SIDES]},
        {"when": {"messages": []}, "sample": 2, "reply": "Cut", "finish_reason": "length"},
        {"when": {}, "reply": ANSWER},
    ]
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = pipeline(f"scripted:{path}", samples=3).run(
        run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0
    )
    counts = result.summary
    assert (counts["in"], counts["made"], counts["used"]) == (6, 18, 6)
    assert (counts["kept"], counts["dropped"], counts["failed"]) == (6, 6, 6)
    assert counts["in"] + counts["made"] == sum(
        counts[name] for name in ("kept", "used", "dropped", "failed")
    )
    (step,) = counts["steps"]
    assert step["reasons"] == {BOTH_SIDES: 6}
    # The run of the same command asks nothing again.
    again = pipeline(f"scripted:{path}", samples=3).run(
        run=tmp_path / "again", store=tmp_path / "store", allow_failed=1.0
    )
    assert again.summary["requests"]["sent"] == 0
    assert [row.id for row in again.kept] == [row.id for row in result.kept]


def test_a_chat_endpoint_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    spec = {"model": "openai:m", "base_url": "http://127.0.0.1:9/v1", "price": _FREE}
    with pytest.raises(RecipeError, match=r"for a user's turn, and a chat endpoint.*'tokenizer"):
        pipeline(spec).run(run=tmp_path / "run", store=tmp_path / "store")


_FREE = {"input": 0, "output": 0}


def test_a_server_of_raw_completions_is_sent_the_template(tmp_path: Path) -> None:
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    template += "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    (tmp_path / "chat.jinja").write_text(template)

    def handler(request: Received) -> Answer:
        text = QUESTION if request.body["prompt"].endswith("<|user|>") else ANSWER
        return as_json({"choices": [{"text": text, "finish_reason": "stop"}]})

    with Server(handler) as server:
        spec = {
            "model": "openai:m",
            "base_url": f"{server.url}/v1",
            "template": str(tmp_path / "chat.jinja"),
        }
        result = pipeline(spec, count=2).run(run=tmp_path / "run", store=tmp_path / "store")
        bodies = [request.body for request in server.received]
    assert result.summary["kept"] == 2
    users = [body for body in bodies if body["prompt"] == "<|user|>"]
    assert len(users) == 2 and all(
        body["stop"] == ["<|end|>", "<|assistant|>", "<|user|>"] for body in users
    )
    others = [body for body in bodies if body["prompt"] != "<|user|>"]
    assert {body["prompt"] for body in others} == {f"<|user|>{QUESTION}<|end|><|assistant|>"}
    assert all("stop" not in body for body in others)


def test_a_prompt_ends_with_the_user_where_a_later_turn_fails(blank: Row) -> None:
    told = iter([QUESTION, ANSWER, ""])
    products, _ = driven(Magpie(model="m", turns=2, to="prompt"), blank, lambda _: next(told))
    made, failed = products
    assert turns_of(made) == [("user", QUESTION)]
    assert isinstance(failed, Failed)


def test_a_system_prompt_of_the_rows_own_is_the_only_one(make_row: Any) -> None:
    own = (Message("system", "Talk of metals."), Message("user", QUESTION))
    _, asked = driven(Magpie(model="m", turns=2), make_row("prompt", {"prompt": own}), writes)
    assert [one.system for one in asked if isinstance(one, Ask)] == [None] * len(asked)


def test_greedy_openings_are_asked_once_and_stay(make_row: Any) -> None:
    row = make_row("prompt", {"prompt": (Message("user", QUESTION),)})
    told = iter([ANSWER, *["Go on?", ""], *["Really."]])
    products, asked = driven(Magpie(model="m", samples=2), row, lambda _: next(told))
    assert [one.turn for one in asked if isinstance(one, Ask)] == [
        "assistant",
        *["user"] * 2,
        "assistant",
    ]
    opened = [("user", QUESTION), ("assistant", ANSWER)]
    whole, cut, failed = products
    assert turns_of(whole) == [*opened, ("user", "Go on?"), ("assistant", "Really.")]
    assert turns_of(cut) == opened and cut.detail["exchanges"] == 1
    assert isinstance(failed, Failed)


def test_an_opening_that_failed_fails_once(make_row: Any) -> None:
    row = make_row("prompt", {"prompt": (Message("user", QUESTION),)})
    products, asked = driven(Magpie(model="m", samples=3), row, lambda _: "")
    assert [type(one) for one in products] == [Failed] and len(asked) == 1
