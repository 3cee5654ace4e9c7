"""Answers of pairs and lists become conversations of their own, and come back as pairs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.row import Candidate, Message
from curate.steps.pairs.unpack import Unpack
from tests.steps.conftest import row_of
from tests.steps.pairs.test_convert import pair


def ranked(*answers, **columns):
    candidates = tuple(
        Candidate((Message("assistant", text),), score, model, extra)
        for text, score, model, extra in answers
    )
    fields = {"prompt": (Message("user", "Why?"),), "candidates": candidates}
    return row_of("ranked", fields, extra=json.dumps(columns) if columns else None)


def test_each_side_of_a_pair_becomes_a_conversation():
    row = pair(margin=1.5, p_chosen=0.75, topic="t", chosen_model="m", chosen_score=2)
    one, other = Unpack().make(row)
    texts = [turn.content for turn in one.record.fields["messages"]]
    assert texts == ["s", "Why?", "a"]
    assert json.loads(one.record.extra) == {
        "topic": "t", "chosen_model": "m", "chosen_score": 2,
        "answered": {"by": "m", "of": row.id, "made": 2},
        "unpacked": {"place": 0, "side": "chosen", "score": 2, "margin": 1.5, "p_chosen": 0.75},
    }  # fmt: skip
    assert (one.score, other.score) == (2, None)
    assert json.loads(other.record.extra)["unpacked"]["side"] == "rejected"
    assert one.record.kind == other.record.kind == "sft"


@pytest.mark.parametrize(("side", "place", "text"), [("chosen", 0, "a"), ("rejected", 1, "b")])
def test_one_side_alone_becomes_a_conversation(side, place, text):
    (one,) = Unpack(side=side).make(pair())
    extra = json.loads(one.record.extra)
    assert one.record.fields["messages"][-1].content == text
    assert (extra["unpacked"]["place"], extra["unpacked"]["side"]) == (place, side)
    assert extra["answered"]["made"] == 1
    with pytest.raises(ValueError, match="side is for pairs"):
        Unpack(side=side).make(ranked(("a", 1.0, None, None)))


@given(st.lists(st.tuples(st.text("ab ", min_size=1).filter(str.strip), st.integers(-3, 3)),
                min_size=1, max_size=5))  # fmt: skip
def test_every_candidate_is_there_with_all_that_is_known_of_it(answers):
    row = ranked(*((text, float(s), "m", json.dumps({"k": n})) for n, (text, s) in
                   enumerate(answers)))  # fmt: skip
    made = Unpack().make(row)
    assert [one.record.fields["messages"][-1].content for one in made] == [t for t, _ in answers]
    for n, (one, (_, score)) in enumerate(zip(made, answers, strict=True)):
        own = json.loads(one.record.extra)["unpacked"]
        assert own == {"place": n, "score": score, "extra": {"k": n}}
        assert one.score == score


def test_what_is_known_of_a_candidate_becomes_a_column_where_it_is_named():
    row = ranked(("a", 1.0, None, '{"origin": "human", "k": 1}'), ("b", 2.0, None, None))
    one, other = (json.loads(m.record.extra) for m in Unpack(columns={"set": "origin"}).make(row))
    assert (one["set"], one["unpacked"]["extra"]) == ("human", {"origin": "human", "k": 1})
    assert "set" not in other
    with pytest.raises(ValueError, match="column 'set' already"):
        Unpack(columns={"set": "origin"}).make(ranked(("a", 1.0, None, None), set="x"))


def test_scored_anew_they_are_paired_again(tmp_path):
    rows = [
        {
            "prompt": f"Question {n}?",
            "candidates": [
                {"messages": [{"role": "assistant", "content": "word " * size}], "score": 9 - size}
                for size in (2, 5, 3)
            ],
        }
        for n in range(4)
    ]
    recipe = Pipeline.from_yaml(
        "steps: [unpack: {}, length: {on: response, min: 1}, pairs: {by: length}]"
    )
    result = recipe.run(rows, run=tmp_path / "run", store=tmp_path / "store")
    kept = list(result.kept)
    sides = [[len(side[0].content.split()) for side in (r.chosen, r.rejected)] for r in kept]
    assert sides == [[5, 2]] * 4
    old = Pipeline.from_yaml("steps: [unpack: {}, pairs: {by: unpack}]")
    kept = list(old.run(rows, run=tmp_path / "old", store=tmp_path / "store").kept)
    assert [len(row.chosen[0].content.split()) for row in kept] == [2] * 4
    assert result.summary["failed"] == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ranked(), "no candidates"),
        (ranked(("a", 1.0, None, None), unpacked=1), "column 'unpacked' already"),
        (ranked(("a", 1.0, None, None), answered="x"), "column 'answered' already"),
        (
            row_of("ranked", {"prompt": (Message("user", "q"),), "candidates": (Candidate(()),)}),
            "answer 0 has no turns",
        ),
    ],
)
def test_what_cannot_be_carried_fails_the_row(row, said):
    with pytest.raises(ValueError, match=said):
        Unpack().make(row)
