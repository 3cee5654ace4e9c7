"""Rows of a run are found by id, by place, and as examples of every reason."""

import json
from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.pipeline import Result
from curate.row import Row
from curate.runs.lookup import id_of
from curate.steps import Exact, Length, Pii, Rubric

INPUTS = {"one": "folder/a.jsonl", "many": "more/*.jsonl"}


def stumble(row: Row) -> bool:
    if "bad" in row.whole:
        raise RuntimeError("a bad word")
    return True


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """A run over three files in which a row is rewritten, and rows end in every way."""
    monkeypatch.chdir(tmp_path)
    files = {
        "folder/a.jsonl": ["yes", "write to jane@acme.org now", "this is kept whole"],
        "more/a.jsonl": ["a bad word here", "no", "this is kept whole"],
        "more/b.jsonl": ["the last one there is"],
    }
    for name, texts in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        lines = [json.dumps({"instruction": "Say it.", "output": text}) for text in texts]
        Path(name).write_text("\n".join([*lines, '{"broken'] if "b." in name else lines) + "\n")
    steps = [Length(min=2), stumble, Pii(), Exact()]
    return Pipeline(steps, inputs=INPUTS).run(run="r", allow_failed=1.0)


def texts_at(result: Result, *places: str) -> list[str]:
    ids = {row.id: row.response for row in (*result.kept, *result.used, *result.dropped)}
    return [ids[id_of(result.folder, place, result.recipe["inputs"])] for place in places]


def test_a_place_is_a_file_and_a_record(result: Result) -> None:
    places = ("folder/a.jsonl:1", "more/a.jsonl:2", "b.jsonl:1")
    assert texts_at(result, *places) == ["yes", "no", "the last one there is"]


def test_a_rewritten_record_is_found_as_it_was_read(result: Result) -> None:
    assert texts_at(result, "folder/a.jsonl:2") == ["write to jane@acme.org now"]


def test_a_line_that_could_not_be_read_is_found(result: Result) -> None:
    life = result.explain("b.jsonl:2")
    assert (life.outcome, life.origin) == ("failed", "more/b.jsonl, line 2")


def test_an_unreadable_line_is_found_by_the_number_that_the_report_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = '{"instruction": "Say it.", "output": "%s"}'
    Path("a.jsonl").write_text("\n\n" + "\n".join([good % "one", "{", good % "two", "[", "{"]))
    Path("a.csv").write_text("instruction,output\nSay it.,one\nSay it\n")
    inputs = {"lines": "a.jsonl", "table": "a.csv"}
    result = Pipeline([Length(min=1)], inputs=inputs).run(run="r", allow_failed=1.0)
    told = [f"{one['file']}:{one['line']}" for one in result.summary["unreadable"]]
    assert told == ["a.jsonl:4", "a.jsonl:6", "a.jsonl:7", "a.csv:3"]
    # The fourth line is the second record, and the fourth record is the sixth line: both are meant.
    with pytest.raises(
        UsageError, match=r"'a.jsonl:4' is two rows: record 4 is \w{32}, and line 4"
    ):
        result.explain("a.jsonl:4")
    for place in told[1:]:
        assert result.explain(place).origin == place.replace(":", ", line ")
    assert result.explain("a.jsonl:3").origin == "a.jsonl, record 3"


def test_what_is_not_there_or_not_clear_is_said(result: Result) -> None:
    wrong = {
        "a.jsonl:1": "2 rows are 'a.jsonl:1'",
        "b.jsonl:3": "b.jsonl has no record 3: r read 2 of it, counted from 1",
        "c.jsonl:1": "'c.jsonl' is not an input of this run; it read folder/a.jsonl, more/a.jsonl",
        "hello": "'hello' is not a row: give the first digits of its id, or FILE:NUMBER",
        "": "'' is not a row",
    }
    for text, says in wrong.items():
        with pytest.raises(UsageError, match=says):
            id_of(result.folder, text, result.recipe["inputs"])


def test_every_reason_has_its_first_rows(result: Result) -> None:
    found = result.examples(1)
    assert [(one.step, one.outcome, one.count) for one in found] == [
        ("read", "failed", 1),
        ("length", "dropped", 2),
        ("stumble", "failed", 1),
        ("exact", "dropped", 1),
    ]
    shown = [list(one.texts.values()) for one in found]
    assert shown == [
        [('{"broken', "")],
        [("Say it.", "yes")],
        [("Say it.", "a bad word here")],
        [("Say it.", "this is kept whole")],
    ]
    more = result.examples(5)
    assert [len(one.ids) for one in more] == [1, 2, 1, 1]


def test_a_life_prints_as_a_few_lines(result: Result) -> None:
    life = result.explain("more/a.jsonl:3")
    kept = id_of(result.folder, "folder/a.jsonl:3", result.recipe["inputs"])
    assert str(life).splitlines() == [
        f"row {life.id}, dropped",
        "came from more/a.jsonl, record 3",
        "length: passed (score 4)",
        f"exact: dropped: exact duplicate (score 1), because of {kept}",
    ]


def test_errors_that_differ_by_the_reply_they_show_are_one_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    replies = [{"when": {"contains": f"number {n}"}, "reply": f"it is {n} good"} for n in range(2)]
    Path("r.jsonl").write_text("".join(json.dumps(one) + "\n" for one in replies))
    texts = ("number 0", "number 1", "number 1, again")
    rows = [{"instruction": "Say it.", "output": text} for text in texts]
    steps = [Rubric(model="m", at_least=3)]
    recipe = Pipeline(steps, models={"m": "scripted:r.jsonl"})
    result = recipe.run(rows, run="r", allow_failed=1.0)
    [one] = result.examples(3)
    assert (one.count, len(one.ids)) == (3, 3)
    assert "number" in one.reason and "good" not in one.reason
    assert "'it is 1 good' and 1 other reply\n" in str(result.report())
    # A single error is shown with its reply.
    alone = recipe.run(rows[1:], run="alone", allow_failed=1.0)
    [one] = alone.examples(3)
    assert one.count == 2 and one.reason.endswith(": 'it is 1 good'")
    assert "other repl" not in str(alone.report())


def test_errors_of_a_step_that_asks_nobody_stay_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def check(row: Row) -> bool:
        if "plain" in row.response:
            raise ValueError(f"it is not allowed: {row.response!r}")
        return {"fine": True}[row.response]

    texts = ("a", "b", "plain a", "plain b", "fine")
    rows = [{"instruction": "Say it.", "output": text} for text in texts]
    result = Pipeline([check]).run(rows, run="r", allow_failed=1.0)
    errors = ["KeyError: 'a'", "KeyError: 'b'"]
    errors += [f"ValueError: it is not allowed: 'plain {key}'" for key in "ab"]
    assert [(one.reason, one.count) for one in result.examples(3)] == [(e, 1) for e in errors]
    assert [one.reason for one in result.examples(3, step="check")] == errors
    said = str(result.report())
    assert all(f"  {error}\n" in said for error in errors) and "repl" not in said
