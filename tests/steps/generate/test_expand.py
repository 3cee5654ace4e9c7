"""`expand` makes conversations or rankings of trees, and lets every other row pass."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate.chunk import Chunk, table_of
from curate.row import Message, Row
from curate.step import Drop
from curate.steps import Expand
from tests.read.reading import read_all

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "oasst" / "en_100_tree.jsonl"


def node(role: str, text: str, *replies: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"role": role, "text": text, "replies": [*replies]} | columns


def row(number: int, kind: str, extra: dict[str, Any] | None = None) -> Row:
    name = "messages" if kind == "sft" else "prompt"
    fields = {name: (Message("user", "q"),)}
    text = json.dumps(extra) if extra else None
    return Row(f"{number:032x}", (0, 0, number), kind, fields, "input", text)


ANSWERED = {
    "message_tree_id": "one",
    "prompt": node("prompter", "q", node("assistant", "a", rank=0), node("assistant", "b", rank=1)),
}
SILENT = {"message_tree_id": "two", "prompt": node("prompter", "q")}


@pytest.mark.parametrize(
    ("into", "kind", "count"), [("conversations", "sft", 2), ("ranked",) * 2 + (1,)]
)
def test_a_tree_becomes_rows_of_one_kind(into: Any, kind: str, count: int) -> None:
    made = Expand(into=into).make(row(0, "prompt", ANSWERED))
    assert [record.kind for record in made] == [kind] * count


def test_a_tree_that_gives_nothing_is_dropped_with_the_reason() -> None:
    assert Expand().make(row(0, "prompt", SILENT)) == [Drop("no answer in the tree")]
    refused = Expand(into="ranked").make(row(0, "prompt", SILENT))
    assert refused == [Drop("no two ranked answers in the tree")]
    assert Expand(keep_parent=True).make(row(0, "prompt", SILENT)) == []


def test_whole_chunks_give_what_single_rows_give() -> None:
    rows = [
        row(0, "prompt", ANSWERED),
        row(1, "sft", {"message_tree_id": "named only"}),
        row(2, "prompt", SILENT),
        row(3, "prompt"),
        row(4, "prompt", ANSWERED),
    ]
    step = Expand()
    one_by_one = [step.make(one) for one in rows]
    assert one_by_one[1] == [rows[1]]
    # An empty list stands for a row that passes.
    wanted = [[] if made == [one] else made for made, one in zip(one_by_one, rows, strict=True)]
    assert step.make_many(Chunk(table_of(rows), large=True)) == wanted


def test_kinds_behind_it() -> None:
    kinds = frozenset(["prompt", "preference"])
    assert Expand().kinds_made(kinds) == {"sft", "preference"}
    assert Expand(into="ranked", keep_parent=True).kinds_made(kinds) == kinds | {"ranked"}
    assert Expand().kinds_made(frozenset(["sft"])) == {"sft"}


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_file(), reason="../shared/data is not here")
def test_real_trees_give_the_counts_of_their_readme() -> None:
    rows = read_all(str(DATA)).rows
    rankings = [record for one in rows for record in Expand(into="ranked").make(one)]
    # 212 groups and 754 pairs, as the README of the data counts them.
    assert len(rankings) == 212
    sizes = [len(record.fields["candidates"]) for record in rankings]
    assert sum(size * (size - 1) // 2 for size in sizes) == 754
    trees = [json.loads(one.extra or "")["prompt"] for one in rows]
    assert sum(map(messages_in, trees)) == 1167
    conversations = [record for one in rows for record in Expand().make(one)]
    assert len(conversations) == sum(map(last_answers, trees))
    roles = Counter(
        tuple(turn.role for turn in record.fields["messages"]) for record in conversations
    )
    assert all(turns == ("user", "assistant") * (len(turns) // 2) for turns in roles)


def messages_in(tree: dict[str, Any]) -> int:
    return 1 + sum(map(messages_in, tree["replies"]))


def last_answers(tree: dict[str, Any]) -> int:
    """Count the assistant's messages that no further answer follows."""
    below = sum(map(last_answers, tree["replies"]))
    return (below or 1) if tree["role"] == "assistant" else below
