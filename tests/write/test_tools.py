"""Tool rows keep every call, argument and schema through each output, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate import Pipeline
from curate.steps import Exact, Length, Near, Refusal, Structure, Truncated
from curate.write import as_shape, write_rows
from tests.read.reading import read_all
from tests.write.rows import identified

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "bfcl"


def call(name, arguments, id_="c1"):
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(name, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def row(question, calls, tools, **extra):
    turns = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *({"role": "tool", "content": "ok", "tool_call_id": one["id"]} for one in calls),
        {"role": "assistant", "content": "Done."},
    ]
    return {"messages": turns, "tools": tools, **extra}


TWO = [
    row("Fly.", [call("fly", {"x": 1})], [tool("fly", x={"type": "integer"})], meta={"a": 1}),
    row(
        "Land.",
        [call("land", {"y": [1, None], "z": {}}), call("stop", {}, "c2")],
        [tool("land", y={"type": "array"}, z={"type": "object"}), tool("stop")],
        meta={"b": None},
    ),
]


def bfcl():
    """Return the three files with schemas and gold calls as conversations."""
    rows = []
    for name in ("simple_python", "multiple", "parallel"):
        with (
            open(DATA / f"BFCL_v4_{name}.json", encoding="utf-8") as asked,
            open(DATA / "possible_answer" / f"BFCL_v4_{name}.json", encoding="utf-8") as answers,
        ):
            for one, two in zip(map(json.loads, asked), map(json.loads, answers), strict=True):
                assert one["id"] == two["id"]
                calls = [
                    call(function, {k: v[0] for k, v in given.items()}, f"call_{n}")
                    for n, gold in enumerate(two["ground_truth"], 1)
                    for function, given in gold.items()
                ]
                tools = [{"type": "function", "function": f} for f in one["function"]]
                made = row(one["question"][0][0]["content"], calls, tools, id=one["id"])
                rows.append(made)
    return rows


def source(kind):
    if kind == "two":
        return TWO
    if not DATA.is_dir():
        pytest.skip("../shared/data/bfcl is not here")
    return bfcl()


KINDS = pytest.mark.parametrize("kind", ["two", "bfcl"])


@KINDS
@pytest.mark.parametrize("file", ["out.parquet", "out.jsonl", "out.json", "out.jsonl.zst"])
def test_every_output_gives_the_rows_back(kind, file, tmp_path):
    rows = source(kind)
    run = Pipeline([Length(min=1, on="whole")]).run(
        rows, run=tmp_path / "run", output=tmp_path / file
    )
    assert run.summary["kept"] == len(rows)
    found = read_all(str(tmp_path / file))
    assert not found.failed
    assert [as_shape(one, "messages") for one in found.rows] == rows
    assert [one.fields for one in found.rows] == [one.fields for one in read_all(rows).rows]
    again = Pipeline([]).run(str(tmp_path / file), run=tmp_path / "again")
    assert again.kept.to_list() == run.kept.to_list() == rows


@KINDS
def test_filters_and_dedup_keep_and_change_nothing(kind, tmp_path):
    """The same question beside other tools is another row: 85 of the 800 are such."""
    rows = source(kind)
    steps = [Length(min=1, on="whole"), Structure(), Truncated(), Refusal(), Exact(), Near()]
    run = Pipeline(steps).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    assert run.summary["kept"] == len(rows)
    assert run.kept.to_list() == rows


@KINDS
def test_datasets_hold_what_they_were_given(kind, tmp_path):
    import datasets

    rows = source(kind)
    run = Pipeline([]).run(rows, run=tmp_path / "run")
    dataset = run.kept.to_datasets()
    assert [without_null_keys(one) for one in dataset] == [without_null_keys(one) for one in rows]
    found = read_all(dataset)
    assert [as_shape(one, "messages") for one in found.rows] == rows
    dataset.to_parquet(tmp_path / "d.parquet")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "d.parquet"), cache_dir=str(tmp_path / "cache")
    )["train"]
    assert [without_null_keys(one) for one in loaded] == [without_null_keys(one) for one in rows]


def without_null_keys(record):
    """Return a record whose turns lack the keys that are null: a table gives them all of them.

    `datasets` decodes JSON with a parser that misses the last bit of some numbers (0.6 is read as
    0.6000000000000001), so numbers are compared to fifteen digits; what it stores is exact.
    """
    turns = [{k: v for k, v in turn.items() if v is not None} for turn in record["messages"]]
    return rounded({**record, "messages": turns})


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.15g}") if isinstance(value, float) else value


FORMATS = [
    "messages",
    "openai_chat",
    "trl_sft",
    "axolotl_chat",
    "sharegpt",
    "llamafactory_sharegpt",
]


@KINDS
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_every_export_gives_the_calls_back(kind, name, ending, tmp_path):
    rows = source(kind)
    table = read_all(rows).table
    path = tmp_path / f"out.{ending}"
    assert write_rows([identified(table)], path, name) == len(rows)
    found = read_all(str(path))
    assert not found.failed
    for one, before in zip(found.rows, rows, strict=True):
        record = as_shape(one, "openai_chat")
        assert spoken(record["messages"]) == spoken(before["messages"])
        assert record["tools"] == before["tools"]


def spoken(turns):
    """Return what is said and called, whatever the calls' ids are."""
    out = []
    for turn in turns:
        calls = [c["function"] for c in turn.get("tool_calls") or []]
        parsed = [
            (
                c["name"],
                json.loads(c["arguments"]) if isinstance(c["arguments"], str) else c["arguments"],
            )
            for c in calls
        ]
        out.append((turn["role"], turn["content"], parsed))
    return out
