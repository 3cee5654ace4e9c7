"""Files appear whole or not at all, and rows that do not fit name what would be lost."""

from __future__ import annotations

import csv
import gzip
import json

import pyarrow.parquet as pq
import pytest

from curate.errors import UsageError
from curate.read import open_inputs
from curate.row import KINDS, Message
from curate.write import NATURAL, as_shape, kind_of, write_rows
from tests.read.reading import read_all
from tests.write.rows import BAD, GOOD, USER, row, table

ENDINGS = ["jsonl", "jsonl.gz", "jsonl.zst", "json", "parquet", "csv", "tsv"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_kind_goes_through_every_format(tmp_path, kind, ending):
    path = tmp_path / f"rows.{ending}"
    rows = [row(kind, n) for n in range(3)]
    assert write_rows([table(*rows[:2]), table(rows[2])], path) == 3
    found = read_all(str(path))
    assert found.failed == []
    assert [file.shape for file in open_inputs(str(path)).files] == [NATURAL[kind]]
    for back, came in zip(found.rows, rows, strict=True):
        assert dict(back.fields) == dict(came.fields)
        assert json.loads(back.extra)["id"] == "x"


def test_equal_rows_make_equal_bytes(tmp_path):
    for ending in ENDINGS:
        for name in ("one", "two"):
            write_rows([table(row("prompt"))], tmp_path / f"{name}.{ending}")
        assert (tmp_path / f"one.{ending}").read_bytes() == (
            tmp_path / f"two.{ending}"
        ).read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_row_that_does_not_fit_leaves_no_file(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    path.write_text("what stood here before")
    long = row("sft", 1, messages=(*USER, *GOOD, *USER, *GOOD))
    with pytest.raises(UsageError, match="one user and one assistant turn"):
        write_rows([table(row("sft", messages=(*USER, *GOOD))), table(long)], path, "alpaca")
    assert path.read_text() == "what stood here before"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("shape", "odd", "message"),
    [
        ("alpaca", row("sft", messages=GOOD), "one user and one assistant turn of plain text"),
        ("alpaca", row("preference"), "'alpaca' holds sft rows, .* preference rows, whose own"),
        ("alpaca", row("preference"), "curate filter INPUT unpack:side=chosen -o OUT.jsonl"),
        ("oasst", row("sft"), "own shape is 'messages'; lost would be the tree's other branches"),
        ("messages", row("sft", extra='{"messages":1}'), "'messages' would be lost"),
        ("hh", row("preference", margin=0.5), "no column for 'margin'"),
        ("hh", row("preference", prompt=(Message("tool", "x"),)), "plain turns of user and"),
        ("hh", row("preference", prompt=(Message("system", " "),)), "system prompt needs a text"),
        (
            "hh",
            row("preference", chosen=(Message("assistant", "a\n\nHuman: b"),)),
            "would begin another turn",
        ),
        ("sharegpt", row("sft", messages=(Message("critic", "x"),)), "role 'critic' has no name"),
        (
            "sharegpt",
            row("sft", messages=(Message("assistant", "", '{"tool_calls":[1]}'),)),
            "a tool call must have a function",
        ),
        ("sharegpt_preference", row("preference", chosen=GOOD + BAD), "single turn, and it has 2"),
        ("openai_chat", row("sft", messages=USER), "last turn must be the assistant's"),
        (
            "openai_chat",
            row("sft", messages=(*USER, Message("assistant", "a", '{"mood":"x"}'))),
            "the key 'mood', which OpenAI refuses",
        ),
        ("openai_dpo", row("preference", chosen=GOOD + BAD), "a single assistant's message"),
        ("llamafactory_sharegpt", row("sft", messages=(*USER, *USER)), "turn 2 is the user's"),
        ("llamafactory_dpo", row("preference", rejected=USER), "a single assistant's turn"),
        ("axolotl_dpo", row("preference", rejected=GOOD + BAD), "single turn, and it has 2"),
        ("oasst", row("prompt"), "carries no tree"),
        ("flan", row("sft"), "where the rationale ends"),
        ("pandalm", row("ranked", candidates=()), "two answers, and there are 0"),
        ("pandalm", row("ranked"), "scores or models are not those of its votes"),
        ("output_pair", row("ranked"), "scores or models are not those of its verdict"),
        ("ranked", row("ranked", extra='{"candidates":[{"cost":1}]}'), "1 candidates were read"),
        ("ranked", row("ranked", extra='{"candidates":3}'), "'candidates' would be lost"),
        *(
            (name, row("preference", prompt=()), "its two sides do not begin alike")
            for name in ("trl_dpo", "axolotl_dpo", "openai_dpo")
        ),
        ("alpacca", row("sft"), "did you mean 'alpaca'"),
    ],
)
def test_a_loss_is_an_error_that_names_it(shape, odd, message):
    with pytest.raises(UsageError, match=message):
        as_shape(odd, shape)


def test_sides_that_do_not_begin_alike_can_be_read_again(tmp_path):
    sides = {"chosen": USER + GOOD, "rejected": (Message("user", "Else?"), *BAD)}
    pair = row("preference", prompt=(), **sides)
    write_rows([table(pair)], tmp_path / "rows.jsonl")
    [back] = read_all(str(tmp_path / "rows.jsonl")).rows
    assert dict(back.fields) == dict(pair.fields)


@pytest.mark.parametrize("kind", ["prompt", "preference", "unpaired"])
def test_a_file_does_not_mix_texts_and_messages(tmp_path, kind):
    """Rows of other shapes may hold one turn or many; a column has one type all the same."""
    rows = [row(kind), row(kind, 1, prompt=(*USER, *GOOD, *USER))]
    assert write_rows([table(*rows)], tmp_path / "rows.parquet") == 2
    back = read_all(str(tmp_path / "rows.parquet")).rows
    assert [dict(one.fields) for one in back] == [dict(one.fields) for one in rows]


def test_rows_of_other_shapes_are_messages_in_prompt_and_completion(tmp_path):
    """One turn or many: a file of single questions and long talks has one form."""
    long = row("sft", 1, messages=(*USER, *GOOD, *USER, *BAD))
    path = tmp_path / "rows.parquet"
    assert write_rows([table(row("sft", messages=(*USER, *GOOD)), long)], path, "prompt_completion")
    assert [file.shape for file in open_inputs(str(path)).files] == ["prompt_completion"]
    first, second = pq.read_table(path).to_pylist()
    assert first["prompt"] == [{"role": "user", "content": "What is 2 + 2?"}]
    assert [turn["content"] for turn in second["completion"]] == ["5"]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_row_in_another_form_than_those_before_is_named(tmp_path, ending):
    texts, talk = {"prompt": "q", "completion": "a"}, [{"role": "user", "content": "q"}]
    listed = {"prompt": talk, "completion": [{"role": "assistant", "content": "a"}]}
    path = tmp_path / f"rows.{ending}"
    for records, found in ([texts, listed], "messages, .* texts"), ([listed, texts], "a text"):
        rows = [one._replace(id=f"{n:032x}") for n, one in enumerate(read_all(records).rows)]
        with pytest.raises(UsageError, match=f"row 0+1: its .* would be {found}"):
            write_rows([table(*rows)], path, "prompt_completion")
        assert not path.exists()
        assert write_rows([table(*rows)], path, "trl_sft") == 2
        path.unlink()


@pytest.mark.parametrize("name", ["trl_dpo", "trl_reward", "llamafactory_dpo", "axolotl_dpo"])
def test_what_is_known_of_a_pair_goes_along(name):
    record = as_shape(row("preference", margin=0.5, p_chosen=0.25), name)
    assert (record["margin"], record["p_chosen"]) == (0.5, 0.25)


def test_a_rewritten_text_takes_the_place_of_the_parts_it_came_from():
    """A masked content must not come back through the parts that were kept beside it."""
    parts = [{"type": "text", "text": "I am Ann"}, {"type": "image_url", "image_url": {"url": "u"}}]
    [came] = read_all([{"messages": [{"role": "user", "content": parts}]}]).rows
    assert as_shape(came, "messages")["messages"][0]["content"] == parts
    masked = came.messages[0]._replace(content="I am NAME")
    changed = came._replace(fields={"messages": (masked,)})
    assert as_shape(changed, "messages")["messages"][0]["content"] == [
        {"type": "text", "text": "I am NAME"},
        parts[1],
    ]


def test_a_table_needs_one_set_of_columns(tmp_path):
    rows = [row("prompt", extra='{"a":1}'), row("prompt", extra='{"b":1}')]
    with pytest.raises(UsageError, match=r"row 2 differs .* \(a, b\)"):
        write_rows([table(*rows)], tmp_path / "rows.csv")
    write_rows([table(row("prompt", extra='{"a":{}}'))], tmp_path / "rows.parquet")
    [found] = read_all(str(tmp_path / "rows.parquet")).rows
    assert json.loads(found.extra)["a"] == {}
    with pytest.raises(UsageError, match="allowed endings"):
        write_rows([table(*rows)], tmp_path / "rows.xlsx")


def test_parquet_keeps_columns_that_appear_late(tmp_path, monkeypatch):
    """Arrow takes a table's columns from its first row, and a writer from its first batch."""
    from curate.write import parquet

    monkeypatch.setattr(parquet, "_BATCH", 4)
    extras = [{"a": n} for n in range(6)]
    extras[3] = {"a": 3, "b": {"x": "y"}}
    extras[5] = {"a": 0.5, "b": {"z": [1]}, "c": None}
    rows = [row("prompt", n, extra=json.dumps(extra)) for n, extra in enumerate(extras)]
    assert write_rows([table(*rows)], tmp_path / "rows.parquet") == 6
    back = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [record["a"] for record in back] == [0, 1, 2, 3, 4, 0.5]
    # Objects whose keys differ, and values of several types, are JSON: nothing is invented.
    assert [record["b"] for record in back][3::2] == ['{"x":"y"}', '{"z":[1]}']
    assert json.loads(read_all(str(tmp_path / "rows.parquet")).rows[5].extra)["b"] == {"z": [1]}
    mixed = [row("prompt", 0, extra='{"a":1}'), row("prompt", 1, extra='{"a":"x"}')]
    write_rows([table(*mixed)], tmp_path / "mixed.parquet")
    found = read_all(str(tmp_path / "mixed.parquet")).rows
    assert [json.loads(one.extra)["a"] for one in found] == [1, "x"]


def test_no_rows_make_an_empty_file(tmp_path):
    for ending in ENDINGS:
        assert write_rows([], tmp_path / f"rows.{ending}") == 0
        assert (tmp_path / f"rows.{ending}").exists()


def test_files_hold_what_other_readers_expect(tmp_path):
    rows = table(row("sft", messages=(*USER, *GOOD), extra=None))
    for ending in ENDINGS:
        write_rows([rows], tmp_path / f"rows.{ending}", "alpaca")
    wanted = {"instruction": "What is 2 + 2?", "input": "", "output": "4"}
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == wanted
    assert json.loads((tmp_path / "rows.json").read_text()) == [wanted]
    assert json.loads(gzip.decompress((tmp_path / "rows.jsonl.gz").read_bytes())) == wanted
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == [wanted]
    with open(tmp_path / "rows.tsv", newline="") as file:
        assert list(csv.DictReader(file, delimiter="\t")) == [wanted]


def test_a_kind_stands_for_its_natural_shape():
    assert as_shape(row("sft"), "sft") == as_shape(row("sft"), "messages")
    assert kind_of("sft") == kind_of("trl_sft") == "sft"
    assert kind_of("hh") == "preference"


def test_a_consumer_alone_is_answered_with_its_tasks() -> None:
    with pytest.raises(UsageError, match=r"choose one of trl_dpo \(preference rows\), trl_kto"):
        kind_of("trl")
