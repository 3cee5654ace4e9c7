"""Prompts with gold, as trainers of RLVR read them: golden records, and the way back."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate.errors import UsageError
from curate.row import Message
from curate.write import as_shape, write_rows
from tests.read.reading import read_all
from tests.write.rows import identified, table
from tests.write.rows import row as made_row

ASKED = (Message("user", "What is 3 + 4?"),)
SEVERAL = (Message("system", "Be brief."), *ASKED)
# Rows as `verifiable` makes them: a number, options of a checker, a list of golds, an object.
ROWS = [
    (ASKED, {"ground_truth": "7", "verifier": "number", "level": 1}),
    (SEVERAL, {"ground_truth": "7", "verifier": '{"checker": "number", "tolerance": 0.1}'}),
    (ASKED, {"ground_truth": ["a", "b"], "verifier": "exact"}),
    (SEVERAL, {"ground_truth": {"type": "object"}, "verifier": "json", "note": None}),
    (ASKED, {"ground_truth": "[1", "verifier": "math"}),
]
# verl's own example (verl/utils/dataset/README.md, and its preprocessing of GSM8K).
VERL = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "user", "content": "What is 3 + 4?"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "7"},
    "extra_info": {"split": "train", "index": 0, "answer": "3+4=7\n#### 7"},
}
# Open Instruct's (allenai/RLVR-GSM): messages, ground_truth, dataset.
OPEN_INSTRUCT = {
    "messages": [{"role": "user", "content": "What is 3 + 4?"}],
    "ground_truth": "7",
    "dataset": "gsm8k",
}


def rows() -> list[Any]:
    return [
        made_row("prompt", n, json.dumps(extra), prompt=prompt)
        for n, (prompt, extra) in enumerate(ROWS)
    ]


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "json"])
@pytest.mark.parametrize("shape", ["grpo", "verl", "open_instruct"])
def test_every_export_is_read_back_as_it_was(shape: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"out.{ending}"
    found = [read_back(one, shape, path) for one in rows()]
    expected = [(prompt, spoken(extra)) for prompt, extra in ROWS]
    assert found == expected


def spoken(extra: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extra.items() if value is not None}


def read_back(row: Any, shape: str, path: Path) -> Any:
    write_rows([table(row)], path, shape)
    read = read_all(str(path))
    assert not read.failed
    [one] = read.rows
    return one.prompt, spoken(json.loads(one.extra))


def test_the_records_are_what_the_trainers_document(tmp_path: Path) -> None:
    one, several, *_ = rows()
    assert as_shape(one, "grpo") == {
        "prompt": [{"role": "user", "content": "What is 3 + 4?"}],
        "ground_truth": "7",
        "verifier": "number",
        "level": 1,
    }
    assert as_shape(one, "verl") == {
        "data_source": "curate/number",
        "prompt": [{"role": "user", "content": "What is 3 + 4?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "7"},
        "extra_info": {"verifier": "number"},
        "level": 1,
    }
    assert as_shape(one, "open_instruct") == {**OPEN_INSTRUCT, "level": 1}
    # Its tokenizer takes all messages but the last one, of more than one.
    assert as_shape(several, "open_instruct") == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is 3 + 4?"},
            {"role": "assistant", "content": ""},
        ],
        "ground_truth": "7",
        "dataset": "gsm8k",
        "verifier": '{"checker": "number", "tolerance": 0.1}',
    }


@pytest.mark.parametrize(("shape", "record"), [("verl", VERL), ("open_instruct", OPEN_INSTRUCT)])
def test_what_others_wrote_comes_back_as_it_was(shape: str, record: Any, tmp_path: Path) -> None:
    path = tmp_path / "theirs.jsonl"
    path.write_text(f"{json.dumps(record)}\n")
    [row] = read_all(str(path)).rows
    assert row.prompt == ASKED
    extra = json.loads(row.extra)
    assert extra["ground_truth"] == "7"
    if shape == "open_instruct":
        assert extra == {"ground_truth": "7", "verifier": "number"}
        assert as_shape(row, shape) == record
    else:
        assert "verifier" not in extra
        again = row._replace(extra=json.dumps({**extra, "verifier": "number"}))
        info = {**record["extra_info"], "verifier": "number"}
        assert as_shape(again, shape) == {**record, "extra_info": info}


def test_a_prompt_without_gold_or_checker_is_refused_with_the_way_to_one() -> None:
    for extra in ({"verifier": "number"}, {"ground_truth": "7"}, {}):
        row = made_row("prompt", 0, json.dumps(extra), prompt=ASKED)
        for shape in ("grpo", "verl", "open_instruct"):
            with pytest.raises(UsageError, match="the steps verifiable and pass_rate make"):
                as_shape(row, shape)


def test_conversations_stay_conversations_beside_a_gold_column(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps({'messages': turns, 'ground_truth': 'b', 'dataset': 'x'})}\n")
    [row] = read_all(str(path)).rows
    assert row.kind == "sft"


@pytest.mark.parametrize("shape", ["grpo", "verl", "open_instruct"])
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_rows_of_several_checkers_come_back_together(
    shape: str, ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"all.{ending}"
    write_rows([table(*rows())], path, shape)
    found = [(row.prompt, spoken(json.loads(row.extra))) for row in read_all(str(path)).rows]
    assert found == [(prompt, spoken(extra)) for prompt, extra in ROWS]


@pytest.mark.parametrize("name", ["ground_truth", "dataset"])
def test_a_record_of_open_instruct_that_lacks_a_column_fails(name: str) -> None:
    lacking = {key: value for key, value in OPEN_INSTRUCT.items() if key != name}
    read = read_all([OPEN_INSTRUCT, lacking], shape="open_instruct")
    assert len(read.rows) == 1
    assert f"column '{name}' is missing" in read.failed[0][2]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_text_prompt_of_grpo_stays_a_text(ending: str, tmp_path: Path) -> None:
    # TRL gives messages to the chat template, and texts to nobody.
    text = {"prompt": "3 + 4 = ", "ground_truth": "7", "verifier": "number", "level": 1}
    told = {**text, "prompt": [{"role": "user", "content": "What is 3 + 4?"}]}
    for record in (text, told):
        path = tmp_path / f"out.{ending}"
        write_rows([identified(read_all([record, record]).table)], path, "grpo")
        rows = read_all(str(path)).rows
        assert [as_shape(row, "grpo") for row in rows] == [record] * 2
    # What came as a text from elsewhere is asked as a message.
    [asked] = read_all([{"prompt": "What is 3 + 4?"}]).rows
    extra = json.dumps({**json.loads(asked.extra), "ground_truth": "7", "verifier": "number"})
    del told["level"]
    assert as_shape(asked._replace(extra=extra), "grpo") == told
