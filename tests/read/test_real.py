"""Every real file with a known shape reads with the row count of its folder's README."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import CurateError, InputError
from curate.read import open_inputs, read_part
from curate.read import to_rows as rows
from curate.read.shapes import shape as shape_called
from tests.read.reading import read_all

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here"),
]

FILES = [
    ("alpaca/alpaca_5000.json", "alpaca", 5000, 0),
    ("alpaca/alpaca_random_9k.json", "alpaca", 9229, 0),
    ("alpaca/alpaca_helpfulness_t45.json", "alpaca", 2022, 0),
    ("alpaca/alpaca_zh_2000.json", "alpaca", 2000, 0),
    ("dolly/dolly_3k.json", "alpaca", 2996, 0),
    ("rouge-novelty/minpeter_regen.json", "alpaca", 73, 0),
    ("rouge-novelty/minpeter_seed_tasks.jsonl", "self_instruct", 175, 0),
    ("self-instruct/seed_tasks.jsonl", "self_instruct", 175, 0),
    ("self-instruct/user_oriented_instructions.jsonl", "self_instruct", 252, 0),
    ("gpteacher/roleplay_1923.json", "alpaca_response", 1923, 0),
    ("gpteacher/toolformer_7673.json", "alpaca_response", 7673, 0),
    ("sharegpt/dummy_conversation_500.json", "sharegpt", 500, 0),
    ("scar/human_id_1000.json", "sharegpt", 1000, 0),
    ("scar/mix_gpt35_id_1000.json", "sharegpt", 1000, 0),
    ("oasst/en_100_tree.jsonl", "oasst", 100, 0),
    ("gsm8k/train.jsonl", "question_answer", 7473, 0),
    ("gsm8k/test.jsonl", "question_answer", 1319, 0),
    ("humaneval/HumanEval.jsonl.gz", "prompt", 164, 0),
    ("flan/gsm8k_train.tsv", "flan", 7473, 0),
    ("flan/strategyqa_train.tsv", "flan", 2061, 0),
    ("flan/aqua_train.tsv", "flan", 2728, 0),
    ("flan/creak_train.tsv", "flan", 6915, 0),
    ("hh-rlhf/harmless_base_test.jsonl.gz", "hh", 2312, 0),
    # Six rows hold a response that is not text.
    ("pandalm/testset-v1.json", "pandalm", 999, 6),
    ("llmbar/natural/dataset.json", "output_pair", 100, 0),
    ("llmbar/natural/GPT-4/result.json", "output_pair", 100, 0),
    ("llmbar/natural/ChatGPT/result.json", "output_pair", 100, 0),
    ("alpaca_eval/alpaca-7b/annotations.json", "output_pair", 805, 0),
    ("magpie/example_instructions_5res_armorm.json", "responses", 5, 0),
    ("mt_bench/question.jsonl", "turns", 80, 0),
    ("decontaminator/humaneval_python_rephrased.jsonl", "question_set", 164, 0),
    ("ifbench/IFBench_test.jsonl", "prompt", 300, 0),
    ("ifbench/eval_results_strict.jsonl", "prompt_response", 294, 0),
    ("ifbench/sample_output.jsonl", "prompt_response", 294, 0),
    ("oda_scores/example_input.jsonl", "alpaca", 1000, 0),
]


@pytest.mark.parametrize(("name", "shape", "count", "unreadable"), FILES)
def test_a_real_file_reads_whole_and_goes_back(name, shape, count, unreadable):
    path = str(DATA / name)
    assert [file.shape for file in open_inputs(path).files] == [shape]
    found = read_all(path)
    assert found.records == count
    assert len(found.failed) == unreadable
    form = shape_called(shape)
    failed = {f[0] for f in found.failed}
    sources = [record for n, record in enumerate(records_of(name)) if n not in failed]
    for row, source in zip(found.rows, sources, strict=True):
        assert without_nulls(form.write(row)) == without_nulls(source), row


def records_of(name):
    """Return the file's own records, read by nothing of ours."""
    path = DATA / name
    if name.startswith("flan"):
        columns = ("question", "answer", "rationale")
        return [
            dict(zip(columns, line.replace("\\n", "\n").split("\t"), strict=True))
            for line in path.read_text(encoding="utf-8").split("\n")
            if line
        ]
    if name.endswith(".json"):
        return json.loads(path.read_bytes())
    data = path.read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    return [json.loads(line) for line in data.split(b"\n") if line.strip()]


def without_nulls(value):
    if isinstance(value, dict):
        return {
            k: without_nulls(v)
            for k, v in value.items()
            if v is not None and (k, v) != ("input", "")
        }
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


