"""The fast path gives the bytes of the strict one, or holds back."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.read import open_inputs, raw_lines, read_part, rows
from curate.read.part import Part
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


def both_ways(data: bytes, shape: str) -> None:
    part = Part(0, 0, "memory", "input", shape, "lines", data=data)
    fast = rows._fast(part, data)
    if fast is None:
        return
    strict = strictly(part)
    assert strict.unreadable == []
    assert fast.table.schema.equals(strict.table.schema)
    assert fast.table.equals(strict.table)
    assert (fast.records, fast.lines) == (strict.records, strict.lines)
    assert np.array_equal(fast.ordinals, strict.ordinals)


def strictly(part: Part):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_fast", lambda part, data: None)
        return read_part(part)


@settings(deadline=None)
@given(parts(tasks))
def test_both_paths_read_alpaca_alike(data):
    both_ways(data, "alpaca")


@settings(deadline=None)
@given(parts(chats))
def test_both_paths_read_messages_alike(data):
    both_ways(data, "messages")


@pytest.mark.parametrize(
    ("shape", "record"),
    [
        ("alpaca", alpaca()),
        ("alpaca", {"instruction": "a", "output": "b"}),
        ("alpaca_response", {"instruction": "a", "input": "c", "response": "b"}),
        ("messages", {"messages": [{"role": "user", "content": "NaN {} null"}]}),
    ],
)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_ordinary_lines_take_the_fast_path(shape, record, newline):
    data = lines_of(record, record).replace(b"\n", newline)
    part = Part(0, 0, "memory", "input", shape, "lines", data=data)
    assert rows._fast(part, data) is not None
    both_ways(data, shape)


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
    assert rows._fast(part, data) is None


def test_rows_and_their_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [lines_of(alpaca(output=str(n))) for n in range(4)]
    path.write_bytes(b"\xef\xbb\xbf" + lines[0] + b"  \n" + lines[1] + b"bad\n" + lines[2].strip())
    [part] = open_inputs(str(path)).parts()
    found = read_part(part)
    assert found.ordinals.tolist() == [0, 1, 3]
    pieces = raw_lines(part, found.ordinals)
    assert b"".join(pieces) == lines[0] + lines[1] + lines[2]
    assert b"".join(raw_lines(part, np.array([1]))) == lines[1]


def test_parts_are_cut_by_rows_and_bytes_alone(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of(*(alpaca(output="x" * (n % 300)) for n in range(40_000))))
    cuts = [(p.offset, p.length) for p in open_inputs(str(path)).parts()]
    assert len(cuts) == 3
    from curate.read import lines as cutting

    monkeypatch.setattr(cutting, "_BLOCK", 999)
    assert [(p.offset, p.length) for p in open_inputs(str(path)).parts()] == cuts
    assert sum(length for _, length in cuts) == path.stat().st_size
    monkeypatch.setattr(cutting, "PART_BYTES", 100_000)
    small = [p.length for p in open_inputs(str(path)).parts()]
    assert max(small) <= 100_000
    assert sum(small) == path.stat().st_size


@pytest.mark.parametrize("ending", ["jsonl.gz", "jsonl.zst", "json", "parquet", "csv", "tsv"])
def test_every_format_gives_the_same_rows(tmp_path, ending):
    from curate.write import write_rows

    records = [
        alpaca(
            input="x\ny" * (n % 3), output=f'"{n}",\t\\ "\u4f60\U0001f600', instruction=f"do {n}"
        )
        for n in range(100)
    ]
    table = read_all(records).table
    whole = table.append_column("id", pa.array([b"0" * 16] * 100, pa.binary(16)))
    whole = whole.append_column("seq", pa.array([[0, 0, i] for i in range(100)]))
    assert write_rows([whole], tmp_path / f"rows.{ending}", "alpaca") == 100
    assert read_all(str(tmp_path / f"rows.{ending}")).table.equals(table)
