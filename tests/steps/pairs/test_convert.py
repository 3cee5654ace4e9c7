"""Forms of judged answers: there and back, and what a form would lose is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.row import Candidate, Message
from curate.step import Drop, Made
from curate.steps.pairs.convert import Convert
from tests.steps.conftest import row_of

TEXT = st.text("abc é\n:", min_size=1, max_size=8)
SCORES = st.integers(-8, 8).map(lambda n: n / 4)


def pair(question="Why?", chosen="a", rejected="b", margin=None, p_chosen=None, **columns):
    fields = {
        "prompt": (Message("system", "s"), Message("user", question)),
        "chosen": (Message("assistant", chosen),),
        "rejected": (Message("assistant", rejected),),
        "margin": margin,
        "p_chosen": p_chosen,
    }
    extra = json.dumps(columns) if columns else None
    return row_of("preference", fields, extra=extra)


def converted(step, rows):
    """Return the rows that the step makes, group by group, as rows of their own."""
    groups = {}
    for row in rows:
        groups.setdefault(step.key(row), []).append(row)
    made = [one for group in groups.values() for one in step.make(group) if isinstance(one, Made)]
    return [row_of(one.record.kind, dict(one.record.fields), seq=n, extra=one.record.extra)
            for n, one in enumerate(made)]  # fmt: skip


def content(row):
    return row.kind, row.fields, json.loads(row.extra or "{}")


PAIRS = st.builds(
    lambda question, sides, margin, more: pair(question, *sides, margin, **more),
    TEXT,
    # Two sides that are equal are a contradiction.
    st.tuples(TEXT, TEXT).filter(lambda sides: sides[0] != sides[1]),
    st.one_of(st.none(), SCORES),
    st.fixed_dictionaries({}, optional={
        "chosen_model": st.just("big"), "rejected_model": st.just("small"), "topic": st.just("t"),
    }),
)  # fmt: skip


@pytest.mark.parametrize("form", ["ranked", "unpaired", "hindsight", "conditioned"])
@given(PAIRS)
def test_a_pair_comes_back_as_it_was(form, row):
    there = converted(Convert(to=form), [row])
    assert len(there) == (2 if form in ("unpaired", "conditioned") else 1)
    [back] = converted(Convert(to="preference"), there)
    assert content(back) == content(row)
    assert back.id == row.id


@pytest.mark.parametrize("form", ["unpaired", "conditioned"])
def test_several_pairs_of_a_prompt_come_back(form):
    rows = [pair("q", "a", "b", 1.0), pair("q", "c", "d", 2.0), pair("other", "e", "f", 0.5)]
    back = converted(Convert(to="preference"), converted(Convert(to=form), rows))
    assert [content(row) for row in back] == [content(row) for row in rows]


@given(st.lists(st.tuples(TEXT, SCORES), min_size=1, max_size=5, unique_by=lambda one: one[0]))
def test_ranked_answers_come_back_from_labelled_ones(answers):
    candidates = tuple(
        Candidate((Message("assistant", text),), score, "m", json.dumps({"label": score > 0}))
        for text, score in answers
    )
    row = row_of("ranked", {"prompt": (Message("user", "q"),), "candidates": candidates})
    there = converted(Convert(to="unpaired"), [row])
    assert [one.fields["label"] for one in there] == [score > 0 for _, score in answers]
    [back] = converted(Convert(to="ranked"), there)
    assert back.fields == row.fields


def test_scores_become_labels_from_a_threshold_on():
    candidates = tuple(
        Candidate((Message("assistant", t),), s) for t, s in (("a", 1.0), ("b", 2.0))
    )
    row = row_of("ranked", {"prompt": (Message("user", "q"),), "candidates": candidates})
    there = converted(Convert(to="unpaired", threshold=2.0), [row])
    assert [one.fields["label"] for one in there] == [False, True]
    with pytest.raises(ValueError, match="nothing says which answers are wanted"):
        Convert(to="unpaired").make([row])
    [two] = converted(Convert(to="preference"), [row])
    assert (two.chosen[0].content, two.fields["margin"]) == ("b", 1.0)
    equal = row._replace(fields={**row.fields, "candidates": (candidates[0], candidates[0])})
    assert Convert().make([equal]) == [Drop("both answers have one score")]


@pytest.mark.parametrize(
    ("rows", "to", "lost"),
    [
        ([pair(p_chosen=0.75)], "unpaired", "p_chosen"),
        ([pair(p_chosen=0.75)], "hindsight", "p_chosen"),
        ([pair(margin=3.0, chosen_score=2.0, rejected_score=1.0)], "ranked", "margin"),
        ([pair("q", topic=1), pair("q", "c", "d", topic=2)], "ranked", "columns"),
        ([row_of("ranked", {"prompt": (Message("user", "q"),), "candidates": (
            Candidate((Message("assistant", "a"),), 1.0, None, '{"why": "good"}'),)})],
         "unpaired", "extra"),
    ],
)  # fmt: skip
def test_what_would_be_lost_is_named_and_may_be_let_go(rows, to, lost):
    step = Convert(to=to, threshold=0.0)
    with pytest.raises(ValueError, match=f"{lost} would be lost, as '{to}' has no place"):
        step.make(rows)
    made = [one for one in Convert(to=to, threshold=0.0, lose=(lost,)).make(rows)]
    assert made
    assert all(one.detail == {"lost": [lost]} for one in made)


def labelled(text, label, **columns):
    fields = {
        "prompt": (Message("system", "s"), Message("user", "q")),
        "completion": (Message("assistant", text),),
        "label": label,
    }
    return row_of("unpaired", fields, extra=json.dumps(columns) if columns else None)


def test_a_pair_among_labelled_answers_stays_one_and_loses_nothing():
    rows = [labelled("u", True), pair("q", "c", "r", 2.0, 0.8), labelled("v", False)]
    made = [one for one in Convert(to="preference").make(rows) if isinstance(one, Made)]
    found = [one.record.fields for one in made]
    assert [
        (f["chosen"][0].content, f["rejected"][0].content, f["margin"], f["p_chosen"])
        for f in found
    ] == [("c", "r", 2.0, 0.8), ("u", "v", None, None)]
    assert not any(one.detail for one in made)


def test_the_scores_that_a_margin_stands_for_are_not_compared_with_those_of_another_pair():
    rows = [pair("q", "a", "b", 1.0), pair("q", "c", "d", 2.0)]
    with pytest.raises(ValueError, match="margin would be lost, as 'ranked' has no place"):
        Convert(to="ranked").make(rows)
    [row] = converted(Convert(to="ranked", lose=("margin",)), rows)
    assert [one.score for one in row.candidates] == [None] * 4
    [row] = converted(Convert(to="ranked"), rows[:1])
    assert [one.score for one in row.candidates] == [1.0, 0.0]


@pytest.mark.parametrize("between", ["unpaired", "conditioned", "hindsight", "ranked"])
def test_no_form_between_makes_margins_of_several_pairs_comparable(between):
    rows = [pair("q", "a", "b", 1.0), pair("q", "c", "d", 2.0)]
    each = [one for row in rows for one in converted(Convert(to=between), [row])]
    with pytest.raises(ValueError, match="margin would be lost, as 'ranked' has no place"):
        converted(Convert(to="ranked"), each)
    [row] = converted(Convert(to="ranked", lose=("margin",)), each)
    assert [one.score for one in row.candidates] == [None] * 4
    # Back as pairs, in whatever order their halves come, each has its own margin.
    back = converted(Convert(to="preference"), each[::-1])
    found = {row.chosen[0].content: (row.rejected[0].content, row.fields["margin"]) for row in back}
    assert found == {"a": ("b", 1.0), "c": ("d", 2.0)}


def test_equal_answers_are_one_candidate_of_all_their_rows():
    rows = [pair("q", "a", "b"), pair("q", "a", "c"), pair("q", "a", "b", topic="t")]
    rows[2] = rows[2]._replace(id="f" * 32)
    made, *dropped = Convert(to="ranked", lose=("columns",)).make(rows)
    candidates = made.record.fields["candidates"]
    assert [one.messages[0].content for one in candidates] == ["a", "b", "c"]
    assert (dropped, made.record.parents) == ([], tuple(row.id for row in rows))


@pytest.mark.parametrize("form", ["ranked", "unpaired", "conditioned"])
def test_an_answer_that_is_wanted_and_unwanted_fails(form):
    rows = [pair("q", "a", "b"), pair("q", "b", "c")]
    with pytest.raises(ValueError, match=r"'b' is wanted and unwanted.*method: bradley_terry"):
        Convert(to=form).make(rows)
    both = [row.fields["chosen"] for row in converted(Convert(to="preference"), rows)]
    assert both == [row.fields["chosen"] for row in rows]
    with pytest.raises(ValueError, match="wanted and unwanted"):
        Convert(to="preference").make([labelled("b", True), labelled("b", False)])


def test_feedback_stands_in_the_turns_of_the_user_alone():
    orders = set()
    for number in range(20):
        [row] = converted(Convert(to="hindsight"), [pair(f"q{number}", "right", "wrong")])
        roles = [turn.role for turn in row.messages]
        assert roles == ["system", "user", "assistant", "user", "assistant"]
        said = [turn.content for turn in row.messages[1:]]
        tags = [said[0].rpartition("\n\n")[2], said[2]]
        assert dict(zip(tags, said[1::2], strict=True)) == {
            "A good answer:": "right", "A bad answer:": "wrong",
        }  # fmt: skip
        orders.add(tags[0])
    assert len(orders) == 2


def test_conditioned_answers_have_their_class_and_weight():
    good, bad = converted(Convert(to="conditioned", low=0.2), [pair("q", "a", "b")])
    for row, tag, text, weight in ((good, "good", "a", 1.0), (bad, "bad", "b", 0.2)):
        assert [turn.content for turn in row.messages] == ["s", f"A {tag} answer: q", text]
        assert json.loads(row.extra) == {"condition": tag, "weight": weight}


def test_answers_without_a_partner_are_dropped():
    rows = converted(Convert(to="unpaired"), [pair("q", "a", "b"), pair("q", "c", "d")])
    out = Convert().make(rows[:3])
    assert [one.reason for one in out if isinstance(one, Drop)] == ["no answer of the other label"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (row_of("sft", {"messages": (Message("user", "q"), Message("assistant", "a"))}), "worth"),
        (row_of("sft", {"messages": (Message("user", "q"), Message("assistant", "a"))},
                extra='{"condition": "good"}'), "no feedback 'A good answer:'"),
    ],
)  # fmt: skip
def test_conversations_that_say_nothing_of_their_answers_fail(row, said):
    with pytest.raises(ValueError, match=said):
        Convert().make([row])
    assert Convert().key(row) == row.id


def test_fields_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="two different texts"):
        Convert(good="x", bad="x").check()
    with pytest.raises(ValueError, match="low is 2"):
        Convert(low=2).check()