# Statistics, settings, items of test sets: no rows of any kind.
NO_SHAPE = [
    "flan/flan_collection_info.csv",
    "alpaca_eval/leaderboard.csv",
    "alpaca_eval/length_controlled_v1.csv",
    "decontaminator/rephrase_gsm8k.jsonl",
    "gsm8k/example_model_solutions.jsonl",
    "llmbar/natural/GPT-4/statistics.json",
    "llmbar/natural/ChatGPT/statistics.json",
    "magpie/model_configs.json",
    "oda_scores/example_input_scored.jsonl",
    *(
        f"bfcl/{folder}BFCL_v4_{name}.json"
        for folder in ("", "possible_answer/")
        for name in ("irrelevance", "multi_turn_base", "multiple", "parallel", "simple_python")
        if (folder, name) != ("possible_answer/", "irrelevance")
    ),
]
# A list of numbers, a text, and templates.
NO_RECORDS = [
    "alpaca_eval/derived_instruction_difficulty_805.json",
    *(
        f"promptsource/{name}.yaml"
        for name in ("ag_news", "cosmos_qa", "imdb", "piqa", "squad", "super_glue_boolq")
    ),
    *("promptsource/trec.yaml", "promptsource/xsum.yaml"),
]


def test_no_file_is_left_out():
    found = {path.relative_to(DATA).as_posix() for path in DATA.rglob("*") if path.is_file()}
    assert found == {name for name, *_ in FILES} | {*NO_SHAPE, *NO_RECORDS, "README.md"}


@pytest.mark.parametrize("name", NO_SHAPE)
def test_a_file_of_no_shape_names_its_columns(name):
    with pytest.raises(InputError, match=r"its columns \(.+\) fit no shape; .*--shape") as caught:
        read_all(str(DATA / name))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", NO_RECORDS)
def test_a_file_without_records_is_refused(name):
    with pytest.raises(CurateError, match=r"not one readable row|allowed endings") as caught:
        read_all(str(DATA / name))
    assert caught.value.exit_code == 2


# What of the real rows is regular enough to be read by whole columns.
BY_COLUMNS = {"alpaca", "alpaca_response", "sharegpt", "question_answer", "prompt_response"}
# Its lines differ in their keys.
UNEVEN = ("gpteacher/toolformer_7673.json", "jsonl")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(("name", "shape"), [(n, s) for n, s, _, bad in FILES if not bad])
def test_whole_columns_give_what_single_records_give(name, shape, form, tmp_path):
    """Hold the fast path to the strict one, with every real row as JSON lines and as a table."""
    records = records_of(name)
    path = tmp_path / f"rows.{form}"
    if form == "jsonl":
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        path.write_text("".join(lines), encoding="utf-8")
    else:
        try:
            pq.write_table(pa.Table.from_pylist(records), path)
        except pa.ArrowException:
            pytest.skip("its columns hold values of several types, as no table can")
    parts = list(open_inputs(str(path), shape=shape).parts())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "lines_at_once", lambda part, data: None)
        patch.setattr(rows, "table_at_once", lambda part, table: None)
        patch.setattr(rows, "records_at_once", lambda part, reads: None)
        strict = [read_part(part) for part in parts]
    for part, wanted in zip(parts, strict, strict=True):
        assert read_part(part).table.equals(wanted.table)
    at_once = [fast_of(part) is not None for part in parts]
    assert all(at_once) == (shape in BY_COLUMNS and (name, form) != UNEVEN)


def fast_of(part):
    if part.form == "batch":
        return rows.table_at_once(part, part.data)
    return rows.lines_at_once(part, Path(part.path).read_bytes()[part.offset :][: part.length])


def test_pandalm_ties_are_equal():
    for row in read_all(str(DATA / "pandalm/testset-v1.json")).rows:
        extra = json.loads(row.extra)
        votes = [extra[f"annotator{n}"] for n in (1, 2, 3)]
        one, two = (candidate.score for candidate in row.candidates)
        assert (one > two, one == two) == (
            votes.count(1) > votes.count(2),
            votes.count(1) == votes.count(2),
        )


def test_hh_rows_part_where_the_answers_begin():
    rows = read_all(str(DATA / "hh-rlhf/harmless_base_test.jsonl.gz")).rows
    assert sum(not row.chosen[-1].content or not row.rejected[-1].content for row in rows) == 4
    assert all(row.prompt and row.prompt[0].role == "user" for row in rows)


def test_a_page_is_read_as_a_document():
    (row,) = read_all(str(DATA / "README.md")).rows
    assert row.kind == "prompt"
    assert row.instruction == (DATA / "README.md").read_text(encoding="utf-8")
