"""The lines that say how rows ended, and the numbers of a step."""

import json
import operator
from collections import Counter
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.engine.ledger import (
    DROPPED,
    OUTCOMES,
    SCHEMA,
    LedgerBuilder,
    StepTally,
    dumps,
    plain,
    record_outcomes,
)
from curate.row import Row


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(1, 3), (3, 4)], 3),
        ([(5, 6), (1, 3), (2, 4)], 4),
        ([(1, 9), (2, 3), (4, 5)], 8),
    ],
)
def test_parts_that_a_step_works_on_at_once_count_once(spans, seconds):
    tally = StepTally()
    for span in spans:
        tally.add(StepTally(spans=[span]))
    assert tally.seconds == seconds
    assert tally.to_json("a", "b")["seconds"] == seconds


def test_work_is_noted_from_its_beginning():
    tally = StepTally()
    tally.worked(-1e9)
    assert tally.seconds > 1e9


IDS = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
LINES = st.lists(
    st.fixed_dictionaries(
        {
            "place": st.integers(0, 3),
            "outcome": st.integers(1, 4),
            "reason": st.none() | st.sampled_from(["short", "long"]),
            "score": st.none() | st.floats(-2, 2),
            "detail": st.none() | st.just({"a": 1}),
            "partner": st.none() | IDS,
            "parents": st.none() | st.lists(IDS, min_size=1, max_size=2),
        }
    ),
    max_size=8,
)


@given(LINES, st.integers(0, 99))
def test_lines_are_written_by_seq_as_they_were_said_and_counted(lines, passing):
    builder, rows = LedgerBuilder("a step"), []
    for number, line in enumerate(lines):
        row = Row(f"{number:032x}", (0, 0, line["place"]), "sft", {})
        rows.append({**line, "row": row.id})
        builder.add(row, **{name: said for name, said in line.items() if name != "place"})
    ordered = sorted(rows, key=lambda line: line["place"])
    label, table, tally = builder.record(len(lines) + passing)
    assert (label, table.schema) == ("a step", SCHEMA)

    def blob(text):
        return None if text is None else bytes.fromhex(text)

    assert table.to_pylist() == [
        {
            "row": blob(line["row"]),
            "step": "a step",
            "outcome": OUTCOMES[line["outcome"]],
            "reason": line["reason"],
            "score": line["score"],
            "detail": None if line["detail"] is None else '{"a":1}',
            "partner": blob(line["partner"]),
            "parents": line["parents"] and [blob(one) for one in line["parents"]],
        }
        for line in ordered
    ]
    ended = Counter(OUTCOMES[line["outcome"]] for line in lines)
    assert tally.entered == len(lines) + passing
    for name in ("made", "used", "dropped", "failed"):
        assert getattr(tally, name) == ended[name]
    assert tally.kept == tally.entered + ended["made"] - (
        ended["used"] + ended["dropped"] + ended["failed"]
    )
    assert tally.reasons == Counter(r["reason"] for r in lines if r["outcome"] == DROPPED)


def test_a_step_may_say_no_more_than_how_rows_ended():
    ids = pa.array([b"1" * 16, b"2" * 16], pa.binary(16))
    outcomes = np.array([DROPPED, DROPPED], np.int8)
    _, table, tally = record_outcomes("a", ids, outcomes, entered=5)
    assert (tally.dropped, tally.kept, dict(tally.reasons)) == (2, 3, {})
    for name in ("reason", "score", "detail", "partner", "parents"):
        assert table.column(name).null_count == 2


COUNTS = ("entered", "made", "used", "dropped", "failed", "rewritten")
TALLIES = st.builds(
    lambda counts, reasons, remarks: StepTally(
        **dict(zip(COUNTS, counts, strict=True)), reasons=Counter(reasons), remarks=tuple(remarks)
    ),
    st.tuples(*[st.integers(0, 9)] * len(COUNTS)),
    st.lists(st.sampled_from(["short", "long", "odd"])),
    st.lists(st.sampled_from(["slow", "dense"]), unique=True),
)


@given(st.lists(TALLIES, max_size=4))
def test_the_numbers_of_parts_add_up(parts):
    told = StepTally()
    for part in parts:
        told.add(part)
    for name in COUNTS:
        assert getattr(told, name) == sum(getattr(part, name) for part in parts)
    assert told.reasons == reduce(operator.add, (p.reasons for p in parts), Counter())
    # Each remark once, in the order in which they came.
    assert told.remarks == tuple(dict.fromkeys(text for part in parts for text in part.remarks))
    report = told.to_json("a", "b")
    assert list(report["reasons"].items()) == sorted(
        told.reasons.items(), key=lambda item: (-item[1], item[0])
    )
    names = {"in": "entered", "kept": "kept", **{n: n for n in COUNTS[1:5]}}
    assert {name: report[name] for name in names} == {n: getattr(told, o) for n, o in names.items()}
    # What most steps never have is not there.
    assert report.get("rewritten", 0) == told.rewritten
    assert report.get("remarks", []) == list(told.remarks)
    assert ("rewritten" in report, "remarks" in report) == (told.rewritten > 0, bool(told.remarks))


def test_details_are_the_same_text_in_every_process():
    class Odd:
        def __repr__(self):
            return f"<odd at {hex(id(self))}>"

    assert dumps(None) is None
    assert dumps({"é": [1, None]}) == '{"é":[1,null]}'
    assert (
        dumps({"a": {"b", "a", "c"}, "b": frozenset([2, 10])}) == '{"a":["a","b","c"],"b":[10,2]}'
    )
    assert plain(Odd()) == "<odd>"
    assert dumps({"a": {Odd()}}) == '{"a":["<odd>"]}'
    half = dumps({"é": "\ud800", "b": {Odd()}})
    assert half == '{"\\u00e9":"\\ud800","b":["<odd>"]}'
    assert json.loads(half)["é"] == "\ud800"
