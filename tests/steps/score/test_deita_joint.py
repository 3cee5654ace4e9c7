"""DEITA's joint scores: planted ones come back to their variants, whatever order was shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Candidate, Message
from curate.steps.score.deita_joint import DeitaJoint


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
        next(step.make(rows))


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
