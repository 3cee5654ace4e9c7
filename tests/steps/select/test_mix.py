"""The step `mix`: rows dropped and repeated until each task has its share."""

import json
from collections import Counter

import pytest

from curate.pipeline import Pipeline
from curate.steps.select.mix import Mix


def rows_of(conversation, sources):
    return [
        conversation(f"question {n}", "a")._replace(
            source=source[0], seq=(0, 0, n), extra=json.dumps({"task": source})
        )
        for n, source in enumerate(sources)
    ]


def taken(verdicts, rows):
    """Return how many rows of each task there are, copies included."""
    counts = Counter()
    repeats = [1] * len(rows) if verdicts.repeats is None else verdicts.repeats.tolist()
    for row, code, times in zip(rows, verdicts.code.tolist(), repeats, strict=True):
        counts[json.loads(row.extra)["task"]] += times if code < 0 else 0
    return +counts


SOURCES = ["a1"] * 12 + ["a2"] * 4 + ["b1"] * 8


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, {"a1": 12, "a2": 4, "b1": 8}),
        ({"per": "task", "cap": 6}, {"a1": 6, "a2": 4, "b1": 6}),
        ({"per": "task", "caps": {"b1": 1}}, {"a1": 12, "a2": 4, "b1": 1}),
        ({"per": "task", "count": 6}, {"a1": 3, "a2": 1, "b1": 2}),
        ({"per": "task", "weights": {"a1": 1, "a2": 1, "b1": 1}}, {"a1": 4, "a2": 4, "b1": 4}),
        (
            {"per": "task", "weights": {"a1": 1, "a2": 1, "b1": 1}, "count": 24, "repeat": 2},
            {"a1": 8, "a2": 8, "b1": 8},
        ),
        ({"per": "task", "within": "source", "weights": {"a": 3, "b": 1}, "count": 16},
         {"a1": 9, "a2": 3, "b1": 4}),
        ({"per": "task", "within": "source", "cap": 4, "weights": {"a": 1, "b": 1}, "count": 8},
         {"a1": 2, "a2": 2, "b1": 4}),
        ({"weights": {"a": 1, "b": 0}}, {"a1": 12, "a2": 4}),
    ],
)  # fmt: skip
def test_counts_are_those_of_the_closed_form(fields, counts, conversation, decide):
    rows = rows_of(conversation, SOURCES)
    verdicts = decide(Mix(**fields), rows)
    assert taken(verdicts, rows) == counts
    assert verdicts.figures["rows"] == sum(counts.values())


def test_a_larger_count_keeps_the_rows_of_a_smaller_one(conversation, decide):
    rows = rows_of(conversation, ["a1"] * 40)
    small, large = (decide(Mix(count=count), rows).code < 0 for count in (10, 20))
    assert (small <= large).all()
    assert (small.sum(), large.sum()) == (10, 20)
    repeated = decide(Mix(count=50, repeat=2), rows).repeats
    # Those that come first are those that are there twice.
    assert ((repeated == 2) == small).all()


def test_the_preset_is_flans(conversation, decide):
    groups = ["flan2021"] * 90 + ["t0"] * 90 + ["niv2"] * 90 + ["cot"] * 90 + ["dialog"] * 90
    rows = [
        row._replace(source=group)
        for row, group in zip(rows_of(conversation, ["a1"] * 450), groups, strict=True)
    ]
    figures = decide(Mix(preset="flan2022", count=100), rows).figures
    shares = {name: figures[f"{name}: share"] for name in dict.fromkeys(groups)}
    assert shares == {"flan2021": 0.4, "t0": 0.32, "niv2": 0.2, "cot": 0.05, "dialog": 0.03}
    some = decide(Mix(preset="flan2022", count=90, caps={"cot": 5}), rows[180:360]).figures
    assert (some["niv2: rows"], some["cot: rows"]) == (72, 18)
    with pytest.raises(ValueError, match="weights has no 'math'; it has flan2021"):
        decide(Mix(preset="flan2022"), [row._replace(source="math") for row in rows])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cap": 0}, "cap is 0"),
        ({"count": -1}, "count is -1"),
        ({"caps": {"a": 0}}, "a is 0"),
        ({"weights": {"a": -0.5}}, "must not be negative"),
        ({"weights": {"a": 0.0}}, "all weights are 0"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"repeat": 0.5}, "repeat is 0.5"),
    ],
)
def test_rates_that_are_none_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Mix(**fields).check()


def test_a_name_that_no_row_has_is_refused(conversation, decide):
    rows = rows_of(conversation, SOURCES)
    for fields in ({"caps": {"c": 1}}, {"weights": {"a": 1, "b": 1, "c": 1}}):
        with pytest.raises(ValueError, match=r"name 'c', but no row is of it \(known: a, b; "):
            decide(Mix(**fields), rows)
    assert len(decide(Mix(weights={"a": 1}), []).code) == 0


def test_copies_are_rows_made_of_theirs(tmp_path):
    rows = [{"prompt": f"question {n}", "completion": "a"} for n in range(5)]
    many = [{"prompt": f"other {n}", "completion": "b"} for n in range(20)]
    inputs = {"few": {"path": rows}, "many": {"path": many}}
    weights = {"few": 1, "many": 1}
    result = Pipeline([Mix(weights=weights, count=26, repeat=3)]).run(inputs, run=tmp_path / "r")
    counts = result.summary
    assert (counts["in"], counts["made"], counts["kept"], counts["dropped"]) == (25, 8, 26, 7)
    kept = list(result.kept)
    assert [row.seq for row in kept] == sorted(row.seq for row in kept)
    assert Counter(row.source for row in kept) == {"few": 13, "many": 13}
    times = Counter(row.instruction for row in kept if row.source == "few")
    assert sorted(times.values()) == [2, 2, 3, 3, 3]
    assert len({row.id for row in kept}) == 26
    by_id = {row.id: row for row in kept}
    copies = [row for row in kept if row.parents]
    assert len(copies) == 8
    assert all(by_id[row.parents[0]].fields == row.fields for row in copies)
    assert "made" in result.explain(copies[0].id).events[0]["outcome"]
    again = Pipeline([Mix(weights=weights, count=26, repeat=3)]).run(inputs, run=tmp_path / "s")
    assert [row.id for row in again.kept] == [row.id for row in kept]
