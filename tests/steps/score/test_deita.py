"""DEITA's scorers: expectations by hand, sums over exchanges, and no score that nobody gave."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Choose, Reply
from curate.errors import UnusableReply
from curate.row import Candidate, Message
from curate.steps.score.deita_complexity import DeitaComplexity
from curate.steps.score.deita_evol import DeitaEvol
from curate.steps.score.deita_joint import DeitaJoint
from curate.steps.score.deita_quality import DeitaQuality


def chances(*shares: float, **rest: Any) -> Reply:
    """Return a choice among 1 to 6 with these probabilities."""
    return Reply(values=tuple(map(math.log, shares)), mass=sum(shares), **rest)


def answered(step: Any, row: Any, *replies: Reply) -> Any:
    asking = step.score(row)
    asked = next(asking)
    assert len(asked) == len(replies)
    with pytest.raises(StopIteration) as end:
        asking.send(list(replies))
    return end.value.value, asked


EVEN = chances(*[1 / 6] * 6)
# 1 x 0.1 + 2 x 0.2 + 3 x 0.4 + 4 x 0.15 + 5 x 0.1 + 6 x 0.05 = 3.1
SKEWED = chances(0.1, 0.2, 0.4, 0.15, 0.1, 0.05)
# Of half the mass: (2 x 0.1 + 6 x 0.3 + 0.1 (1 + 3 + 4 + 5) / 4) / 0.5 = 4.65
HALF = chances(0.025, 0.1, 0.025, 0.025, 0.025, 0.3)


@pytest.mark.parametrize(("reply", "value"), [(EVEN, 3.5), (SKEWED, 3.1), (HALF, 4.65)])
@pytest.mark.parametrize("step", [DeitaComplexity(model="m"), DeitaQuality(model="m")])
def test_a_score_is_the_expectation_over_the_six_tokens(conversation, step, reply, value):
    found, asked = answered(step, conversation("Why?", "Because."), reply)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.detail["mass"] == [pytest.approx(reply.mass)]
    assert isinstance(asked[0], Choose)
    assert asked[0].options == ("1", "2", "3", "4", "5", "6")


def test_complexity_sees_the_instruction_alone_and_quality_both(conversation):
    row = conversation("Why is it so?", "Because of that.")
    (asked,) = answered(DeitaComplexity(model="m"), row, EVEN)[1]
    assert "Why is it so?" in asked.messages[0].content
    assert "Because of that." not in asked.messages[0].content
    other = answered(DeitaComplexity(model="m"), conversation("Why is it so?", "No."), EVEN)[1]
    assert [asked] == other
    (asked,) = answered(DeitaQuality(model="m"), row, EVEN)[1]
    assert "Why is it so?" in asked.messages[0].content
    assert "Because of that." in asked.messages[0].content


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (chances(0.1, 0.2, 0.4, 0.15, 0.1, 0.05, floored=(5,)), "lacks the score 6"),
        (Reply(values=(-1.0, -1.0, -1.0, -1.0, -1.0, -math.inf)), "lacks the score 6"),
        (Reply(text="3"), "no log-probabilities"),
        (Reply(values=(-1.0, -2.0)), "no log-probabilities"),
    ],
)
def test_a_missing_score_token_fails_the_row_and_is_never_3(conversation, reply, why):
    for step in (DeitaComplexity(model="m"), DeitaQuality(model="m")):
        asking = step.score(conversation("Why?", "Because."))
        next(asking)
        with pytest.raises(UnusableReply, match=why):
            asking.send([reply])


def test_exchanges_are_scored_one_by_one(conversation):
    row = conversation("A?", "B.", "C?", "D.", system="Be brief.")
    found, asked = answered(DeitaQuality(model="m"), row, EVEN, SKEWED)
    assert found.value == pytest.approx(6.6)
    assert found.detail["turns"] == [pytest.approx(3.5), pytest.approx(3.1)]
    texts = [one.messages[0].content for one in asked]
    assert ["A?" in text for text in texts] == [True, False]
    assert ["D." in text for text in texts] == [False, True]
    assert not any("Be brief." in text for text in texts)
    mean = answered(DeitaQuality(model="m", turns="mean"), row, EVEN, SKEWED)[0]
    assert mean.value == pytest.approx(3.3)


def test_the_evol_score_is_the_sum_of_products_over_exchanges(conversation):
    row = conversation("A?", "B.", "C?", "D.")
    step = DeitaEvol(model="m", quality_model="q")
    found, asked = answered(step, row, EVEN, SKEWED, HALF, EVEN)
    assert found.value == pytest.approx(3.5 * 4.65 + 3.1 * 3.5, abs=1e-12)
    assert [one.model for one in asked] == ["m", "m", "q", "q"]
    # The requests are those of the two scorers, which are then not paid twice.
    assert asked[:2] == answered(DeitaComplexity(model="m"), row, EVEN, EVEN)[1]
    assert asked[2:] == answered(DeitaQuality(model="q"), row, EVEN, EVEN)[1]
    assert step.reads_models() == ("m", "q")


def test_a_turn_without_an_answer_has_no_quality(conversation):
    row = conversation("A?", "B.", "C?")
    for step in (DeitaQuality(model="m"), DeitaEvol(model="m")):
        with pytest.raises(ValueError, match="user turn 2 of 2 has no answer"):
            next(step.score(row))
    assert answered(DeitaComplexity(model="m"), row, EVEN, EVEN)[0].value == pytest.approx(7)
    with pytest.raises(ValueError, match="user turn 1 of 1 has no text"):
        next(DeitaComplexity(model="m").score(conversation(" ")))


def test_small_models_complete_a_line(conversation):
    step = DeitaQuality(model="m", prompt="deita_quality_brief", complete=True)
    (asked,) = answered(step, conversation("Why?", "So."), EVEN)[1]
    assert asked.prompt.endswith("Answer: So.\nScore:")
    assert asked.messages is None
    step.prepare()
    with pytest.raises(ValueError, match="takes"):
        DeitaQuality(model="m", prompt="grounded").prepare()


# -- side by side ----------------------------------------------------------------------------------


def joint(step: DeitaJoint, rows: Any, score: Any) -> Any:
    """Return what is made when a judge gives each variant shown the score of its text."""
    asking = step.make(rows)
    text = next(asking).messages[0].content
    variants = sorted(score, key=lambda one: text.index(f"]\n{one}\n[end of "))
    with pytest.raises(StopIteration) as end:
        scores = [score[one] for one in variants]
        asking.send(Reply(text=json.dumps({"rationale": "They differ.", "scores": scores})))
    return end.value.value, variants


def test_the_answers_of_a_ranked_row_are_scored_side_by_side(make_row):
    planted = {"bad": 1, "fair": 3, "best": 6, "poor": 2}
    orders = set()
    for n in range(12):
        answers = tuple(Candidate((Message("assistant", a),), None, "m") for a in planted)
        fields = {"prompt": (Message("user", f"Question {n}?"),), "candidates": answers}
        row = make_row("ranked", fields)
        made, variants = joint(DeitaJoint(model="j"), [row], planted)
        got = {c.messages[0].content: c.score for c in made.record.fields["candidates"]}
        assert got == planted
        extra = json.loads(made.record.fields["candidates"][0].extra)
        assert extra["deita_joint"]["rationale"] == "They differ."
        orders.add(tuple(variants))
    assert len(orders) > 3


def test_variants_of_one_instruction_keep_their_rows_and_get_scores(conversation):
    texts = {"Name a colour.": 1, "Name a colour and its wavelength.": 4, "Why is it blue?": 3}
    seed, *evolved = [conversation(text, "So.") for text in texts]
    rows = [seed, *(row._replace(parents=(seed.id,)) for row in evolved)]
    step = DeitaJoint(model="j")
    assert {step.key(row) for row in rows} == {seed.id}
    made, _ = joint(step, rows, texts)
    assert [one.score for one in made] == [1.0, 4.0, 3.0]
    assert [one.record.parents for one in made] == [(row.id,) for row in rows]
    assert [one.record.fields for one in made] == [row.fields for row in rows]


def test_a_score_for_each_variant_or_none(conversation):
    rows = [conversation("One?", "So."), conversation("Two?", "So.")]
    asking = DeitaJoint(model="j").make(rows)
    next(asking)
    again = asking.send(Reply(text='{"rationale": "r", "scores": [1]}'))
    assert "1 scores for 2 variants" in again.messages[-1].content
    with pytest.raises(UnusableReply, match="maximum is 6"):
        asking.send(Reply(text='{"rationale": "r", "scores": [1, 7]}'))
    step = DeitaJoint(model="j", per="seed")
    assert step.key(rows[0]._replace(extra='{"seed": "a"}')) == '"a"'
    with pytest.raises(ValueError, match="no column 'seed'"):
        step.key(rows[0])


def test_variants_in_a_run(tmp_path: Path) -> None:
    script = [{"when": {}, "reply": '{"rationale": "r", "scores": [2, 5]}'}]
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in script))
    rows = [
        {"instruction": f"Question {n}, form {form}?", "output": "So.", "seed": n}
        for n in range(4)
        for form in "ab"
    ]
    pipeline = Pipeline([DeitaJoint(model="j", per="seed")], models={"j": f"scripted:{path}"})
    result = pipeline.run(rows, run=tmp_path / "run", store=tmp_path / "store")
    assert (result.summary["kept"], result.summary["requests"]["sent"]) == (8, 4)
    assert sorted(row.scores["deita_joint"] for row in result.kept) == [2.0] * 4 + [5.0] * 4
