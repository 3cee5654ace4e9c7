import json
from collections import Counter

import pytest

from curate.steps.select.balance import Balance


def rows_of_sources(conversation, sources):
    return [
        conversation(f"question {n}", "a")._replace(
            source=source, seq=(0, 0, n), scores={"quality": float(n % 7)}
        )
        for n, source in enumerate(sources)
    ]


def kept_sources(verdicts, rows):
    pairs = zip(rows, verdicts.code.tolist(), strict=True)
    return Counter(row.source for row, code in pairs if code < 0)


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({}, {"a": 9, "b": 4, "c": 1}),
        ({"cap": 3}, {"a": 3, "b": 3, "c": 1}),
        ({"cap": 0}, {}),
        ({"times": 1}, {"a": 1, "b": 1, "c": 1}),
        ({"times": 2.5}, {"a": 2, "b": 2, "c": 1}),
        ({"times": 4}, {"a": 4, "b": 4, "c": 1}),
    ],
)
def test_caps_every_value(fields, left, conversation, decide):
    rows = rows_of_sources(conversation, "aaabbaacbbaaaa")
    verdicts = decide(Balance(per="source", **fields), rows)
    assert kept_sources(verdicts, rows) == left
    assert verdicts.score.tolist()[:4] == [9, 9, 9, 4]
    assert verdicts.reasons == ("too many rows of its source",)


def test_by_keeps_the_best_of_each(conversation, decide):
    rows = rows_of_sources(conversation, "ab" * 7)
    verdicts = decide(Balance(per="source", by="quality", cap=1), rows)
    kept = [place for place, code in enumerate(verdicts.code.tolist()) if code < 0]
    assert kept == [6, 13]
    assert Balance(per="source", by="quality").reads_scores() == ("quality",)


def test_the_draw_does_not_depend_on_order(conversation, decide):
    rows = rows_of_sources(conversation, "a" * 30)
    step = Balance(per="source", cap=10)

    def ids(given):
        codes = decide(step, given).code.tolist()
        return {row.id for row, code in zip(given, codes, strict=True) if code < 0}

    assert ids(rows) == ids(rows[::-1])
    assert ids(rows) != {row.id for row in rows[:10]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cap": 1}, "per must name"),
        ({"per": "source", "cap": 1, "times": 2.0}, "cap or times, not both"),
        ({"per": "source", "cap": -1}, "must not be negative"),
        ({"per": "source", "times": 0.5}, "at least 1"),
    ],
)
def test_contradictory_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Balance(**fields).check()


def test_equal_instructions_are_a_group(conversation, decide):
    rows = [conversation(q, a) for q, a in (("x", "1"), ("y", "2"), ("x", "3"), ("x ", "4"))]
    verdicts = decide(Balance(per="instruction", cap=1), rows)
    assert verdicts.score.tolist() == [2, 1, 2, 1]
    assert [code < 0 for code in verdicts.code.tolist()].count(False) == 1


def test_values_are_told_apart_as_json_tells_them(conversation, decide):
    values = [1, "1", True, "true", 1.0, None, "", "null", [1], "[1]", 0, False, {"a": 1, "b": 2}]
    extras = [json.dumps({"level": value}) for value in values]
    extras += ['{"other": 1}', None, '{"level": {"b": 2, "a": 1}}', '{"level": 1e0}']
    rows = [
        conversation("q", str(n))._replace(extra=extra, seq=(0, 0, n))
        for n, extra in enumerate(extras)
    ]
    sizes = decide(Balance(per="level"), rows).score.tolist()
    # 1, 1.0 and 1e0; null, and rows without the column; an object whatever the order of its keys.
    assert sizes == [3, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1, 2, 3, 3, 2, 3]
    verdicts = decide(Balance(per="level", cap=1), rows)
    assert sum(code < 0 for code in verdicts.code.tolist()) == 12


def test_a_column_that_no_row_has_is_refused(conversation, decide):
    rows = rows_of_sources(conversation, "aab")
    with pytest.raises(ValueError, match="no row has a column or a score 'orgin'"):
        decide(Balance(per="orgin", cap=1), rows)


def test_no_rows_are_no_trouble(decide):
    assert len(decide(Balance(per="source", times=1), []).code) == 0
