"""What Python sees of a finished run."""

import json
from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.row import Record, Row
from curate.step import Drop
from curate.steps import Exact, Length, Pii


def test_failed_rows_say_why(tmp_path: Path) -> None:
    def stumble(row: Row) -> bool:
        if row.instruction == "c":
            raise ValueError("stumbled")
        return True

    good = {"instruction": "a", "input": "", "output": "b"}
    lines = [json.dumps(good), "{no json", json.dumps({**good, "instruction": "c", "n": 1})]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    result = Pipeline([stumble]).run(path, run=tmp_path / "run")
    broken, stumbled = result.failed.to_list()
    assert (broken["file"], broken["line"], broken["raw"]) == (str(path), 2, "{no json")
    assert broken["error"].startswith("broken JSON at column 2")
    assert (stumbled["step"], stumbled["error"]) == ("stumble", "ValueError: stumbled")
    assert (stumbled["instruction"], stumbled["n"]) == ("c", 1)
    assert "raw" not in stumbled
    assert result.kept.to_list() == [good]
    [kept] = result.kept.to_list(form="kind")
    assert set(kept) == {"messages"}


def test_an_unreadable_row_of_a_table_has_its_number(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 20_000
    answers: list[str | None] = ["b"] * count
    answers[2] = answers[17_000] = None
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"instruction": ["a"] * count, "output": answers}), path)
    result = Pipeline([]).run(path, run=tmp_path / "run", allow_failed=1)
    assert [entry["line"] for entry in result.summary["unreadable"]] == [3, 17_001]


def test_no_control_character_reaches_report_or_card(tmp_path: Path) -> None:
    path = tmp_path / "in\x1b[31m.jsonl"
    path.write_text('{"instruction": "a", "input": "", "output": "b"}\n{"\x1b": \n')
    result = Pipeline([lambda row: Drop("red \x1b[31m")]).run(
        path, run=tmp_path / "run", allow_failed=1
    )
    texts = [result.report(), (result.folder / "README.md").read_text()]
    assert all("red \\x1b[31m" in text and "in\\x1b[31m.jsonl" in text for text in texts)
    assert not any("\x1b" in text for text in texts)


def test_a_dataset_has_the_columns_of_all_rows(tmp_path: Path) -> None:
    rows = [
        {"instruction": "a", "input": "", "output": "b"},
        {"instruction": "c", "output": "d", "topic": "sea", "odd": 1},
    ]
    kept = Pipeline([]).run(rows, run=tmp_path / "run").kept
    assert kept.to_datasets()["topic"][:] == [None, "sea"]
    assert set(kept.to_pandas().columns) >= {"messages", "extra"}
    rows.append({"instruction": "e", "output": "f", "odd": "text"})
    mixed = Pipeline([]).run(rows, run=tmp_path / "mixed").kept
    assert mixed.to_datasets()["odd"][:] == [None, 1, "text"]


def test_rows_as_a_list_are_as_a_step_left_them_and_read_again(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "a.png"}}
    said = [{"type": "text", "text": "I am ann.lee@proton.me"}, image]
    turn = {"role": "user", "content": said}
    sides = {n: [turn, {"role": "assistant", "content": n}] for n in ("chosen", "rejected")}
    result = Pipeline([Pii()]).run([sides | {"lot": 1}], run=tmp_path / "run")
    (record,) = result.kept.to_list()
    masked = {"role": "user", "content": [{"type": "text", "text": "I am [EMAIL]"}, image]}
    assert record == {n: [masked, sides[n][1]] for n in sides} | {"lot": 1}
    (record,) = result.kept.to_list(form="kind")
    assert record["prompt"] == [
        {"role": "user", "content": [{"type": "text", "text": "I am [EMAIL]"}, image]}
    ]
    # What readers leave in `extra` for the way back is not a column: it would be refused as one.
    assert set(record) == {"prompt", "chosen", "rejected", "margin", "p_chosen", "lot"}
    again = Pipeline([Pii()]).run([record], run=tmp_path / "again")
    assert again.kept.to_list(form="kind") == [record]


