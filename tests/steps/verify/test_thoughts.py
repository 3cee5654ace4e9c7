"""What models think: faults with names, windows, and rows that think and that do not."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.row import Message
from curate.step import Drop, Made
from curate.steps import Thoughts
from tests.steps.conftest import row_of

FORTY = " ".join(f"word{n}" for n in range(40))


def conversation(content: str, **parts: Any) -> Any:
    turns = (
        Message("user", "?"),
        Message("assistant", content, json.dumps(parts) if parts else None),
    )
    return row_of("sft", {"messages": turns})


@pytest.mark.parametrize(
    ("row", "fields", "reason"),
    [
        (conversation("<think>\nso"), {}, "a thought without an end"),
        (conversation("<think>a</think><think>b</think>c"), {}, "several thoughts"),
        (conversation("<think>a</think>b", reasoning_content="c"), {}, "several thoughts"),
        (conversation("<think>a</think>"), {}, "no answer behind the thoughts"),
        (conversation("", reasoning_content="a"), {}, "no answer behind the thoughts"),
        (conversation(f"<think>{'wait, ' * 60}</think>b"), {}, "thoughts are a loop"),
        (conversation("b"), {"required": True}, "no thoughts"),
        (conversation("<think>\n\n</think>\n\nb"), {"required": True}, "no thoughts"),
        (
            conversation(f"<think>{FORTY}</think>b"),
            {"max_words": 39},
            "thoughts of more than 39 words",
        ),
        (
            conversation("b", thinking=FORTY),
            {"min_words": 41},
            "thoughts of fewer than 41 words",
        ),
        (
            conversation(f"<think>{FORTY}. And {FORTY}.</think>b"),
            {"max_repetition": 1.0},
            "thoughts repeat themselves beyond 1 limits",
        ),
    ],
)
def test_every_fault_is_a_reason(row: Any, fields: dict[str, Any], reason: str) -> None:
    step = Thoughts(**fields)
    step.check()
    found = step.make(row)
    assert isinstance(found, Drop)
    assert found.reason == reason


@pytest.mark.parametrize(
    "row",
    [
        conversation("b"),
        conversation("<think>\n\n</think>\n\nb"),
        conversation(f"<think>{FORTY}</think>b"),
        conversation("", reasoning_content="a", tool_calls=[{"function": {"name": "f"}}]),
        conversation("The tag </think> is HTML to me."),
        row_of(
            "preference",
            {
                "prompt": (Message("user", "?"),),
                "chosen": (Message("assistant", "<think>a</think>b"),),
                "rejected": (Message("assistant", "<think>a</think>"),),
                "margin": None,
                "p_chosen": None,
            },
        ),
    ],
)
def test_sound_rows_pass_unchanged(row: Any) -> None:
    assert Thoughts(min_words=1, max_words=40).make(row) is row


TURNS = [
    {"role": "user", "content": "1?"},
    {"role": "assistant", "content": "<think>\nfirst\n</think>\n\n1"},
    {"role": "user", "content": "2?"},
    {"role": "assistant", "content": "<think>\nsecond thought\n</think>\n\n2"},
]
PLAIN = [{"role": "user", "content": "3?"}, {"role": "assistant", "content": "3"}]


def test_rows_that_think_and_rows_that_do_not_say_so_for_the_template(tmp_path: Path) -> None:
    rows = [{"messages": TURNS, "n": 1}, {"messages": PLAIN, "n": 2}]
    result = Pipeline([Thoughts(to="both")]).run(rows, run=tmp_path / "run")
    found = [
        (
            row["n"],
            row["chat_template_kwargs"],
            [t.get("reasoning_content") for t in row["messages"] if t["role"] == "assistant"],
            row["messages"][-1]["content"],
        )
        for row in result.kept.to_list()
    ]
    on, off = {"enable_thinking": True}, {"enable_thinking": False}
    assert found == [
        (1, on, ["first", "second thought"], "2"),
        (1, off, [None, None], "2"),
        (2, off, [None], "3"),
    ]
    assert [row.scores["thoughts"] for row in result.kept] == [2, 0, 0]


def test_what_is_moved_and_moved_back_is_the_row_that_it_was(tmp_path: Path) -> None:
    rows = [{"messages": TURNS}, {"messages": PLAIN}]
    steps = [Thoughts(to="apart", key="thinking"), Thoughts(to="inline")]
    result = Pipeline(steps).run(rows, run=tmp_path / "run")
    assert result.kept.to_list() == rows
    mistral = Pipeline([Thoughts(to="inline", tags="mistral")]).run(rows, run=tmp_path / "mistral")
    assert mistral.kept.to_list()[0]["messages"][1]["content"] == "[THINK]first[/THINK]1"
    assert mistral.kept.to_list()[1] == rows[1]


def test_the_switch_goes_beside_what_the_row_says_already() -> None:
    row = conversation("<think>a</think>b")._replace(
        extra='{"chat_template_kwargs": {"documents": []}, "x": 1}'
    )
    made = Thoughts(switch="thinking").make(row)
    assert isinstance(made, list)
    [one] = made
    assert isinstance(one, Made)
    assert json.loads(one.record.extra or "") == {
        "chat_template_kwargs": {"documents": [], "thinking": True},
        "x": 1,
    }
    assert one.record.fields == row.fields


@pytest.mark.parametrize(
    "fields",
    [
        {"tags": "klingon", "to": "inline"},
        {"tags": "mistral"},
        {"key": "thinking"},
        {"switch": "a b"},
        {"min_words": 3, "max_words": 2},
        {"max_repetition": -1.0},
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))}|above"):
        Thoughts(**fields).check()
