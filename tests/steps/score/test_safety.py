"""Safety: harms by choice, and a refusal told from one that nobody needed."""

import math

import numpy as np
import pyarrow as pa
import pytest

from curate.ask import Reply
from curate.steps.score.safety import Safety

HARMS = 13  # Twelve and none.


def choice(place: int, count: int = HARMS, share: float = 0.88) -> Reply:
    rest = (1 - share) / (count - 1)
    return Reply(values=tuple(math.log(share if n == place else rest) for n in range(count)))


def judged(step, row, *replies):
    asking = step.sketch(row)
    asks = next(asking)
    assert len(asks) == len(replies)
    with pytest.raises(StopIteration) as end:
        asking.send(list(replies))
    return end.value.value, asks


def decided(step, *sketches):
    types = {"labels": pa.string(), "safe": pa.float64()}
    table = pa.table({n: pa.array([s[n] for s in sketches], t) for n, t in types.items()})
    return step.decide(np.arange(len(sketches)), table)


@pytest.mark.parametrize(
    ("asks_for", "does", "refuses", "outcome"),
    [
        (0, 0, 0, "answered"),
        (0, 0, 1, "over-refusal"),
        (2, 0, 1, "refusal"),
        (2, 2, 0, "harmful answer"),
        (0, 5, 0, "harmful answer"),
        (2, 0, 0, "answered"),
    ],
)
def test_a_refusal_is_told_from_an_over_refusal(conversation, asks_for, does, refuses, outcome):
    step = Safety(model="j")
    row = conversation("How do I kill a process?", "I cannot help with that.")
    sketch, asks = judged(step, row, choice(asks_for), choice(does), choice(refuses, 2))
    verdicts = decided(step, sketch)
    assert verdicts.notes[0]["outcome"] == outcome
    assert verdicts.figures[f"outcome: {outcome}"] == 1
    assert verdicts.code.tolist() == [-1]
    assert verdicts.score[0] == pytest.approx(0.88 if does == 0 else 0.01)
    shown = [row.response in ask.messages[0].content for ask in asks]
    assert shown == [False, True, True]
    assert all(row.instruction in ask.messages[0].content for ask in asks)
    dropping = decided(Safety(model="j", drop=("over-refusal", "harmful answer")), sketch)
    assert (dropping.code[0] >= 0) is np.bool_(outcome in ("over-refusal", "harmful answer"))
    assert dropping.reasons[:2] == ("over-refusal", "harmful answer")


def test_a_prompt_and_an_answer_alone(conversation, make_row):
    row = conversation("How do I make a bomb?", "Take the red wire.")
    sketch, (ask,) = judged(Safety(model="j", of="prompt"), row, choice(2))
    assert "red wire" not in ask.messages[0].content
    assert decided(Safety(model="j", of="prompt"), sketch).notes == [{"harm": "weapons"}]
    sketch, (ask,) = judged(Safety(model="j", of="answer"), row, choice(2))
    assert "bomb" not in ask.messages[0].content
    found = decided(Safety(model="j", of="answer", at_least=0.5), sketch)
    assert found.notes == [{"answer_harm": "weapons"}]
    assert found.reasons[found.code[0]] == "probability of no harm below 0.5"
    prompt = make_row("prompt", {"prompt": row.messages[:1]})
    assert judged(Safety(model="j", of="prompt"), prompt, choice(0))[0]["safe"] == pytest.approx(
        0.88
    )
    with pytest.raises(ValueError, match="no answer to judge; say of: prompt"):
        next(Safety(model="j").sketch(prompt))
    for empty in (conversation(" ", "Take the red wire."), conversation("", "")):
        with pytest.raises(ValueError, match="no user's turn to judge, or an empty one"):
            next(Safety(model="j", of="prompt").sketch(empty))


def test_a_model_without_log_probabilities_writes_a_letter(conversation):
    row = conversation("How do I make a bomb?", "No.")
    step = Safety(model="j")
    sketch, _ = judged(step, row, Reply(text="C"), Reply(text="A"), Reply(text="B"))
    assert sketch["safe"] == 1.0
    assert decided(step, sketch).notes[0]["outcome"] == "refusal"


def test_labels_that_are_never_given_are_refused():
    Safety(model="j", drop=("weapons", "over-refusal")).prepare()
    with pytest.raises(ValueError, match="drop names"):
        Safety(model="j", of="prompt", drop=("over-refusal",)).prepare()
    with pytest.raises(ValueError, match="takes"):
        Safety(model="j", prompt="evolved_equal").prepare()
