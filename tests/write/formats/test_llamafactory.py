"""LLaMA-Factory's own converters take every row, none skipped, no warning."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curate.row import Message
from curate.write import as_shape
from tests.write.formats.consumers import exported, part_of, real_rows
from tests.write.rows import row

SHAREGPT = {"formatting": "sharegpt", "columns": {"messages": "conversations", "system": "system"}}
DECLARED: dict[str, tuple[str, dict[str, Any]]] = {
    "llamafactory_alpaca": ("sft", {}),
    "llamafactory_sharegpt": ("sft", SHAREGPT),
    "llamafactory_dpo": (
        "preference",
        {
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {
                "messages": "conversations",
                "chosen": "chosen",
                "rejected": "rejected",
            },
        },
    ),
    "llamafactory_kto": (
        "unpaired",
        {
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "kto_tag": "kto_tag"},
        },
    ),
}
# Alpaca holds one question and one answer.
SINGLE = 2


def converted(name: str, path: Path, declared: dict[str, Any]) -> list[dict[str, Any]]:
    """Load the file as LLaMA-Factory does: by `dataset_info.json`, `datasets`, its converter."""
    from datasets import Dataset

    parser = part_of("llamafactory", "llamafactory.data.parser")
    converter = part_of("llamafactory", "llamafactory.data.converter")
    info = {name: {"file_name": path.name, **declared}}
    (path.parent / "dataset_info.json").write_text(json.dumps(info))
    (attributes,) = parser.get_dataset_list([name], str(path.parent))
    options = SimpleNamespace(media_dir="")
    convert = converter.get_dataset_converter(attributes.formatting, attributes, options)
    data = Dataset.from_json(str(path), cache_dir=str(path.parent / "cache"))
    return [convert(record) for record in data]


@pytest.mark.slow
@pytest.mark.parametrize("name", DECLARED)
def test_its_own_loader_takes_every_row(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kind, declared = DECLARED[name]
    rows = real_rows(kind)
    if name == "llamafactory_alpaca":
        rows = [one for one in rows if len(one.messages) == SINGLE]
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(as_shape(one, name)) + "\n" for one in rows))
    else:
        path = exported(name, kind, tmp_path)
    found = converted(name, path, declared)
    printed = capfd.readouterr()
    assert "Invalid" not in printed.out + printed.err
    assert "kipping" not in printed.out + printed.err
    assert len(found) == len(rows) > SINGLE
    for one, out in zip(rows, found, strict=True):
        assert out["_prompt"][-1]["content"] == _asked(one)
        answers = [turn["content"] for turn in out["_response"]]
        if kind == "sft":
            assert answers == [one.response]
        elif kind == "preference":
            assert answers == [one.chosen[-1].content, one.rejected[-1].content]
        else:
            # The loader's own marks: an empty second answer is good, an empty first one bad.
            text = one.completion[-1].content
            assert answers == ([text, ""] if one.fields["label"] else ["", text])


def _asked(one: Any) -> str:
    turns = one.messages if one.kind == "sft" else one.prompt
    return next(turn.content for turn in reversed(turns) if turn.role == "user")


@pytest.mark.parametrize("speaker", ["user", "chatgpt", "bing", "assistant"])
def test_names_of_other_dialects_become_its_own(speaker: str) -> None:
    role = "user" if speaker == "user" else "assistant"
    named = Message(role, "hello", json.dumps({"from": speaker}))
    turns = (named, Message("assistant", "hi")) if role == "user" else (Message("user", "q"), named)
    record = as_shape(row("sft", messages=turns), "llamafactory_sharegpt")
    assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt"]


def test_a_tool_speaks_as_observation() -> None:
    turns = (
        Message("user", "q"),
        Message("assistant", "I will look."),
        Message("tool", "42"),
        Message("assistant", "It is 42."),
    )
    record = as_shape(row("sft", messages=turns), "llamafactory_sharegpt")
    assert [turn["from"] for turn in record["conversations"]] == [
        *("human", "gpt", "observation", "gpt")
    ]
