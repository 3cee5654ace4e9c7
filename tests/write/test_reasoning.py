"""Rows that think keep their thoughts through each output and export, there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.steps import Length, Structure, Thoughts
from curate.write import as_shape, write_rows
from tests.read.reading import read_all
from tests.write.rows import identified

CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"x": 1}'},
}
ON, OFF = {"enable_thinking": True}, {"enable_thinking": False}


def talk(*answers: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """Return a conversation whose answers are given, in turn with questions or results."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Why?"}]
    for number, answer in enumerate(answers):
        if number:
            before = turns[-1].get("tool_calls")
            turns.append(
                {"role": "tool", "content": "ok", "tool_call_id": "c1"}
                if before
                else {"role": "user", "content": "And?"}
            )
        turns.append({"role": "assistant", **answer})
    return {"messages": turns, **extra}


# Thoughts apart, of two turns, before a call, empty, in the text, and none at all.
ROWS = [
    talk({"content": "18", "reasoning_content": "3 * 6"}, chat_template_kwargs=ON, id=0),
    talk(
        {"content": "1", "reasoning_content": "first\n"},
        {"content": "2", "reasoning_content": " second"},
        chat_template_kwargs=ON,
        id=1,
    ),
    talk(
        {"content": None, "reasoning_content": "Look.", "tool_calls": [CALL]},
        {"content": "Seen.", "reasoning_content": "It was there."},
        tools=[{"type": "function", "function": {"name": "look", "parameters": {}}}],
        chat_template_kwargs=ON,
        id=2,
    ),
    talk({"content": "18", "reasoning_content": ""}, chat_template_kwargs=OFF, id=3),
    talk({"content": "<think>\n3 * 6\n</think>\n\n18"}, chat_template_kwargs=ON, id=4),
    talk({"content": "18"}, chat_template_kwargs=OFF, id=5),
]
KEEPING = ["messages", "trl_sft", "axolotl_chat", "sharegpt"]


@pytest.mark.parametrize("file", ["out.parquet", "out.jsonl", "out.json", "out.jsonl.zst"])
def test_every_output_gives_the_rows_back(file: str, tmp_path: Path) -> None:
    run = Pipeline([Length(min=0), Structure()]).run(
        ROWS, run=tmp_path / "run", output=tmp_path / file
    )
    assert run.summary["kept"] == len(ROWS)
    found = read_all(str(tmp_path / file))
    assert not found.failed
    assert [without_null_columns(as_shape(one, "messages")) for one in found.rows] == ROWS
    assert run.kept.to_list() == ROWS


def test_datasets_hold_what_they_were_given(tmp_path: Path) -> None:
    run = Pipeline([]).run(ROWS, run=tmp_path / "run")
    found = read_all(run.kept.to_datasets())
    assert [without_null_columns(as_shape(one, "messages")) for one in found.rows] == ROWS


def without_null_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the columns that tables give to every row."""
    return {name: value for name, value in row.items() if value is not None}


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_exports_that_hold_thoughts_apart_give_them_back(
    name: str, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"out.{ending}"
    table = read_all(ROWS).table
    assert write_rows([identified(table)], path, name) == len(ROWS)
    found = read_all(str(path))
    assert not found.failed
    assert [known(as_shape(one, "messages")) for one in found.rows] == [known(r) for r in ROWS]


def known(row: dict[str, Any]) -> Any:
    """Return a row with calls' arguments as data: dialects write them as objects."""
    turns = []
    for turn in row["messages"]:
        calls = [
            (one["function"]["name"], json.loads(one["function"]["arguments"]))
            for one in turn.get("tool_calls") or ()
        ]
        turns.append((turn["role"], turn["content"], turn.get("reasoning_content"), calls))
    return turns, row["chat_template_kwargs"], row["id"]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_llamafactory_gets_thoughts_in_its_texts_and_gives_them_back(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"out.{ending}"
    write_rows([identified(read_all(ROWS).table)], path, "llamafactory_sharegpt")
    found = read_all(str(path)).rows
    first = as_shape(found[0], "llamafactory_sharegpt")["conversations"][1]
    assert first == {"from": "gpt", "value": "<think>\n3 * 6\n</think>\n\n18"}
    call = as_shape(found[2], "llamafactory_sharegpt")["conversations"][1]
    assert call["from"] == "function_call"
    assert call["value"].startswith("<think>\nLook.\n</think>\n\n{")
    run = Pipeline([Thoughts(to="apart")]).run(str(path), run=tmp_path / "run")
    expected = [known(row) for row in ROWS]
    # What stood in the text is taken apart, too; all else is as it was.
    expected[4] = (expected[0][0], *expected[4][1:])
    assert [known(as_shape(row, "messages")) for row in run.kept] == expected


def test_what_openai_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    for row in read_all(ROWS).rows:
        with pytest.raises(UsageError, match="chat_template_kwargs"):
            as_shape(row, "openai_chat")
    bare = [{key: value for key, value in row.items() if "kwargs" not in key} for row in ROWS]
    for row, before in zip(read_all(bare).rows, bare, strict=True):
        assert as_shape(row, "openai_chat")["messages"] == before["messages"]


def test_plain_texts_refuse_thoughts_that_stand_apart() -> None:
    row = read_all(ROWS).rows[0]
    for shape in ("alpaca", "llamafactory_alpaca", "axolotl_alpaca"):
        with pytest.raises(UsageError):
            as_shape(row, shape)
