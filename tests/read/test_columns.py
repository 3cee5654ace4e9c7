"""Whole columns give the bytes that single records give, or hold back."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.read import read_part
from curate.read import to_rows as rows
from curate.read.part import Part, Read
from tests.read.reading import alpaca, lines_of, read_all

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
odd = st.one_of(texts, st.none(), st.integers(), st.lists(texts, max_size=2), st.booleans())
usually_texts = st.one_of(texts, texts, texts, odd)
tasks = st.one_of(
    st.fixed_dictionaries(
        {"instruction": usually_texts, "output": usually_texts}, optional={"input": usually_texts}
    ),
    st.fixed_dictionaries({"instruction": texts, "output": texts, "input": texts}),
    st.fixed_dictionaries({"instruction": texts, "output": texts, "id": texts}),
)
turns = st.fixed_dictionaries({"role": texts, "content": texts})
odd_turns = st.fixed_dictionaries(
    {"role": usually_texts, "content": usually_texts}, optional={"name": usually_texts}
)
values = st.recursive(
    st.one_of(texts, st.none(), st.integers(), st.floats(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)


seldom = st.sampled_from([b""] * 12 + [b'\\"', b'"', b"\\", b",", b"}", b"NaN", b"\xff", b"\t"])


@st.composite
def files(draw, records):
    """Bytes of a part whose lines have the same columns, those of a shape and others, in one order.

    Now and then a line differs, or holds something odd.
    """
    names_ = st.one_of(texts, st.sampled_from(["id", "system", "input"]))
    others = draw(st.lists(names_, max_size=3))
    count = draw(st.integers(1, 4))
    lines = []
    order = draw(st.randoms(use_true_random=False))
    first = draw(records)
    names = list(dict.fromkeys([*first, *others]))
    order.shuffle(names)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")]))
    for _ in range(count):
        record = draw(records) | {}
        whole = {n: record[n] if n in record else draw(values) for n in names} | record
        ascii_ = draw(st.booleans())
        text = json.dumps(whole, ensure_ascii=ascii_, separators=separators).encode()
        at = draw(st.integers(0, len(text)))
        lines.append(text[:at] + draw(seldom) + text[at:])
    return b"\n".join(lines) + draw(st.sampled_from([b"", b"\n", b"\r\n"]))


plain_tasks = st.fixed_dictionaries({"instruction": texts, "input": texts, "output": texts})
conversations = st.fixed_dictionaries(
    {
        "conversations": st.lists(
            st.fixed_dictionaries(
                {"from": st.sampled_from(["human", "gpt", "chatgpt", "odd"]), "value": texts}
            ),
            min_size=1,
            max_size=3,
        )
    }
)
chats = st.one_of(
    st.fixed_dictionaries({"messages": st.lists(turns, max_size=3)}),
    st.fixed_dictionaries({"messages": st.lists(odd_turns, max_size=3)}),
)
joints = st.sampled_from(
    [b"\n", b"\n", b"\n", b"\r\n", b"\n\n", b"", b" ", b"\n ", b",\n", b"null\n"]
)
noise = st.sampled_from(
    [b"", b"", b"", b"\xff", b"\\ud800", b"\\ud83d\\ude00", b"\\u0000", b"\0", b"NaN", b"\n", b"}{"]
)


@st.composite
def parts(draw, records):
    """Bytes of a part: mostly lines of JSON, with something odd in between."""
    out = b""
    for record in draw(st.lists(records, min_size=1, max_size=4)):
        text = json.dumps(record, ensure_ascii=draw(st.booleans())).encode()
        at = draw(st.integers(0, len(text)))
        out += text[:at] + draw(noise) + text[at:] + draw(joints)
    return out


def both_ways(data: bytes | pa.Table | list[Read], shape: str) -> bool:
    """Hold the fast path to what the strict one gives; tell whether it was taken."""
    ways = {bytes: "lines", pa.Table: "batch", list: "records"}
    part = Part(0, 0, "memory", "input", shape, ways[type(data)], data=data)
    at_once = {"lines": "lines_at_once", "batch": "table_at_once", "records": "records_at_once"}
    fast = getattr(rows, at_once[part.form])(part, data)
    if fast is None:
        return False
    strict = strictly(part)
    assert strict.unreadable == []
    assert fast.table.schema.equals(strict.table.schema)
    assert fast.table.equals(strict.table)
    assert (fast.records, fast.lines) == (strict.records, strict.lines)
    assert np.array_equal(fast.ordinals, strict.ordinals)
    return True


def strictly(part: Part):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "lines_at_once", lambda part, data: None)
        patch.setattr(rows, "table_at_once", lambda part, table: None)
        patch.setattr(rows, "records_at_once", lambda part, reads: None)
        return read_part(part)


@given(parts(tasks))
def test_both_paths_read_alpaca_alike(data):
    both_ways(data, "alpaca")


@given(parts(chats))
def test_both_paths_read_messages_alike(data):
    both_ways(data, "messages")


@given(files(plain_tasks))
def test_both_paths_read_alpaca_with_other_columns_alike(data):
    both_ways(data, "alpaca")


@given(st.one_of(files(chats), files(conversations)), st.sampled_from(["messages", "sharegpt"]))
def test_both_paths_read_turns_with_other_columns_alike(data, shape):
    both_ways(data, shape)


@pytest.mark.parametrize(
    ("shape", "record"),
    [
        ("alpaca", alpaca()),
        ("alpaca", {"id": 7, **alpaca(input="x"), "tags": ["a", {"b": 0.1}], "ok": None}),
        ("alpaca", {"id": 'back\\slash \\" quote \n', **alpaca(), "of": -0.0, "n": 10**30}),
        ("messages", {"messages": [{"role": "user", "content": '}, {":'}], "t": '"a": {[,'}),
        ("sharegpt", {"id": "a", "conversations": [{"from": "human", "value": "q"}]}),
        ("sharegpt", {"conversations": [{"from": "chatgpt", "value": "an alias"}]}),
        ("alpaca", {"instruction": "a", "output": "b"}),
        ("alpaca_response", {"instruction": "a", "input": "c", "response": "b"}),
        ("messages", {"messages": [{"role": "user", "content": "NaN {} null"}]}),
    ],
)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_ordinary_lines_take_the_fast_path(shape, record, newline):
    data = lines_of(record, record).replace(b"\n", newline)
    part = Part(0, 0, "memory", "input", shape, "lines", data=data)
    assert rows.lines_at_once(part, data) is not None
    assert both_ways(data, shape)


@pytest.mark.parametrize(
    "data",
    [
        b'{"instruction": "a", "output": "b"}{"instruction": "a", "output": "b"}\n',
        b'{"messages": [\n{"role": "a", "content": "b"}]}{"messages": []}\n',
        b'{"instruction": "a", "output": "\xed\xa0\x80"}\n',
        b"null\n",
        b'{"instruction": "a", "output": "b"}null\n',
        b'{"instruction": "a", "output": "b"}\n\n',
    ],
)
@pytest.mark.parametrize("shape", ["alpaca", "messages"])
def test_the_fast_path_holds_back(data, shape):
    part = Part(0, 0, "memory", "input", shape, "lines", data=data)
    assert rows.lines_at_once(part, data) is None


ALONE = b'{"id": 1, "instruction": "a", "output": "b"}\n'


@pytest.mark.parametrize(
    "line",
    [
        b'{"instruction": "a", "output": "b", "id": 1}\n',
        b'{"id": 1, "id": 2, "instruction": "a", "output": "b"}\n',
        b'{"id": NaN, "instruction": "a", "output": "b"}\n',
        b'{"id": 01, "instruction": "a", "output": "b"}\n',
        b'{"id": 1 2, "instruction": "a", "output": "b"}\n',
        b'{"id": "\\ud800", "instruction": "a", "output": "b"}\n',
        b'{"id": "\xff", "instruction": "a", "output": "b"}\n',
        b'{"id": "\t", "instruction": "a", "output": "b"}\n',
        b'{"id": {"a": 1, "a": 1}, "instruction": "a", "output": "b"}\n',
        b'{"id": [}, "b": {], "instruction": "a", "output": "b"}\n',
        b'{"id": 1, , "instruction": "a", "output": "b"}\n',
        b'{"id": 1, x"instruction": "a", "output": "b"}\n',
        b'{"id" x: 1, "instruction": "a", "output": "b"}\n',
        b'{"id": ' + b"[" * 200 + b"]" * 200 + b', "instruction": "a", "output": "b"}\n',
        b'{"input_chars": 1, "instruction": "a", "output": "b"}\n',
        b'{"instruction": "a", "output": "b", "id": "}\n',
    ],
)
def test_other_columns_that_strict_json_refuses_are_left_to_it(line):
    part = Part(0, 0, "memory", "input", "alpaca", "lines", data=ALONE)
    assert rows.lines_at_once(part, ALONE + ALONE) is not None
    assert rows.lines_at_once(part, ALONE + line) is None
    assert rows.lines_at_once(part, line + line) is None or line.startswith(b'{"instruction"')


def test_a_system_prompt_of_its_own_is_left_to_the_record():
    turns_ = [{"from": "human", "value": "q"}]
    data = lines_of({"system": "be kind", "conversations": turns_})
    part = Part(0, 0, "memory", "input", "sharegpt", "lines", data=data)
    assert rows.lines_at_once(part, data) is None
    [row] = read_all([{"system": "be kind", "conversations": turns_}]).rows
    assert row.messages[0].role == "system"


cells = {
    "text": (pa.string(), texts),
    "large": (pa.large_string(), texts),
    "named": (pa.dictionary(pa.int32(), pa.string()), texts),
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "number": (pa.float64(), st.floats()),
    "flag": (pa.bool_(), st.booleans()),
    "when": (pa.timestamp("us"), st.datetimes()),
    "raw": (pa.binary(), st.binary(max_size=3)),
    "list": (pa.list_(pa.float32()), st.lists(st.floats(width=32), max_size=2)),
    "nothing": (pa.null(), st.none()),
}
_turn = pa.struct([("content", pa.string()), ("role", pa.string()), ("name", pa.string())])
typed_turns = st.fixed_dictionaries(
    {"role": texts, "content": texts, "name": st.sampled_from([None, None, None, "n"])}
)


@st.composite
def tables(draw, own):
    """A table's batch: the columns of a shape, often with others, cut out of a longer one."""
    count = draw(st.integers(1, 4))
    others = draw(st.lists(st.sampled_from(sorted(cells)), unique=True))
    named = draw(st.permutations([*own, *others]))
    columns = {}
    for name in named:
        type_, drawn = own[name] if name in own else cells[name]
        filled = st.one_of(drawn, drawn, drawn, st.none()) if name not in own else drawn
        columns[name] = pa.array(draw(st.lists(filled, min_size=count, max_size=count)), type_)
    return pa.table(columns).slice(draw(st.integers(0, count - 1)))


