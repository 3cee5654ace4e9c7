"""Tables of votes, of whatever columns, become rows that `aggregate` reads."""

import json
from pathlib import Path

import pytest

from curate.errors import UsageError
from curate.pipeline import Pipeline
from curate.read.shapes import shape
from curate.read.shapes.mapped import columns_shape
from curate.read.shapes.people.votes import to_record
from curate.read.shapes.record_fields import extra_columns
from curate.row import Row
from curate.steps import Aggregate
from tests.read.reading import read_all


def texts(row: Row) -> tuple[str, str, float | None]:
    return row.chosen[0].content, row.rejected[0].content, row.fields["margin"]


def table(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


LINES = [
    "prompt,response_a,response_b,preference,worker_id,country",
    "Why?,one,two,A is much better,w1,de",
    "Why?,one,two,B is slightly better,w2,fr",
    "Why?,one,two,tie,w3,fr",
    "Why?,one,two,A is better,w4,de",
    "Why?,one,two,,w5,fr",
]


def test_a_table_of_votes_is_told_apart_and_aggregated(tmp_path: Path) -> None:
    path = table(tmp_path / "votes.csv", *LINES)
    result = Pipeline([Aggregate(group="country")]).run(
        path, run=tmp_path / "run", allow_failed=1.0
    )
    [row] = result.kept
    assert (row.chosen[0].content, row.fields["p_chosen"]) == ("one", 2.5 / 4)
    columns = extra_columns(row)
    assert columns["votes"] == {"w1": "chosen", "w2": "rejected", "w3": "tied", "w4": "chosen"}
    assert columns["groups"]["fr"] == {"votes": 2, "p_chosen": 0.25, "consensus": 0.5}
    [failed] = result.failed.to_list()
    assert failed["line"] == 6
    assert "a vote must be a string or a number, found nothing" in failed["error"]


def test_a_mapping_names_any_columns(tmp_path: Path) -> None:
    path = table(
        tmp_path / "likert.csv",
        "ask,x,y,score,who,role",
        "Why?,one,two,1,w1,nurse",
        "Why?,one,two,6,w2,doctor",
        "Why?,one,two,4,w3,doctor",
        "Why?,one,two,9,w4,doctor",
    )
    name = columns_shape(
        {"prompt": "ask", "first": "x", "second": "y", "vote": "score", "scale": "1-7",
         "annotator": "who", "group": "role"}
    )  # fmt: skip
    read = read_all(path, shape=name)
    assert [texts(row) for row in read.rows] == [
        ("one", "two", 3.0), ("two", "one", 2.0), ("one", "two", 0.0),
    ]  # fmt: skip
    assert [extra_columns(row) for row in read.rows][1] == {
        "annotator": "w2", "group": "doctor", "score": "6",
    }  # fmt: skip
    assert "outside its scale 1-7" in read.failed[0][2]
    assert [shape(name).write(row)["score"] for row in read.rows] == ["1", "6", "4"]


def test_a_strength_of_its_own_becomes_the_margin() -> None:
    name = columns_shape(
        {"prompt": "q", "first": "a", "second": "b", "vote": "winner", "strength": "by"}
    )
    records = [
        {"q": "Why?", "a": "one", "b": "two", "winner": "b", "by": "significantly better"},
        {"q": "Why?", "a": "one", "b": "two", "winner": "a", "by": "negligibly better"},
        {"q": "Why?", "a": "one", "b": "two", "winner": "tie", "by": None},
    ]
    read = read_all(records, shape=name)
    assert [row.fields["margin"] for row in read.rows] == [3.0, 0.0, 0.0]
    assert [shape(name).write(row) for row in read.rows] == records


def test_both_answers_may_begin_with_the_prompt() -> None:
    asked = [{"role": "user", "content": "Why?"}]
    record = {
        "conversation_a": [*asked, {"role": "assistant", "content": "one"}],
        "conversation_b": [*asked, {"role": "assistant", "content": "two"}],
        "model_a": "m", "model_b": "n", "winner": "model_b", "judge": "arena_user_7",
    }  # fmt: skip
    [row] = read_all([record]).rows
    assert row.prompt[0].content == "Why?"
    assert texts(row) == ("two", "one", None)
    assert shape("votes").write(row) == record


def test_a_vote_that_was_turned_does_not_leave_as_it_came() -> None:
    [row] = read_all([dict(zip(LINES[0].split(","), LINES[3].split(","), strict=True))]).rows
    changed = row._replace(fields={**row.fields, "margin": 2.0})
    with pytest.raises(ValueError, match="no longer the row's own"):
        shape("votes").write(changed)
    with pytest.raises(ValueError, match="read from no table of votes"):
        shape("votes").write(row._replace(extra=None))


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"response_a": "x"}, "one column must hold the annotator"),
        ({"annotator": "w", "judge": "v"}, "one column must hold the annotator"),
        ({"annotator": "w", "response_a": "x"}, "no two columns"),
        ({"annotator": "w", "answer1": "x", "answer2": "y"}, "one column must hold the vote"),
        ({"annotator": "w", "answer1": "x", "answer2": "y", "vote": "A", "choice": "B"},
         "one column must hold the vote, found vote, choice"),
        ({"annotator": "w", "answer1": "x", "answer2": "y", "vote": 1, "prompt": "p", "input": "i"},
         "prompt and input can both hold what was asked"),
        ({"annotator": None, "answer1": "x", "answer2": "y", "vote": 1, "prompt": "p"},
         "column 'annotator' must name someone, found nothing"),
        ({"annotator": "w", "answer1": "x", "answer2": [], "vote": 1, "prompt": "p"},
         "column 'answer2' must be a string or a list of turns"),
        ({"worker_id": "w", "annotator": 1.5, "answer1": "x", "answer2": "y", "vote": 1},
         "one column must hold the annotator"),
    ],
)  # fmt: skip
def test_what_is_unclear_is_named(record: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_record(record)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"first": "a", "second": "b"}, "'vote' is missing"),
        ({"first": "a", "vote": "v"}, "'second' is missing"),
        ({"first": "a", "second": "b", "vote": "v", "response": "r"}, "unknown part 'response'"),
        ({"first": "a", "second": "b", "vote": "v", "scale": "7"}, "a scale is written LOW-HIGH"),
        ({"first": "a", "second": "b", "vote": None}, "'vote' names no column"),
    ],
)
def test_a_mapping_that_makes_no_vote_is_refused(columns: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        columns_shape(columns)


def test_a_column_that_would_be_lost_is_named() -> None:
    name = columns_shape({"first": "a", "second": "b", "vote": "v", "annotator": "w"})
    read = read_all([{"a": "x", "b": "y", "v": "a", "w": "1", "annotator": "2"}], shape=name)
    assert "column 'annotator' would be lost beside 'w'" in read.failed[0][2]


def test_forms_of_other_datasets_stay_theirs() -> None:
    alpaca_eval = {"instruction": "i", "output_1": "x", "output_2": "y", "annotator": "gpt",
                   "preference": 1.5}  # fmt: skip
    assert read_all([alpaca_eval]).rows[0].kind == "ranked"
    assert json.loads(read_all([alpaca_eval]).rows[0].extra or "{}")["annotator"] == "gpt"
