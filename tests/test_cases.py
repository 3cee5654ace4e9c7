"""Small files that went wrong once, each with its right value; and their like, made here.

The files lie outside of this tree (`../shared/cases`, a README there says what each is). Where they
are absent their tests are skipped; what stands here in `OWN` is always tested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import Pipeline
from curate.errors import StoppedShort, UsageError
from curate.pipeline import Result
from curate.read import open_inputs
from curate.steps import Contamination, Exact, Length, Near, Refusal, Respond, Structure, Truncated
from curate.write import as_shape
from tests.models.chaos import Answer, Received, Server, chat, refusal
from tests.read.reading import read_all

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
case = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not here")

# File: shape, rows, failures; or what is said where nothing is read.
READ: dict[str, tuple[str, int, int] | str] = {
    "A_dict": ("messages", 4, 0),
    "A_flat": ("prompt_completion", 1, 0),
    "A_one": ("messages", 6, 0),
    "B_min.jsonl": ("messages", 2, 0),
    "B_toolargs.jsonl": ("messages", 4, 0),
    "CT_test.jsonl": ("question_answer", 2, 0),
    "CT_train.jsonl": ("alpaca", 10, 0),
    "C_parts.jsonl": ("messages", 5, 0),
    "D_mixed.jsonl": ("alpaca", 4, 0),
    "E_shards": ("prompt_completion", 4, 0),
    "F1.jsonl": ("sharegpt", 1, 0),
    "G_roles.jsonl": ("sharegpt", 7, 3),
    "I_pref.jsonl": ("preference", 2, 0),
    "I_pref_msgs.jsonl": ("preference", 3, 0),
    "I_pref_msgs2.jsonl": ("preference", 2, 0),
    "J2_orca.jsonl": ("question_preference", 1, 0),
    "J3_alpaca_system.jsonl": ("alpaca", 2, 0),
    "J4_messages_system.jsonl": "fit several shapes: messages, prompt_completion",
    "J5_0.jsonl": ("messages", 1, 0),
    "J5_1.jsonl": ("prompt_completion", 1, 0),
    "J5_2.jsonl": ("preference", 1, 0),
    "J5_3.jsonl": ("prompt", 1, 0),
    "J5_4.jsonl": ("sharegpt", 1, 0),
    "J5_5.jsonl": ("alpaca_response", 1, 0),
    "J5_6.jsonl": ("question_answer", 1, 0),
    "J5_7.jsonl": ("question_response", 1, 0),
    "J5_8.jsonl": ("alpaca", 1, 0),
    "J6.jsonl": ("prompt", 1, 0),
    # A text and a list in one pair is not a form that a trainer would take.
    "J_pref_cols.jsonl": ("preference", 3, 1),
    "J_sft.jsonl": ("alpaca", 1, 0),
    "K4_amharic.jsonl": ("prompt", 4, 0),
    "K4_emoji.jsonl": ("prompt", 4, 0),
    "K4_hindi.jsonl": ("prompt", 4, 0),
    "K4_thai.jsonl": ("prompt", 6, 0),
    "K5_emoji_in_english.jsonl": ("prompt", 12, 0),
    "K6_ct_test.jsonl": ("question_answer", 1, 0),
    "K_arabic.jsonl": ("alpaca", 5, 0),
    "K_hindi_thai.jsonl": ("alpaca", 8, 0),
    "K_roads.jsonl": ("prompt_completion", 6, 0),
    "L_min.jsonl": ("prompt", 2, 0),
    "L_min_test.jsonl": "fit no shape; say which column holds what: --columns",
    "M_dups.jsonl": ("alpaca", 10, 0),
    "M_unique.jsonl": ("alpaca", 3, 0),
    "R_long.jsonl": ("prompt", 12, 0),
    "R_long1k.jsonl": ("prompt", 1000, 0),
    "R_many.jsonl": ("prompt", 300, 0),
    "R_one.jsonl": ("prompt", 1, 0),
    "R_prompts.jsonl": ("prompt", 4, 0),
    "V_hub": ("prompt_completion", 1, 0),
    "V_inf.parquet": ("prompt_completion", 0, 1),
    "V_lfs": "is a Git LFS pointer, not the data itself; fetch it in its clone with git lfs pull",
    "V_lfs.jsonl": "is a Git LFS pointer",
    "V_msgs.parquet": ("messages", 1, 0),
    # Two rows hold an infinity, the third has no completion.
    "V_types.parquet": ("prompt_completion", 0, 3),
    "V_u64.parquet": ("prompt_completion", 1, 0),
    "W.csv.gz": ("prompt_completion", 1, 0),
    "W.json.gz": ("prompt_completion", 4, 0),
    "W.jsonl.bz2": ("prompt_completion", 4, 0),
    "W.jsonl.xz": ("prompt_completion", 4, 0),
    "W.ndjson": ("prompt_completion", 4, 0),
    "W.tar.gz": "cannot tell its format; allowed endings: .jsonl",
    "W_array_named.jsonl": ("prompt_completion", 4, 0),
    "W_by_id.json": "fit no shape",
    "W_comma.jsonl": "line 1: broken JSON at column 32",
    "W_concat.jsonl": "line 1: broken JSON at column 32",
    "W_cr.jsonl": "line 1: broken JSON at column 50",
    "W_crlf.jsonl": ("prompt_completion", 4, 0),
    "W_data_key.json": "fit no shape",
    "W_dict_of_lists.json": ("prompt_completion", 0, 1),
    "W_dupcols.csv": "two columns are called 'completion'",
    "W_dupkeys.jsonl": "key 'prompt' stands twice",
    "W_excel.csv": ("prompt_completion", 1, 0),
    "W_gz_named_jsonl.jsonl": r"its content is \.jsonl\.gz; rename the file",
    "W_index.csv": ("prompt_completion", 3, 0),
    "W_jsonstr.jsonl": ("messages", 1, 0),
    "W_latin1.csv": r"line 2: invalid UTF-8 \(0xe9\)",
    "W_lines_named.json": ("prompt_completion", 4, 0),
    "W_ls.jsonl": ("prompt_completion", 2, 0),
    "W_multi.jsonl.gz": ("prompt_completion", 4, 0),
    "W_multi.jsonl.zst": ("prompt_completion", 4, 0),
    "W_notgz.jsonl.gz": r"says \.jsonl\.gz, but its content is not",
    "W_pad.jsonl.gz": ("prompt_completion", 4, 0),
    "W_pretty.json": ("prompt_completion", 4, 0),
    "W_pylist.csv": ("messages", 1, 1),
    "W_semicolon.csv": "separated by semicolons",
    "W_surr.jsonl": ("prompt_completion", 1, 1),
    "W_train_key.json": "fit no shape",
    "W_trunc.jsonl.gz": ("prompt_completion", 3, 1),
    "W_utf16.jsonl": "the file is UTF-16; convert it",
    "X_label01.jsonl": ("unpaired", 4, 0),
    "X_label3.jsonl": "fit several shapes: prompt_completion, unpaired",
    "X_labelstr.jsonl": ("prompt_completion", 4, 0),
    "X_nums.jsonl": ("prompt_completion", 1, 0),
    "X_toolsdup.jsonl": ("messages", 3, 0),
    "X_wildchat.jsonl": ("sharegpt", 1, 0),
    "X_wildchat_messages.jsonl": ("messages", 1, 0),
    "Y_callfinal.jsonl": ("messages", 3, 0),
    "Y_developer.jsonl": ("messages", 4, 0),
    "Y_jsonmsgs.jsonl": ("sharegpt", 1, 0),
    "Y_parallel.jsonl": ("messages", 1, 0),
    "Z_refusal.jsonl": ("alpaca", 8, 0),
    "Z_trunc.jsonl": ("alpaca", 13, 0),
    "py_pc.json": ("prompt_completion", 3, 0),
}


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}]


def calling(city: Any, **more: Any) -> dict[str, Any]:
    """Return a conversation with a call; `city` may be of any form."""
    function = {"name": "weather", "arguments": {"city": city, **more}}
    call = {"id": "1", "type": "function", "function": function}
    turns = [
        {"role": "user", "content": "What is the weather where I live?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "mild"},
        {"role": "assistant", "content": "It is mild there."},
    ]
    return {"messages": turns}


@case
def test_every_file_has_its_right_value() -> None:
    assert set(READ) == {path.name for path in CASES.iterdir()} - {"README.md"}


@case
@pytest.mark.parametrize("name", READ)
def test_a_file_that_went_wrong_once(name: str) -> None:
    right = READ[name]
    if isinstance(right, str):
        with pytest.raises(Exception, match=right) as caught:
            open_inputs(str(CASES / name))
        assert str(caught.value).startswith(str(CASES / name))
        assert getattr(caught.value, "exit_code", None) == 2
        return
    shape, rows, failed = right
    assert {file.shape for file in open_inputs(str(CASES / name)).files} == {shape}
    found = read_all(str(CASES / name))
    assert (len(found.rows), len(found.failed)) == (rows, failed)


# Texts and messages side by side have no form of their own as one file.
MIXED = "J_pref_cols.jsonl"
WHOLE = [n for n, right in READ.items() if not isinstance(right, str) and right[1] and n != MIXED]


@case
@pytest.mark.parametrize("name", WHOLE)
def test_what_was_read_leaves_as_it_came(name: str, tmp_path: Path) -> None:
    """Kept rows, read again from each form of output, are the rows that were read."""
    found = read_all(str(CASES / name))
    shape = next(file.shape for file in open_inputs(str(CASES / name)).files)
    for file in ("out.jsonl", "out.parquet"):
        run([], CASES / name, tmp_path, output=tmp_path / file, allow_failed=1.0, replace=True)
        again = read_all(str(tmp_path / file), shape=shape)
        assert not again.failed
        before = [(row.kind, row.fields) for row in found.rows]
        assert [(row.kind, row.fields) for row in again.rows] == before, file


@case
def test_texts_and_messages_in_one_file_are_told_apart(tmp_path: Path) -> None:
    options: dict[str, Any] = {"allow_failed": 1.0, "replace": True}
    with pytest.raises(UsageError, match="a file has one form: choose a shape that is always mess"):
        run([], CASES / MIXED, tmp_path, output=tmp_path / "out.parquet", **options)
    # Lines that no step changed leave as they stand.
    run([], CASES / MIXED, tmp_path, output=tmp_path / "out.jsonl", **options)
    lines = (CASES / MIXED).read_text("utf-8").splitlines()
    assert (tmp_path / "out.jsonl").read_text("utf-8").splitlines() == [*lines[:2], lines[3]]


def run(steps: list[Any], inputs: Any, folder: Path, **options: Any) -> Result:
    rows = str(inputs) if isinstance(inputs, Path) else inputs
    return Pipeline(steps).run(rows, run=folder / "run", store=folder / "store", **options)


# -- what is one row, and what is not --------------------------------------------------------------

NFC, NFD = "café noir serré déjà prêt", "café noir serré déjà prêt"
TWINS = {
    # File or rows: how many `exact` and `near` keep.
    "X_toolsdup.jsonl": 3,
    "Y_callfinal.jsonl": 3,
    "M_dups.jsonl": 1,
    "M_unique.jsonl": 3,
    "L_min.jsonl": 1,
    "C_parts.jsonl": 4,
}
OWN = {
    "other arguments": ([calling("Oslo"), calling("Rome"), calling(["Oslo"])], 3),
    "more arguments": ([calling("Oslo"), calling("Oslo", day=1), calling("Oslo", day="1")], 3),
    "equal calls": ([calling("Oslo"), calling("Oslo"), calling("Rome")], 2),
    "accents": ([{"messages": asked(NFC)}, {"messages": asked(NFD)}], 1),
}


@case
@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("step", [Exact(), Near()])
def test_files_of_twins(name: str, step: Any, tmp_path: Path) -> None:
    assert run([step], CASES / name, tmp_path).summary["kept"] == TWINS[name]


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("step", [Exact(), Near()])
def test_twins_made_here(name: str, step: Any, tmp_path: Path) -> None:
    rows, kept = OWN[name]
    assert run([step], rows, tmp_path).summary["kept"] == kept


@case
def test_answers_that_are_calls_are_answers(tmp_path: Path) -> None:
    steps = [Length(min=1), Structure(), Truncated()]
    assert run(steps, CASES / "Y_callfinal.jsonl", tmp_path).summary["kept"] == 3


@case
def test_items_of_a_test_set_are_found_however_they_are_written(tmp_path: Path) -> None:
    step = Contamination(against=(str(CASES / "CT_test.jsonl"),))
    found = run([step], CASES / "CT_train.jsonl", tmp_path)
    dropped = {row.response for row in found.dropped}
    assert {"a", "b", "c", "d", "g", "h"} <= dropped
    step = Contamination(against=(str(CASES / "L_min_test.jsonl"),), n=5)
    both = run([step], CASES / "L_min.jsonl", tmp_path / "min")
    assert both.summary["dropped"] == 2


@case
def test_phrases_and_ends_of_every_spelling(tmp_path: Path) -> None:
    refused = run([Refusal()], CASES / "Z_refusal.jsonl", tmp_path)
    assert refused.summary["dropped"] == 5
    whole = run([Truncated(at_least=1)], CASES / "Z_trunc.jsonl", tmp_path / "cut")
    assert whole.summary["kept"] == 13


# -- one row's refusal -----------------------------------------------------------------------------


def respond(server: Server, rows: Any, folder: Path, **options: Any) -> Result:
    model = {"model": "openai:tiny", "base_url": server.url, "identity": "m", "max_concurrency": 8}
    pipeline = Pipeline([Respond(model="m", max_tokens=16)], models={"m": model}, seed=7)
    return pipeline.run(rows, run=folder / "run", store=folder / "store", **options)


@case
@pytest.mark.parametrize("name", [pytest.param("R_long1k", marks=pytest.mark.slow), "R_long"])
def test_a_refusal_that_quotes_the_request_fails_its_row(name: str, tmp_path: Path) -> None:
    def quoting(request: Received) -> Answer:
        if len(request.text) > 200:
            return refusal(400, f"unknown field seed? the prompt is too long: {request.text}")
        return chat("fine")

    rows = len(read_all(str(CASES / f"{name}.jsonl")).rows)
    with Server(quoting) as server:
        result = respond(server, str(CASES / f"{name}.jsonl"), tmp_path, allow_failed=0.1)
        assert result.summary["requests"]["sent"] == len(server.received) <= rows + 1
    assert (result.summary["kept"], result.summary["failed"]) == (rows - 1, 1)


LONG = "unsupported parameter: 'max_tokens', logprobs, response_format, stream "


@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("said", ["unknown field max_tokens", "extra inputs: max_tokens"])
def test_words_of_a_row_are_no_word_of_the_server(said: str, place: int, tmp_path: Path) -> None:
    def quoting(request: Received) -> Answer:
        if len(request.text) > 200:
            return refusal(422, f"{said}; body: {request.text}")
        return chat("fine")

    rows = [{"prompt": LONG * 5 if n == place else f"Question {n}?"} for n in range(12)]
    with Server(quoting) as server:
        result = respond(server, rows, tmp_path, allow_failed=0.1)
        assert result.summary["requests"]["sent"] == len(server.received) <= 13
        assert all("max_tokens" in r.body for r in server.received if len(r.text) < 200)
    assert [row.seq[2] for row in result.failed] == [place]
    assert result.summary["kept"] == 11


@case
def test_what_every_request_meets_ends_the_run(tmp_path: Path) -> None:
    def wrong_path(request: Received) -> Answer:
        return refusal(404, "no such path")

    with Server(wrong_path) as server:
        with pytest.raises(StoppedShort, match=r"first 16 requests alike"):
            respond(server, str(CASES / "R_many.jsonl"), tmp_path)
        assert len(server.received) < 50


# -- what stands beside the texts ------------------------------------------------------------------


@case
@pytest.mark.parametrize("number", range(9))
def test_a_system_column_is_a_turn(number: int) -> None:
    [row] = read_all(str(CASES / f"J5_{number}.jsonl")).rows
    turns = row.fields["messages" if row.kind == "sft" else "prompt"]
    assert (turns[0].role, turns[0].content) == ("system", "You are terse.")


@case
@pytest.mark.parametrize("name", ["J6", "J3_alpaca_system", "J2_orca"])
def test_a_system_column_is_sent(name: str, tmp_path: Path) -> None:
    seen = []

    def handler(request: Received) -> Answer:
        seen.append(request.body["messages"][0])
        return chat("Fig.")

    with Server(handler) as server:
        if name == "J2_orca":
            rows = [{"prompt": t["content"]} for t in asked("Name a fruit.")[:1]]
            rows = [{"system": "You are terse.", **row} for row in rows]
            respond(server, rows, tmp_path)
        else:
            respond(server, str(CASES / f"{name}.jsonl"), tmp_path)
    assert seen and all(t == {"role": "system", "content": "You are terse."} for t in seen)


@case
def test_calls_of_sharegpt_are_calls() -> None:
    [row] = read_all(str(CASES / "F1.jsonl")).rows
    record = as_shape(row, "openai_chat")
    calls = [turn["tool_calls"][0] for turn in record["messages"] if "tool_calls" in turn]
    answers = [turn for turn in record["messages"] if turn["role"] == "tool"]
    assert [json.loads(one["function"]["arguments"]) for one in calls] == [
        {"city": "Oslo"},
        {"city": "Rome"},
    ]
    assert [one["id"] for one in calls] == [one["tool_call_id"] for one in answers]
    assert len({one["id"] for one in calls}) == 2
    assert record["messages"][0] == {"role": "system", "content": "Be short."}
    assert "w" in json.dumps(record["tools"])


# -- numbers that are none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([1.5, float("inf"), float("nan")]), "column 'more'"),
        (pa.array([[0.1], [0.1, float("-inf")], []]), "column 'more'"),
        (pa.array([{"a": 1.0}, {"a": float("inf")}, None]), "column 'more'"),
    ],
)
def test_an_infinity_fails_its_row_alone(column: pa.Array, said: str, tmp_path: Path) -> None:
    import datasets

    table = pa.table({"prompt": ["a", "b", "c"], "completion": ["x", "y", "z"], "more": column})
    pq.write_table(table, tmp_path / "rows.parquet")
    for source in (str(tmp_path / "rows.parquet"), datasets.Dataset(table), table.to_pandas()):
        result = Pipeline([]).run(source, run=tmp_path / "run", allow_failed=1.0, replace=True)
        assert [row.fields["messages"][0].content for row in result.kept] == ["a", "c"]
        [failed] = result.summary["unreadable"]
        assert "infinity is not a JSON number" in failed["error"]
        assert said in failed["error"] or source is not str


def test_an_infinite_score_is_said_and_a_missing_one_is_none(tmp_path: Path) -> None:
    pair = {"prompt": ["p"] * 3, "chosen": ["x"] * 3, "rejected": ["y"] * 3}
    margins = pa.array([0.5, float("nan"), float("inf")])
    pq.write_table(pa.table({**pair, "margin": margins}), tmp_path / "pairs.parquet")
    found = read_all(str(tmp_path / "pairs.parquet"))
    assert [row.fields["margin"] for row in found.rows] == [0.5, None]
    assert [error for _, _, error, _ in found.failed] == [
        "column 'margin': infinity is not a JSON number; write null or a number"
    ]


# -- labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "labels", "wanted"),
    [
        (["undesirable", "desirable"], [1, 0], [True, False]),
        (["desirable", "undesirable"], [1, 0], [False, True]),
        (["False", "True"], [0, 1], [False, True]),
        (["chosen", "rejected"], [0, 1], [True, False]),
    ],
)
def test_a_class_label_says_what_its_name_says(
    names: list[str], labels: list[int], wanted: list[bool], tmp_path: Path
) -> None:
    import datasets

    features = datasets.Features(
        prompt=datasets.Value("string"),
        completion=datasets.Value("string"),
        label=datasets.ClassLabel(names=names),
        topic=datasets.ClassLabel(names=["art", "law"]),
    )
    rows = [
        {"prompt": f"q{n}", "completion": "a", "label": label, "topic": n - 1}
        for n, label in enumerate(labels)
    ]
    dataset = datasets.Dataset.from_list(rows, features=features)
    dataset.to_parquet(tmp_path / "rows.parquet")
    dataset.save_to_disk(tmp_path / "saved")
    for source in (dataset, str(tmp_path / "rows.parquet"), str(tmp_path / "saved")):
        found = read_all(source)
        assert [row.kind for row in found.rows] == ["unpaired"] * 2
        assert [row.fields["label"] for row in found.rows] == wanted
        # A class below 0 is none.
        assert [json.loads(row.extra)["topic"] for row in found.rows] == [None, "art"]
        assert [as_shape(row, "trl_kto")["label"] for row in found.rows] == wanted


def test_classes_of_something_else_are_their_names() -> None:
    import datasets

    features = datasets.Features(
        prompt=datasets.Value("string"),
        completion=datasets.Value("string"),
        label=datasets.ClassLabel(names=["neg", "pos"]),
        spans=datasets.Sequence(datasets.ClassLabel(names=["O", "B"])),
        inner={"kind": datasets.ClassLabel(names=["k", "l"])},
    )
    row = {"prompt": "q", "completion": "a", "label": 1, "spans": [0, 1], "inner": {"kind": 1}}
    found = read_all(datasets.Dataset.from_list([row], features=features))
    assert found.rows[0].kind == "sft"
    extra = {"label": "pos", "spans": ["O", "B"], "inner": {"kind": "l"}}
    assert {key: json.loads(found.rows[0].extra)[key] for key in extra} == extra
    wrong = datasets.Dataset.from_list([row], features=features).with_format("arrow").data.table
    wrong = wrong.set_column(2, "label", pa.array([7]))
    with pytest.raises(Exception, match="'label': the class label 7 has no name, there are 2"):
        read_all(datasets.Dataset(wrong, info=datasets.DatasetInfo(features=features)))


@pytest.mark.parametrize("label", [0, 1, "desirable", "Rejected", True])
def test_a_label_leaves_as_it_came_and_what_is_assumed_is_said(label: Any, tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a", "label": label}]
    result = run([], rows, tmp_path, output=tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == rows[0]
    assert [row.kind for row in result.kept] == ["unpaired"]
    assert ("assumed" in result.summary) == (type(label) is int)
    assert ("assumed: labels 1 and 0" in str(result.report())) == (type(label) is int)
