"""Single messages become trees, whatever their order, and what is in no tree fails in its place."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.errors import DiskFull
from curate.read import message_rows
from curate.read.message_rows import trees_of
from curate.read.part import Read
from curate.read.shapes.oasst import messages_from_row
from curate.read.sniff import guess
from curate.write import records_as
from tests.read.reading import lines_of, read_all

TREES = Path(__file__).resolve().parents[3] / "shared" / "data" / "oasst" / "en_100_tree.jsonl"


def message(own, parent=None, tree="t", text="x", role="prompter", **more):
    columns = {"message_id": own, "parent_id": parent, "message_tree_id": tree}
    return {**columns, "role": role, "text": text, **more}


def below(node):
    yield node["message_id"]
    for reply in node["replies"]:
        yield from below(reply)


def grouped(records):
    """Return the ids in each tree, and the errors of what is in none by line."""
    found = list(trees_of(Read(record, None, b"", n) for n, record in enumerate(records, 1)))
    trees = {r.record["message_tree_id"]: set(below(r.record["prompt"])) for r in found if r.record}
    return trees, {r.line: r.error for r in found if r.error}


@st.composite
def forests(draw):
    """Draw messages of some trees in any order, each below one that was drawn before it."""
    out = []
    for tree in range(draw(st.integers(1, 3))):
        own = [f"{tree}.{n}" for n in range(draw(st.integers(1, 6)))]
        out.append(message(own[0], None, own[0]))
        for n in range(1, len(own)):
            out.append(message(own[n], own[draw(st.integers(0, n - 1))], own[0]))
    return draw(st.permutations(out))


@given(forests())
def test_any_order_gives_the_same_trees(messages):
    trees, failed = grouped(messages)
    want = {}
    for one in messages:
        want.setdefault(one["message_tree_id"], set()).add(one["message_id"])
    assert trees == want
    assert not failed
    # They come in the order of their first messages.
    assert list(trees) == list(dict.fromkeys(one["message_tree_id"] for one in messages))


@given(forests(), st.dictionaries(st.sampled_from(["lang", "rank", "labels"]), st.integers()))
def test_messages_go_back_as_they_came(messages, more):
    messages = [{**one, **more} for one in messages]
    assert guess(messages, "rows") == "oasst_messages"
    back = [m for row in read_all(messages).rows for m in records_as(row, "oasst_messages")]
    by_id = {one["message_id"]: one for one in messages}
    assert {one["message_id"]: one for one in back} == by_id
    assert len(back) == len(messages)
    # Each stands behind what it answers.
    places = {one["message_id"]: n for n, one in enumerate(back)}
    assert all(places.get(one["parent_id"], -1) < n for n, one in enumerate(back))


@given(forests(), st.data())
def test_a_missing_message_fails_those_below_it_and_no_other(messages, data):
    lost = data.draw(st.sampled_from(messages))["message_id"]
    parents = {one["message_id"]: one["parent_id"] for one in messages}
    left = [one for one in messages if one["message_id"] != lost]

    def hangs_below(own):
        while own is not None:
            own = parents[own]
            if own == lost:
                return True
        return False

    trees, failed = grouped(left)
    want = {n for n, one in enumerate(left, 1) if hangs_below(one["message_id"])}
    assert set(failed) == want
    assert all(f"'{lost}'" in error for error in failed.values())
    assert sum(map(len, trees.values())) + len(failed) == len(left)


WRONG = [
    (message("b", "t", role="system"), "role must be prompter or assistant: 'system'"),
    (message("b", "t", text=None), "column 'text' must be a string"),
    (message("b", "t", tree=7), "column 'message_tree_id' must be a string, found the number 7"),
    (message("b", "t", replies=[]), "column 'replies'"),
    (message("t", "t"), "message 't' stands at 1 already"),
    (message("b"), "it begins the tree 't', which message 't' has begun already"),
    (message("b", "b"), "its parents lead back to itself"),
    (message("b", "gone"), "its parent 'gone', which is not among the messages of the tree 't'"),
    (message("b", "t", text="\ud800"), "a lone surrogate"),
    (message("b", "t", weight=float("inf")), "inf"),
    ([1], "a record must be a message"),
]


@pytest.mark.parametrize(("wrong", "why"), WRONG)
def test_what_is_no_message_fails_in_its_place(wrong, why):
    trees, failed = grouped([message("t"), wrong, message("c", "t")])
    assert trees == {"t": {"t", "c"}}
    assert list(failed) == [2]
    assert why in failed[2]


def test_a_lost_branch_names_what_is_above_it():
    trees, failed = grouped([message("c", "b"), message("b", "a"), message("t")])
    assert trees == {"t": {"t"}}
    assert failed[1].startswith("message 'b', which it hangs below, has a parent 'a', which")
    assert failed[2].startswith("its parent 'a', which is not")


def test_a_tree_that_is_too_deep_or_too_large_fails_alone(monkeypatch):
    chain = [message("t"), *(message(str(n), str(n - 1) if n else "t") for n in range(150))]
    trees, failed = grouped([*chain, message("u", tree="u")])
    assert trees == {"u": {"u"}}
    assert failed == {1: "the tree is nested deeper than 200 levels"}
    monkeypatch.setattr(message_rows, "GROUP_BYTES", 2000)
    some = [message("t"), *(message(str(n), "t", text="x" * 900) for n in range(3))]
    trees, failed = grouped([*some, message("u", tree="u")])
    assert trees == {"u": {"u"}}
    assert set(failed) == {1, 2, 3, 4}


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(message_rows, "_CACHE_KIB", 1 << 10)
    text = "x" * 10_000
    count = 1000

    def reads():
        # The two messages of a tree stand as far apart as they can.
        for n in range(2 * count):
            own, tree = str(n), str(n % count)
            yield Read(message(own, None if own == tree else tree, tree, text), None, b"", n + 1)

    tracemalloc.start()
    found = sum(len(list(below(read.record["prompt"]))) for read in trees_of(reads()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == 2 * count
    # 20 MB went through; what waits to be written is a quarter of the cache.
    assert peak < 4 << 20


def test_no_room_for_the_table_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(
        message_rows, "_TABLES", message_rows._TABLES + "PRAGMA max_page_count = 8;"
    )
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of(message("t"), *(message(str(n), "t") for n in range(900))))
    with pytest.raises(DiskFull, match="no room to group messages"):
        Pipeline([]).run(str(path), run=tmp_path / "run", store=tmp_path / "store")


def test_a_run_counts_trees_and_lost_messages(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = lines_of(
        message("a", "t", text="yes", role="assistant"),
        message("t", text="q"),
        message("z", "gone", text="lost"),
    )
    path.write_bytes(lines + b"{broken\n" + lines_of(message("u", tree="u", text="r")))
    out = tmp_path / "out.jsonl"
    result = Pipeline([]).run(str(path), run=tmp_path / "run", store=tmp_path / "store", output=out)
    summary = result.summary
    counts = [summary[name] for name in ("in", "made", "kept", "used", "dropped", "failed")]
    # Two trees and two lines that are in none; the second tree has no answer.
    assert counts == [4, 1, 1, 1, 1, 2]
    assert [(u["file"], u["line"]) for u in summary["unreadable"]] == [
        (str(path), 3),
        (str(path), 4),
    ]
    assert "its parent 'gone'" in summary["unreadable"][0]["error"]
    [kept] = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert kept["messages"] == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "yes"},
    ]
    assert kept["message_id"] == "a"


def test_rows_in_memory_are_grouped(tmp_path):
    datasets = pytest.importorskip("datasets")
    records = [message("a", "t", role="assistant"), message("t"), message("z", "gone")]
    for given_ in (records, datasets.Dataset.from_list(records)):
        found = read_all(given_)
        assert found.records == 2
        assert [row.instruction for row in found.rows] == ["x"]
        assert [line for _, line, *_ in found.failed] == [3]


@pytest.mark.real
@pytest.mark.skipif(not TREES.is_file(), reason="../shared/data is not here")
def test_real_trees_as_shuffled_messages_give_the_same_conversations(tmp_path):
    flat = [m for row in read_all(str(TREES)).rows for m in messages_from_row(_bare(row))]
    # Only the root of a published tree names its tree, and no message its parent.
    assert len(flat) == 1167
    parents = {
        reply["message_id"]: one["message_id"]
        for row in read_all(str(TREES)).rows
        for one in _nodes(json.loads(row.extra)["prompt"])
        for reply in one["replies"]
    }
    flat = [{**one, "parent_id": parents.get(one["message_id"])} for one in flat]
    random.Random(7).shuffle(flat)
    path = tmp_path / "messages.jsonl"
    path.write_bytes(lines_of(*flat))
    said = []
    for name, source in (("trees", TREES), ("messages", path)):
        result = Pipeline([]).run(str(source), run=tmp_path / name, store=tmp_path / "store")
        assert (result.summary["in"], result.summary["failed"]) == (100, 0)
        said.append(Counter(row.messages for row in result.kept))
    assert said[0] == said[1]
    assert said[0].total() > 400


def _bare(row):
    """Return a row whose tree has no column but the tree: its state is not a message's."""
    data = json.loads(row.extra)
    extra = {name: data[name] for name in ("message_tree_id", "prompt")}
    return row._replace(extra=json.dumps(extra))


def _nodes(node):
    yield node
    for reply in node["replies"]:
        yield from _nodes(reply)
