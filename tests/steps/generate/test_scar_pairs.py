"""SCAR's triples: who answers what, what is scored, and what fails."""

import json

import pytest

from curate import Pipeline
from curate.errors import UnusableReply
from curate.steps.generate.scar_pairs import ScarPairs
from curate.train.data import read_data
from curate.train.settings import method_called, ranker_settings_for
from curate.train.triples import triples_of
from tests.steps.generate.test_evolve import driven

SIX = [f"Final score: {n}" for n in (7, 9, 6, 6, 8, 5)]
BOTH = ["You could boil it.", "Boil the egg for eight minutes."]


def test_two_answers_and_six_scores_make_a_triple(conversation):
    row = conversation("How do I cook an egg?", "boil it 8 min")
    made, asked = driven(ScarPairs(model="m", judge="j"), row, BOTH, SIX)
    (one,) = made
    assert one.record.kind == "ranked"
    candidates = one.record.fields["candidates"]
    assert [c.messages[0].content for c in candidates] == ["boil it 8 min", *BOTH]
    assert [json.loads(c.extra) for c in candidates] == [
        {"origin": "human", "helpfulness": 7.0, "correctness": 9.0},
        {"origin": "referenced", "helpfulness": 6.0, "correctness": 6.0},
        {"origin": "direct", "helpfulness": 8.0, "correctness": 5.0},
    ]
    assert [(c.score, c.model) for c in candidates] == [(8.0, None), (6.0, "m"), (6.5, "m")]
    first, second = asked
    # The direct answer sees nothing of the human one.
    assert "boil it 8 min" in first[0].messages[0].content
    assert [turn.content for turn in first[1].messages] == ["How do I cook an egg?"]
    assert [one.model for one in (*first, *second)] == ["m"] * 2 + ["j"] * 6
    assert ["correct" in one.messages[0].content.split("\n")[0] for one in second] == [0, 1] * 3
    assert {one.temperature for one in (*first, *second)} == {0.0}


def test_a_reply_without_a_score_is_repaired_and_then_fails(conversation):
    row = conversation("Why?", "Because.")
    bad = [*SIX[:5], "It is fine."]
    made, asked = driven(ScarPairs(model="m"), row, BOTH, bad, ["Final score: 3"])
    assert json.loads(made[0].record.fields["candidates"][2].extra)["correctness"] == 3
    assert len(asked[2]) == 1
    with pytest.raises(UnusableReply, match="states no score"):
        driven(ScarPairs(model="m", repairs=0), row, BOTH, bad)


def test_without_scores_quality_is_unknown(conversation):
    made, asked = driven(ScarPairs(model="m", scored=False), conversation("Why?", "So."), BOTH)
    assert [c.score for c in made[0].record.fields["candidates"]] == [None] * 3
    assert len(asked) == 1


def test_an_empty_answer_fails_the_row(conversation):
    with pytest.raises(UnusableReply, match="the referenced answer is empty"):
        driven(ScarPairs(model="m"), conversation("Why?", "So."), ["", "Because."])
    with pytest.raises(ValueError, match="no human answer"):
        next(ScarPairs(model="m").make(conversation("Why?")))


def test_small_models_complete(conversation):
    step = ScarPairs(model="m", **ScarPairs.for_small_models)
    step.prepare()
    _, asked = driven(step, conversation("Why?", "So."), BOTH, ["4"] * 6)
    assert asked[0][0].prompt.endswith("Person: So.\nAssistant:")
    assert asked[1][1].prompt.endswith("Answer: So.\nCorrectness:")
    assert asked[1][1].stop == ("\n",)


def test_wrong_prompts_are_refused():
    with pytest.raises(ValueError, match=r"items of the prompt 'evolve_equal|takes"):
        ScarPairs(model="m", quality="evolved_equal").prepare()
    with pytest.raises(ValueError, match="must be"):
        ScarPairs(model="m", quality="scar_referenced").prepare()


def test_what_it_makes_is_what_the_ranker_learns_from(tmp_path):
    replies = [
        {"when": {"contains": "Final score"}, "reply": "Final score: 8"},
        {"when": {}, "reply": "An answer."},
    ]
    script = tmp_path / "replies.jsonl"
    script.write_text("\n".join(map(json.dumps, replies)))
    rows = [{"prompt": f"Question {n}?", "completion": f"So {n}."} for n in range(3)]
    pipeline = Pipeline([ScarPairs(model="m")], models={"m": f"scripted:{script}"})
    done = pipeline.run(rows, store=tmp_path / "s", run=tmp_path / "run")
    assert done.summary["kept"] == 3, done.summary
    data = read_data(str(tmp_path / "run"), method_called("scar"))
    triples = triples_of(data.rows, ranker_settings_for())
    assert [set(one.answers) for one in triples] == [{"human", "referenced", "direct"}] * 3
    assert triples[0].quality == {"human": 8.0, "referenced": 8.0, "direct": 8.0}
