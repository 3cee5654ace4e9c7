"""Every format has the records that its consumer's own loader takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from curate.row import Message
from curate.write import as_shape, write_rows
from curate.write.formats import formats
from tests.write.rows import BAD, GOOD, USER, row, table

USER_TURN = {"role": "user", "content": "What is 2 + 2?"}
GOOD_TURN, BAD_TURN = ({"role": "assistant", "content": text} for text in "45")
SYSTEM_TURN = {"role": "system", "content": "Be brief."}
HUMAN, GPT = {"from": "human", "value": "What is 2 + 2?"}, {"from": "gpt", "value": "4"}
TASK = {"instruction": "What is 2 + 2?", "input": "", "output": "4", "id": "x"}
EXPECTED = {
    "trl_sft": {"messages": [SYSTEM_TURN, USER_TURN, GOOD_TURN], "id": "x"},
    "trl_prompt": {"prompt": [USER_TURN], "id": "x"},
    "trl_dpo": {
        "prompt": [USER_TURN],
        "chosen": [GOOD_TURN],
        "rejected": [BAD_TURN],
        "id": "x",
    },
    "trl_reward": {
        "chosen": [USER_TURN, GOOD_TURN],
        "rejected": [USER_TURN, BAD_TURN],
        "id": "x",
    },
    "trl_kto": {"prompt": [USER_TURN], "completion": [GOOD_TURN], "label": True, "id": "x"},
    "llamafactory_alpaca": TASK,
    "llamafactory_sharegpt": {"conversations": [HUMAN, GPT], "system": "Be brief.", "id": "x"},
    "llamafactory_dpo": {
        "conversations": [HUMAN],
        "chosen": GPT,
        "rejected": {"from": "gpt", "value": "5"},
        "id": "x",
    },
    "llamafactory_kto": {"conversations": [HUMAN, GPT], "kto_tag": True, "id": "x"},
    "axolotl_chat": {"messages": [SYSTEM_TURN, USER_TURN, GOOD_TURN], "id": "x"},
    "axolotl_alpaca": TASK,
    "axolotl_dpo": {
        "messages": [USER_TURN],
        "chosen": GOOD_TURN,
        "rejected": BAD_TURN,
        "id": "x",
    },
    "openai_chat": {"messages": [SYSTEM_TURN, USER_TURN, GOOD_TURN]},
    "openai_dpo": {
        "input": {"messages": [USER_TURN]},
        "preferred_output": [GOOD_TURN],
        "non_preferred_output": [BAD_TURN],
    },
    "argilla_prompt": {"prompt": [USER_TURN]},
    "argilla_sft": {"messages": [SYSTEM_TURN, USER_TURN, GOOD_TURN]},
    "argilla_preference": {
        "prompt": [USER_TURN],
        "chosen": [GOOD_TURN],
        "rejected": [BAD_TURN],
    },
    "argilla_ranked": {
        "prompt": [USER_TURN],
        "candidate_1": [GOOD_TURN],
        "candidate_2": [BAD_TURN],
    },
    "argilla_unpaired": {"prompt": [USER_TURN], "completion": [GOOD_TURN]},
}


def example(name):
    return (
        row(formats()[name].kind) if "alpaca" not in name else row("sft", messages=(*USER, *GOOD))
    )


def test_every_format_of_the_tree_is_tested():
    assert set(EXPECTED) == set(formats())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_format_has_its_consumers_records(name):
    record = as_shape(example(name), name)
    assert (record["fields"] if name.startswith("argilla") else record) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_datasets_loads_every_format_without_a_warning(tmp_path, name, ending):
    path = tmp_path / f"rows.{ending}"
    write_rows([table(example(name))], path, name)
    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "import datasets\n"
        "data = datasets.load_dataset(sys.argv[2], data_files=sys.argv[1], cache_dir=sys.argv[3],"
        " split='train')\n"
        "assert len(data) == 1, len(data)\n"
    )
    if name not in ("trl_dpo", "openai_dpo", "llamafactory_dpo"):
        # One process for every format would cost a minute; the others load in this one.
        from datasets import Dataset

        load = Dataset.from_json if ending == "jsonl" else Dataset.from_parquet
        assert len(load(str(path), cache_dir=str(tmp_path / "cache"))) == 1
        return
    kind = "json" if ending == "jsonl" else "parquet"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), kind, str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()


@pytest.mark.parametrize("name", ["trl_sft", "axolotl_chat", "openai_chat", "argilla_sft"])
def test_a_dialects_names_of_speakers_stay_behind(name):
    turns = [Message("user", "q", '{"from":"user"}'), Message("assistant", "a", '{"from":"bing"}')]
    record = as_shape(row("sft", messages=tuple(turns)), name)
    turns = record.get("fields", record)["messages"]
    assert turns == [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def test_openai_keeps_tools_and_leaves_other_columns_behind():
    tools = [{"type": "function", "function": {"name": "add"}}]
    call = Message("assistant", "", json.dumps({"content": None, "tool_calls": [{"id": "1"}]}))
    result = Message("tool", "4", '{"tool_call_id":"1"}')
    chat = row(
        "sft",
        messages=(*USER, call, result, *GOOD),
        extra=json.dumps({"tools": tools, "id": "x", "parallel_tool_calls": False}),
    )
    record = as_shape(chat, "openai_chat")
    assert set(record) == {"messages", "tools", "parallel_tool_calls"}
    assert record["messages"][1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1"}],
    }
    assert record["messages"][2]["tool_call_id"] == "1"


def test_argilla_keeps_scores_and_columns_as_metadata():
    record = as_shape(row("ranked", extra='{"a":[1],"b":2}'), "argilla_ranked")
    assert record["metadata"] == {
        "a": "[1]",
        "b": 2,
        "candidate_1_score": 1.0,
        "candidate_1_model": "a",
        "candidate_2_score": 0.0,
    }
    unpaired = as_shape(row("unpaired", label=False, completion=BAD), "argilla_unpaired")
    assert unpaired["metadata"] == {"id": "x", "label": "false"}
