import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.select.top import Top


def rows_with(make_row, conversation, scores, **columns):
    """Return conversations with a score `quality` each."""
    rows = []
    for place, score in enumerate(scores):
        row = conversation(f"question {place}", "answer")
        rest = {name: values[place] for name, values in columns.items()}
        rows.append(make_row("sft", row.fields, seq=place, scores={"quality": score}, **rest))
    return rows


def kept(verdicts):
    return [place for place, code in enumerate(verdicts.code.tolist()) if code < 0]


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"count": 2}, [1, 3]),
        ({"count": 3}, [1, 2, 3]),
        ({"count": 9}, [0, 1, 2, 3, 4]),
        ({"count": 0}, []),
        ({"count": 2, "lowest": True}, [0, 2]),
        ({"share": 0.5}, [1, 3]),
        ({"share": 0.01}, [1]),
        ({"share": 0.0}, []),
        ({"share": 1.0}, [0, 1, 2, 3, 4]),
        ({}, [0, 1, 2, 3, 4]),
    ],
)
def test_keeps_the_best_and_counts_the_unscored_last(
    fields, places, make_row, conversation, decide
):
    rows = rows_with(make_row, conversation, [1.0, 5.0, 2.0, 4.0, None])
    assert kept(decide(Top(by="quality", **fields), rows)) == places


def test_ties_go_to_the_earlier_row(make_row, conversation, decide):
    rows = rows_with(make_row, conversation, [3.0, 3.0, None, 3.0, None])
    assert kept(decide(Top(by="quality", count=2), rows)) == [0, 1]
    assert kept(decide(Top(by="quality", count=4), rows)) == [0, 1, 2, 3]
    assert kept(decide(Top(by="quality", count=2, lowest=True), rows)) == [0, 1]


def test_the_verdict_carries_score_and_reason(make_row, conversation, decide):
    verdicts = decide(Top(by="quality", count=1), rows_with(make_row, conversation, [1.0, 2.0]))
    assert verdicts.reasons == ("not among the top 1 by quality",)
    assert verdicts.score.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("per", "columns", "places"),
    [
        ("source", {"source": ["a", "b", "a", None, "b"]}, [1, 2, 3]),
        (
            "topic",
            {"extra": ['{"topic": 1}', '{"topic": 2}', '{"topic": 1}', "{}", None]},
            [1, 2, 4],
        ),
        ("kind", {}, [4]),
        ("instruction", {}, [0, 1, 2, 3, 4]),
        ("quality", {}, [0, 1, 2, 3, 4]),
    ],
)
def test_per_group(per, columns, places, make_row, conversation, decide):
    rows = rows_with(make_row, conversation, [1.0, 4.0, 2.0, 3.0, 5.0], **columns)
    if per == "source":
        rows[4] = rows[4]._replace(scores={"quality": 0.0})
    assert kept(decide(Top(by="quality", per=per, count=1), rows)) == places


@given(
    st.lists(
        st.tuples(st.none() | st.integers(0, 4).map(float), st.sampled_from(["a", "b", None])),
        max_size=12,
    ),
    st.integers(0, 5),
    st.booleans(),
)
def test_equals_a_plain_sort(make_row, conversation, decide, items, count, lowest):
    rows = rows_with(
        make_row, conversation, [s for s, _ in items], source=[source for _, source in items]
    )
    expected = []
    for name in ("a", "b", None):
        group = [place for place, (_, source) in enumerate(items) if source == name]
        sign = 1 if lowest else -1

        def key(place, sign=sign):
            score = items[place][0]
            return math.inf if score is None else sign * score

        expected += sorted(group, key=key)[:count]
    step = Top(by="quality", per="source", count=count, lowest=lowest)
    assert kept(decide(step, rows)) == sorted(expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"count": 1}, "by must name an earlier step"),
        ({"by": "x", "count": 1, "share": 0.5}, "count or share, not both"),
        ({"by": "x", "share": 50}, "from 0 to 1, not 50"),
        ({"by": "x", "count": -1}, "must not be negative"),
    ],
)
def test_contradictory_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Top(**fields).check()
