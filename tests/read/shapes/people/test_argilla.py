"""Argilla's own exports, of both versions, become votes and go back."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from curate.read.shapes import shape
from curate.read.shapes.people.argilla import instances
from curate.read.shapes.record_fields import extra_columns
from tests.read.reading import read_all

DATA = Path(__file__).with_name("data")
ANNA, BEN, CLEO = (f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2, 3))
SKY, PAINT = "Light scatters.", "It is painted."


def votes(name: str) -> list[tuple[Any, ...]]:
    read = read_all(str(DATA / name))
    assert read.failed == []
    return [
        (r.chosen[0].content, r.rejected[0].content, r.fields["margin"],
         extra_columns(r)["annotator"])
        for r in read.rows
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("argilla_v1.json", [(SKY, PAINT, 3.0, ANNA), (PAINT, SKY, 1.0, BEN)]),
        ("argilla_v1_flat.json", [(SKY, PAINT, 3.0, ANNA), (PAINT, SKY, 1.0, BEN)]),
        (
            "argilla_v2_flat.json",
            [(SKY, PAINT, None, ANNA), (PAINT, SKY, None, BEN), ("4", "5", 0.0, ANNA)],
        ),
        (
            # This export does not say that the third response was discarded.
            "argilla_v2.json",
            [
                (SKY, PAINT, None, ANNA), (PAINT, SKY, None, BEN), (SKY, PAINT, 0.0, CLEO),
                ("4", "5", 0.0, ANNA),
            ],
        ),
        (
            "argilla_v2_ranking.json",
            [("Oak", "Rock", None, ANNA), ("Oak", "Elm", 0.0, ANNA), ("Elm", "Rock", None, ANNA)],
        ),
        ("argilla_v2_ratings.json", [("Oak", "Rock", 3.0, ANNA), ("Oak", "Rock", 0.0, BEN)]),
    ],
)  # fmt: skip
def test_exports_are_read_as_votes(name: str, expected: list[tuple[Any, ...]]) -> None:
    assert votes(name) == expected


@pytest.mark.parametrize("path", sorted(DATA.glob("argilla_*.json")), ids=lambda p: p.stem)
def test_each_vote_goes_back_as_its_record(path: Path) -> None:
    records = [one for record in json.loads(path.read_text()) for one in instances(record)]
    rows = read_all(str(path)).rows
    assert [shape("argilla").write(row) for row in rows] == records


def test_what_a_model_suggested_stays() -> None:
    row = read_all(str(DATA / "argilla_v2.json")).rows[0]
    assert extra_columns(row)["suggestions"]["preference"]["agent"] == "judge"
    assert extra_columns(row)["metadata"] == {"country": "de"}


def record() -> dict[str, Any]:
    return copy.deepcopy(json.loads((DATA / "argilla_v2.json").read_text())[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["responses"].clear(), "nobody has submitted a response"),
        (lambda r: r["responses"].pop("preference"), "nothing says which answer is better"),
        (
            lambda r: r["responses"].update(style=[{"value": "response_b", "user_id": "x"}]),
            "several things compare the answers: preference, style",
        ),
        (lambda r: r["fields"].pop("response_b"), "no two columns can hold the two answers"),
        (lambda r: r["fields"].update(question="q"), "prompt and question can both hold"),
        (lambda r: r["responses"]["preference"].append({"value": "A"}), "written otherwise"),
        (lambda r: r["responses"].update(preference=[3]), "written otherwise"),
        (lambda r: r["responses"]["preference"][0].update(user_id=None), "has no user"),
        (lambda r: r.update(annotator="me"), "column 'annotator' would be lost"),
    ],
)
def test_what_is_no_vote_is_a_failed_record(change: Any, said: str) -> None:
    broken = record()
    change(broken)
    read = read_all([broken], shape="argilla")
    assert read.rows == []
    assert said in read.failed[0][2]


def test_a_chat_field_is_a_conversation() -> None:
    one = record()
    one["fields"]["prompt"] = [{"role": "user", "content": "Why?"}]
    one["responses"]["preference"] = one["responses"]["preference"][:1]
    [row] = read_all([one]).rows
    assert row.prompt[0].content == "Why?"
    assert shape("argilla").write(row) == instances(one)[0]


def test_a_flat_record_whose_lists_differ_fails() -> None:
    one = json.loads((DATA / "argilla_v2_flat.json").read_text())[1]
    one["preference.responses.users"] = []
    assert "has 1 responses of 0 users" in read_all([one], shape="argilla").failed[0][2]


@pytest.mark.parametrize("rank", [None, "1", True])
def test_a_ranking_that_leaves_an_answer_out_fails(rank: Any) -> None:
    [one] = json.loads((DATA / "argilla_v2_ranking.json").read_text())[:1]
    one["responses"]["ranking"][0]["value"][1]["rank"] = rank
    read = read_all([one], shape="argilla")
    assert "leaves an answer without a rank" in read.failed[0][2]


def test_a_rating_that_no_float_holds_fails() -> None:
    one = json.loads((DATA / "argilla_v2_ratings.json").read_text())[0]
    for given in one["responses"].values():
        given[:] = [{**given[0], "value": 10**400}]
    read = read_all([one], shape="argilla")
    assert (read.rows, len(read.failed)) == ([], 1)