def test_rows_as_a_list_are_the_records_that_came(tmp_path: Path) -> None:
    sources = {
        "alpaca": [
            {"id": 1, "instruction": "Say who.", "input": "", "output": "ann.lee@proton.me"},
            {"id": 2, "instruction": "Add.", "input": "1 2", "output": "3"},
        ],
        "sharegpt": [
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
        ],
        "pairs": [{"prompt": "q", "chosen": "good", "rejected": "bad"}],
        "columns": [{"asked": "q", "said": "a", "n": 7}],
    }
    inputs: dict[str, object] = {}
    for name, records in sources.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        inputs[name] = str(tmp_path / f"{name}.jsonl")
    mapping = {"instruction": "asked", "response": "said"}
    inputs["columns"] = {"path": inputs["columns"], "columns": mapping}

    def doubled(row: Row) -> list[Record]:
        return [Record(row.kind, dict(row.fields), row.extra)] * 2

    steps = [Pii(only=["alpaca"]), Length(min=1, on="whole")]
    result = Pipeline(steps).run(inputs, run=tmp_path / "run", store=tmp_path / "store")
    want = [*sources["alpaca"], *sources["sharegpt"], *sources["columns"], *sources["pairs"]]
    want[0] = {**want[0], "output": "[EMAIL]"}
    got = result.kept.to_list()
    assert len(got) == len(want) and all(record in want for record in got)
    # Made rows of the same kind take the form of what they were made of.
    made = Pipeline([doubled]).run(sources["alpaca"], run=tmp_path / "m", store=tmp_path / "store")
    assert made.kept.to_list() == [sources["alpaca"][n] for n in (0, 0, 1, 1)]

    # What no longer has the kind of its record is a record of its own kind.
    def asked(row: Row) -> Record:
        return Record("prompt", {"prompt": row.messages[:1]}, row.extra)

    prompts = Pipeline([asked]).run(sources["alpaca"], run=tmp_path / "p", store=tmp_path / "store")
    assert [set(record) for record in prompts.kept.to_list()] == [{"prompt", "id"}] * 2


def test_a_dataset_dict_is_read_as_the_hub_is(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    good = [{"instruction": "a", "input": "", "output": "b"}]
    sides = {side: datasets.Dataset.from_list(good) for side in ("train", "test")}
    result = Pipeline([]).run(datasets.DatasetDict(sides), run=tmp_path / "run")
    assert (result.summary["in"], result.kept.to_list()) == (1, good)
    assert result.kept.to_datasets().column_names == ["instruction", "input", "output"]
    only = datasets.DatasetDict(dev=sides["test"])
    assert Pipeline([]).run(only, run=tmp_path / "only").summary["in"] == 1
    others = datasets.DatasetDict(dev=sides["train"], test=sides["test"])
    with pytest.raises(UsageError, match=r"has the splits dev, test; choose one: give dataset"):
        Pipeline([]).run(others, run=tmp_path / "others")


def test_marks_and_reasons_come_with_rows_that_are_asked_for_them(tmp_path: Path) -> None:
    words = "Name a colour of the rainbow."
    rows = [
        {"instruction": words, "output": "Red.", "level": 1},
        {"instruction": "Why?", "output": "So."},
        {"instruction": words, "output": "Red.", "level": 2},
    ]
    steps = [Length(on="whole", min=3), Exact()]
    result = Pipeline(steps).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    (kept,) = result.kept.to_list(marks=True)
    marks = kept.pop("curate")
    assert kept == result.kept.to_list()[0]
    assert marks["id"] == next(iter(result.kept)).id
    assert marks["scores"] == {"length": 7.0, "exact": None}
    assert (marks["source"], marks["parents"], marks["notes"]) == ("input", [], None)
    short, twin = (record["curate"] for record in result.dropped.to_list(marks=True))
    assert (short["step"], short["reason"], short["score"]) == ("length", "fewer than 3 words", 2.0)
    assert (twin["step"], twin["reason"], twin["partner"]) == (
        "exact",
        "exact duplicate",
        marks["id"],
    )
    assert result.explain(twin["id"]).outcome == "dropped"
    frame = result.dropped.to_pandas()
    assert frame.step.tolist() == ["length", "exact"]
    assert frame.reason.tolist() == ["fewer than 3 words", "exact duplicate"]
    assert frame.partner.tolist()[1] == marks["id"]
    assert frame.id.tolist() == [short["id"], twin["id"]]
    assert not {"step", "curate"} & set(result.kept.to_pandas().columns)


def test_marks_take_no_column_from_a_row(tmp_path: Path) -> None:
    rows = [{"instruction": "Why is that?", "output": "So.", "curate": 1}]
    result = Pipeline([Length(min=1)]).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    assert result.kept.to_list()[0]["curate"] == 1
    with pytest.raises(UsageError, match="has a column 'curate' of its own"):
        result.kept.to_list(marks=True)