@given(tables({n: (pa.string(), st.one_of(texts, texts, st.none())) for n in alpaca()}))
def test_both_paths_read_tables_of_tasks_alike(table):
    both_ways(table, "alpaca")


@given(tables({"messages": (pa.list_(_turn), st.lists(typed_turns, max_size=3))}))
def test_both_paths_read_tables_of_messages_alike(table):
    both_ways(table, "messages")


def test_an_ordinary_table_takes_the_fast_path():
    table = pa.table({"id": [1, None], "instruction": ["a", "b"], "output": ["c", "d"]})
    assert both_ways(table, "alpaca")
    chat = pa.array([[{"role": "user", "content": "q", "name": None}]], pa.list_(_turn))
    assert both_ways(pa.table({"messages": chat, "x": [0.5]}), "messages")


surrogates = st.text(max_size=3)
kept_alike = st.fixed_dictionaries(
    {"id": values, "instruction": texts, "tags": values, "input": texts, "output": texts}
)
in_memory = st.one_of(
    kept_alike,
    kept_alike,
    kept_alike,
    kept_alike,
    tasks,
    st.fixed_dictionaries({"id": surrogates, "instruction": surrogates, "output": st.binary()}),
)


@given(st.lists(in_memory, min_size=1, max_size=4), st.booleans())
def test_both_paths_read_records_alike(records, from_a_file):
    reads = [Read(r, raw=repr(r).encode("utf-8", "replace") * from_a_file) for r in records]
    both_ways(reads, "alpaca")


def test_ordinary_records_take_the_fast_path():
    reads = [Read({"id": n, **alpaca(), "tags": [{"a": n / 3}]}, line=n + 1) for n in range(3)]
    assert both_ways(reads, "alpaca")
    assert not both_ways([*reads, Read(alpaca())], "alpaca")
    assert not both_ways([Read(alpaca(output=b"bytes"))], "alpaca")
    assert not both_ways([Read(alpaca(output="half \ud800"))], "alpaca")
    assert not both_ways([Read(alpaca() | {"id": "half \ud800"})], "alpaca")
