"""Label Studio's exports become votes, the same ones in every form."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from curate.read.shapes import shape
from curate.read.shapes.people.label_studio import instances
from curate.read.shapes.record_fields import extra_columns
from tests.read.reading import read_all

DATA = Path(__file__).with_name("data")
SKY, PAINT = "Light scatters.", "It is painted."
EXPECTED = {
    "pairwise": {("anna@example.org", SKY, PAINT, None), ("2", PAINT, SKY, None)},
    "choices": {("1", PAINT, SKY, None), ("2", SKY, PAINT, 0.0)},
}


@pytest.mark.parametrize("how", EXPECTED)
@pytest.mark.parametrize("form", [".json", "_min.json", ".csv"])
def test_every_export_has_the_same_votes(how: str, form: str) -> None:
    read = read_all(str(DATA / f"label_studio_{how}{form}"))
    assert read.failed == []
    found = [
        (str(extra_columns(r)["annotator"]), r.chosen[0].content, r.rejected[0].content,
         r.fields["margin"])
        for r in read.rows
    ]  # fmt: skip
    assert set(found) == EXPECTED[how]
    assert len(found) == 2
    assert {r.prompt[0].content for r in read.rows} == {"Why is the sky blue?"}


@pytest.mark.parametrize("how", EXPECTED)
def test_each_vote_goes_back_as_its_task(how: str) -> None:
    path = DATA / f"label_studio_{how}.json"
    tasks = [one for task in json.loads(path.read_text()) for one in instances(task)]
    rows = read_all(str(path)).rows
    assert [shape("label_studio").write(row) for row in rows] == tasks
    small = DATA / f"label_studio_{how}_min.json"
    rows = read_all(str(small)).rows
    assert [shape("votes").write(row) for row in rows] == json.loads(small.read_text())


def task(**results: Any) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(
        json.loads((DATA / "label_studio_pairwise.json").read_text())[0]
    )
    del found["annotations"][1:]
    if results:
        found["annotations"][0]["result"] = [
            {"from_name": name, "value": value} for name, value in results.items()
        ]
    return found


def test_two_ratings_are_compared_and_levels_kept() -> None:
    rated = task(answer1_stars={"rating": 2}, answer2_stars={"rating": 5}, note={"text": ["hm"]})
    [row] = read_all([rated]).rows
    assert (row.chosen[0].content, row.fields["margin"]) == (PAINT, 3.0)
    level = task(level={"choices": ["answer1 is slightly better"]})
    assert read_all([level]).rows[0].fields["margin"] == 1.0


def without(one: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        del one["annotations"][0][name]
    return one


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (task(a={"selected": "left"}, b={"choices": ["answer2"]}), "several things compare"),
        (task(stars={"rating": 4}), "nothing says which answer is better; 'stars'"),
        (task(note={"text": ["fine"]}), "nothing says which answer is better"),
        (without(task(), "completed_by"), "'completed_by' must name a person, found nothing"),
        (without(task(), "result"), "'result' must be a list of objects, found nothing"),
        ({**task(), "annotations": []}, "the task has 0 that were not cancelled"),
        ({**task(), "data": {"text": "x"}}, "no two columns can hold the two answers"),
    ],
)
def test_what_is_no_vote_is_a_failed_record(given: dict[str, Any], said: str) -> None:
    read = read_all([given], shape="label_studio")
    assert read.rows == []
    assert said in read.failed[0][2]


def test_cancelled_annotations_alone_fail_the_task() -> None:
    one = task()
    one["annotations"][0]["was_cancelled"] = True
    assert "0 that were not cancelled" in read_all([one]).failed[0][2]


def test_a_vote_of_another_shape_is_no_task_whatever_its_columns_are_called() -> None:
    vote = {"prompt": "Q?", "response_a": "a", "response_b": "b", "winner": "model_a"}
    vote |= {"annotator": "anna"}
    [row] = read_all([{**vote, "data": {"text": "x"}}], shape="votes").rows
    for name, source in (
        ("label_studio", "task of Label Studio"),
        ("argilla", "record of Argilla"),
    ):
        writes = shape(name).from_row
        assert writes is not None
        with pytest.raises(ValueError, match=f"it was read from no {source}"):
            writes(row)
