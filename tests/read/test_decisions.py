"""The file in which people's decisions about rows stand."""

import json
from pathlib import Path

import pytest

from curate.errors import InputError
from curate.read.decisions import Decision, read_decisions

ONE, TWO = "0" * 31 + "1", "0" * 31 + "2"


def written(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def decision(row=ONE, annotator="anna", decision="keep", **rest):
    return {"row": row, "annotator": annotator, "decision": decision, **rest}


def test_json_lines_and_a_table_hold_the_same_decisions(tmp_path: Path) -> None:
    records = [
        decision(time="2026-11-29T10:00:00Z", group="de", comment="fine, really"),
        decision(annotator="ben", decision="rating", value=3.5),
        decision(TWO, decision="chosen", value="rejected"),
        decision(TWO, "ben", "chosen", value=2),
        decision(TWO, "cleo", "chosen", value=True),
        decision(TWO, "dan", "ranks", value=[3, 1, 1]),
        decision(TWO, "dora", "text", value="Better, so:\n\n1. wait"),
    ]
    lines = read_decisions(written(tmp_path / "a.jsonl", *records))
    table = tmp_path / "a.csv"
    names = ("row", "annotator", "decision", "value", "time", "group", "comment")
    cells = [['"' + str(r.get(n, "")).replace('"', '""') + '"' for n in names] for r in records]
    table.write_text("\n".join(",".join(line) for line in [names, *cells]) + "\n")
    assert read_decisions(str(table)) == lines
    assert lines[ONE][0] == Decision(ONE, "anna", "keep", None, 1795946400.0, "de", "fine, really")
    assert [one.value for one in lines[TWO]] == [
        "rejected",
        2,
        True,
        (3, 1, 1),
        "Better, so:\n\n1. wait",
    ]
    assert lines[ONE][1].told() == {"annotator": "ben", "decision": "rating", "value": 3.5}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_later_decision_of_a_person_counts(order: tuple[int, ...], tmp_path: Path) -> None:
    records = [
        decision(time="2026-11-29T10:00:00"),
        decision(decision="drop", time="2026-11-29T13:00:00+02:00"),
        decision(decision="rating", value=1, time=3),
    ]
    found = read_decisions(written(tmp_path / "a.jsonl", *(records[n] for n in order)))
    assert [one.decision for one in found[ONE]] == ["drop", "rating"]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([decision(), decision(decision="drop")], ":2: 'anna' decided otherwise about row 0"),
        ([decision(time=1), decision(decision="drop")], "give both a `time`"),
        ([decision(time=1), decision(decision="drop", time=1)], "give both a `time`"),
        ([decision("17")], ":1: row must be a row's id, 32 of 0-9 and a-f, found '17'"),
        ([decision(decision="maybe")], "decision must be one of keep, drop, chosen, ranks"),
        ([decision(annotator=" ")], "annotator must be a printable name"),
        ([decision(annotator="an\x1b[31mna")], "annotator must be a printable name"),
        ([decision(annotator=True)], "annotator must be a printable name"),
        ([decision(annotator="x" * 41)], "of up to 40 letters"),
        ([decision(value=1)], "'keep' takes no value, found 1"),
        ([decision(decision="rating")], "the value of a rating must be a number, found None"),
        ([decision(decision="rating", value="nan")], "must be a number, found 'nan'"),
        ([decision(decision="rating", value=True)], "must be a number, found True"),
        ([decision(decision="chosen", value="left")], "must be chosen, rejected or tied"),
        ([decision(decision="chosen", value=0)], "a candidate's number from 1 on"),
        ([decision(decision="chosen", value=1.5)], "a candidate's number from 1 on"),
        ([decision(decision="ranks", value=[2, 0])], "a rank for each candidate, whole numbers"),
        ([decision(decision="ranks", value=[1])], "as in [2, 1, 3], found [1]"),
        ([decision(decision="ranks", value="1,b")], "found '1,b'"),
        ([decision(decision="ranks", value=2)], "found 2"),
        ([decision(decision="text", value=" ")], "the value of 'text' must be a string"),
        ([decision(time="yesterday")], "time must be ISO 8601"),
        ([decision(note="x")], "unknown column 'note'; a decision has row, annotator, decision"),
        ([decision(comment=3)], "comment must be a string, found the number 3"),
        (["keep"], ":1: "),
    ],
)
def test_what_is_no_decision_is_refused_with_its_place(
    records: list[object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"a\.jsonl") as caught:
        read_decisions(written(tmp_path / "a.jsonl", *records))
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [[1, 1, 2], [2.0, 2.0, 9], "1,1,3", "[5, 5, 6]", ["1", "1", "2"]])
def test_ranks_of_one_order_are_one_decision(value: object, tmp_path: Path) -> None:
    found = read_decisions(written(tmp_path / "a.jsonl", decision(decision="ranks", value=value)))
    assert found[ONE][0].value == (1, 1, 3)


def test_the_same_decision_twice_is_one(tmp_path: Path) -> None:
    found = read_decisions(written(tmp_path / "a.jsonl", decision(), decision(time=4)))
    assert found == {ONE: (Decision(ONE, "anna", "keep", time=4.0),)}


def test_a_file_without_decisions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("row,annotator,decision\n")
    with pytest.raises(InputError):
        read_decisions(str(tmp_path / "a.csv"))
    with pytest.raises(InputError, match="no such file"):
        read_decisions(str(tmp_path / "b.jsonl"))
