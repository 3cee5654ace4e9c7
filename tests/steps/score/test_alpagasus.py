"""AlpaGasus: the stated grammar and nothing else, three labelled blocks, samples and spread."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Reply
from curate.errors import UnusableReply
from curate.prompts import prompt as prompts
from curate.recipe.fields import FieldProblem, checked
from curate.steps.score.alpagasus import Alpagasus
from curate.steps.score.rubric import Rubric


def asking(step: Any, row: Any) -> Any:
    generator = step.score(row)
    return generator, next(generator)


def scored(step: Any, row: Any, *replies: Any) -> Any:
    """Return the score of `row` under replies, a list of which answers a list of requests."""
    generator, _ = asking(step, row)
    for reply in replies:
        try:
            many = [Reply(text=r) for r in reply] if isinstance(reply, list) else Reply(text=reply)
            generator.send(many)
        except StopIteration as end:
            return end.value
    raise AssertionError("it asks for more than the script has")


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("4.5", 4.5),
        ("Score: 4", 4.0),
        ("4.5/5", 4.5),
        ("Score \u2013 4", 4.0),
        ("Score \u2014 4.5", 4.5),
        ("Accuracy: 4.5/5", 4.5),
        ("Sure, here is my rating.\n4.5", 4.5),
        ("5\nThe response gives all 3 steps, and each is right.", 5.0),
        ("**0**", 0.0),
    ],
)
def test_what_states_a_score_is_read(conversation, reply, score):
    found = scored(Alpagasus(model="j"), conversation("Why?", "Because."), reply)
    assert found.value == score
    assert found.detail["score"] == score


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("7", "outside the scale"),
        ("NaN", "does not state a number"),
        ("Score: NaN", "not one certain number"),
        ("-1", "outside the scale"),
        ("\u22124", "outside the scale"),
        ("4\u20135", "does not state a number"),
        ("4.3", "multipleOf"),
        ("4,5", "does not state a number"),
        ("4.5\nScore: 3", "several numbers"),
        ("4.5/10", "another scale"),
        ("The answer is accurate.", "does not state a number"),
        ("", "does not state a number"),
    ],
)
def test_what_does_not_state_one_fails_the_row(conversation, reply, why):
    step = Alpagasus(model="j", repairs=0)
    with pytest.raises(UnusableReply, match=why):
        scored(step, conversation("Why?", "Because."), reply)
    # It is shown what is wrong with it, where a repair is left.
    again = scored(Alpagasus(model="j"), conversation("Why?", "Because."), reply, "4.5")
    assert again.value == 4.5


def test_the_three_blocks_are_shown_apart(conversation):
    row = conversation("Add the numbers.\n\n1 2", "3")._replace(extra='{"input_chars": 3}')
    _, ask = asking(Alpagasus(model="j"), row)
    text = ask.messages[0].content
    (mark,) = {line.split("[")[1].rstrip("]:") for line in text.splitlines() if line[-2:] == "]:"}
    for label, block in (
        ("Instruction", "Add the numbers."), ("Input", "1 2"), ("Response", "3")
    ):  # fmt: skip
        assert f"{label} [{mark}]:\n{block}\n" in text
    assert (ask.temperature, ask.max_tokens) == (0.0, 256)
    assert "feedback" in ask.system
    assert "accuracy of the response" in text
    _, ask = asking(Alpagasus(model="j", dimension="helpfulness"), conversation("Why?", "So."))
    assert "helpfulness of the response" in ask.messages[0].content
    assert "Input [" not in ask.messages[0].content


def test_of_a_conversation_all_turns_before_the_answer_are_the_instruction(conversation):
    _, ask = asking(Alpagasus(model="j"), conversation("One?", "Two.", "Three?", "Four."))
    assert "user: One?\n\nassistant: Two.\n\nuser: Three?\n\n" in ask.messages[0].content
    assert "]:\nFour.\n" in ask.messages[0].content


def test_a_row_without_an_answer_fails(conversation):
    for row in (conversation("Why?"), conversation("Why?", " ")):
        with pytest.raises(ValueError, match="answer"):
            asking(Alpagasus(model="j"), row)


def test_small_models_complete_a_line(conversation):
    step = Alpagasus(model="j", prompt="alpagasus_brief", complete=True)
    _, ask = asking(step, conversation("Why?", "So."))
    assert ask.prompt.endswith("Answer: So.\nScore:")
    assert ask.stop == ("\n",)
    with pytest.raises(ValueError, match="complete sends no system prompt"):
        Alpagasus(model="j", complete=True).prepare()
    with pytest.raises(ValueError, match="takes"):
        Alpagasus(model="j", prompt="tag_quality").prepare()


def test_a_prompt_that_asks_for_two_scores_is_refused(tmp_path):
    head = prompts.load("alpagasus_brief").path.read_text()
    required = "required: [score]"
    second = "    style: {type: integer, minimum: 0, maximum: 5}\n  required: [score, style]"
    path = tmp_path / "two.md"
    path.write_text(head.replace(f"  {required}", second))
    with pytest.raises(ValueError, match="one score is read"):
        Alpagasus(model="j", prompt=str(path)).prepare()


def test_the_limit_is_that_of_the_paper_and_only_decides():
    step = Alpagasus(model="j")
    assert (step.keep(4.5), step.keep(4.0)) == (None, "rated below 4.5")
    assert Alpagasus(model="j", at_least=3).fingerprint() == step.fingerprint()
    other = Alpagasus(model="j", dimension="helpfulness")
    assert other.fingerprint() != step.fingerprint()
    assert step.fingerprint()["prompt_text"] == prompts.digest("alpagasus")


# -- several samples of one judgement --------------------------------------------------------------


def test_the_score_of_several_samples_is_their_mean_beside_their_spread(conversation):
    row = conversation("Why?", "Because.")
    step = Alpagasus(model="j", samples=3, temperature=0.7)
    _, asks = asking(step, row)
    assert [ask.sample for ask in asks] == [0, 1, 2]
    found = scored(step, row, ["4", "5\nRight.", "4.5"])
    assert found.value == 4.5
    assert found.detail["scores"] == [4.0, 5.0, 4.5]
    assert found.detail["spread"] == pytest.approx(0.5)
    assert found.detail["samples"][1]["rationale"] == "5\nRight."


def test_only_the_samples_that_cannot_be_read_are_asked_again(conversation):
    row = conversation("Why?", "Because.")
    step = Alpagasus(model="j", samples=3, temperature=0.7)
    generator, _ = asking(step, row)
    again = generator.send([Reply(text=text) for text in ("4", "7", "4.5")])
    assert [ask.sample for ask in again] == [1]
    assert "outside the scale" in again[0].messages[-1].content
    with pytest.raises(UnusableReply):
        scored(step, row, ["4", "7", "4.5"], ["8"])
    assert scored(step, row, ["4", "7", "4.5"], ["5"]).detail["scores"] == [4.0, 5.0, 4.5]


def test_a_rubric_samples_alike(conversation):
    step = Rubric(model="j", samples=2, temperature=1.0)
    replies = [json.dumps({"rationale": "So so.", "score": score}) for score in (4, 8)]
    found = scored(step, conversation("Why?", "Because."), replies)
    assert (found.value, found.detail["scores"]) == (6.0, [4.0, 8.0])
    assert found.detail["spread"] == pytest.approx(8**0.5)


def test_samples_of_one_temperature_zero_are_refused():
    with pytest.raises(FieldProblem, match="at temperature 0 all samples are one judgement"):
        checked(Alpagasus(model="j", samples=2))


# -- a run -----------------------------------------------------------------------------------------


def test_another_limit_asks_nothing_and_a_life_shows_the_reasons(tmp_path: Path) -> None:
    script = [
        {"when": {"contains": "azure"}, "reply": "4.5\nAll of it is right."},
        {"when": {"contains": "crimson"}, "reply": "3\nHalf of it is right."},
        {"when": {}, "reply": "7"},
    ]
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in script))
    rows = [
        {"instruction": f"The {n} question", "output": "So."} for n in ("azure", "crimson", "x")
    ]
    pipeline = Pipeline([Alpagasus(model="j")], models={"j": f"scripted:{path}"})
    result = pipeline.run(rows, run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0)
    counts = result.summary
    assert (counts["kept"], counts["dropped"], counts["failed"]) == (1, 1, 1)
    assert counts["requests"]["sent"] == 4
    (dropped,) = result.dropped
    life = result.explain(dropped.id)
    assert life.events[-1]["reason"] == "rated below 4.5"
    assert "Half of it is right." in json.dumps(life.events[-1]["detail"])
    lower = result.rethreshold(alpagasus=3.0)
    assert lower.summary["kept"] == 2
    assert lower.summary["requests"]["sent"] == counts["requests"]["sent"]
