"""Tables of texts hold records of every shape: lists, numbers and flags stand in their cells."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError
from curate.read import open_inputs
from curate.read.shapes.record_fields import extra_columns
from tests.read.reading import read_all


def read_csv(folder, text):
    """Return the shape, the rows and the errors of a CSV file."""
    path = folder / "rows.csv"
    path.write_text(text, encoding="utf-8")
    [file] = open_inputs(str(path)).files
    found = read_all(str(path))
    return file.shape, found.rows, [error for _, _, error, _ in found.failed]


@pytest.mark.parametrize("written", [("true", "false"), ("True", "False"), ("1", "0")])
def test_labels_are_flags(tmp_path, written):
    lines = "".join(f"p,c,{label}\n" for label in written)
    shape, rows, _ = read_csv(tmp_path, "prompt,completion,label\n" + lines)
    assert shape == "unpaired"
    assert [row.fields["label"] for row in rows] == [True, False]


def test_a_label_of_another_sort_is_an_extra_column(tmp_path):
    shape, [row], _ = read_csv(tmp_path, "prompt,completion,label\np,c,spam\n")
    assert (shape, extra_columns(row)) == ("prompt_completion", {"label": "spam"})


def test_numbers_may_be_missing_and_must_be_numbers(tmp_path):
    text = "prompt,chosen,rejected,margin\np,c,r,0.5\np,c,r,\np,c,r,NaN\n"
    shape, rows, errors = read_csv(tmp_path, text)
    assert shape == "preference"
    assert [row.fields["margin"] for row in rows] == [0.5, None]
    assert errors == ["column 'margin' must be a number, found a string"]


def test_votes_are_numbers(tmp_path):
    text = "instruction,input,response1,response2,annotator1,annotator2\ndo,,a,b,1,0\n"
    shape, [row], _ = read_csv(tmp_path, text)
    assert (shape, [c.score for c in row.candidates]) == ("pandalm", [0.75, 0.25])


def test_lists_are_json_text_and_a_prompt_may_begin_like_one(tmp_path):
    answers = '"[""x"", ""y""]"'
    text = f'instruction,responses,rewards_a\ndo,{answers},"[0.5, {{""score"": 1}}]"\n'
    shape, [row], _ = read_csv(tmp_path, text)
    assert (shape, [c.score for c in row.candidates]) == ("responses", [0.5, 1.0])
    _, [row], _ = read_csv(tmp_path, 'prompt,completion\n"[1, 2]",c\n')
    assert row.messages[0].content == "[1, 2]"


def test_a_parquet_file_with_a_column_twice_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table([["a"], ["b"], ["c"]], ["instruction", "output", "output"]), path)
    with pytest.raises(InputError, match="two columns are called 'output'"):
        read_all(str(path))


def test_tables_give_all_turns_the_keys_of_all_dialects(tmp_path):
    human = {"from": "human", "value": "hi", "role": None, "content": None}
    user = {"from": None, "value": None, "role": "user", "content": "hi"}
    table = pa.Table.from_pylist([{"conversations": [human]}, {"conversations": [user]}])
    pq.write_table(table, tmp_path / "rows.parquet")
    found = read_all(str(tmp_path / "rows.parquet"))
    assert found.failed == []
    assert [row.messages[0].role for row in found.rows] == ["user", "user"]


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ({"from": "human", "value": "a", "role": "user"}, "has 'role' beside 'from' and 'value'"),
        ({"role": "user", "content": "a", "from": "web"}, "has 'from' beside 'role' and 'content'"),
    ],
)
def test_a_turn_of_two_dialects_is_refused(turn, message):
    [failure] = read_all([{"conversations": [turn]}], shape="sharegpt").failed
    assert message in failure[2]


def test_a_number_that_would_be_rounded_is_refused():
    pair = {"prompt": "p", "chosen": "c", "rejected": "r"}
    found = read_all([pair | {"margin": 2**53}, pair | {"margin": 2**53 + 1}])
    assert [row.fields["margin"] for row in found.rows] == [2.0**53]
    assert "no float64 holds exactly" in found.failed[0][2]
