"""UltraFeedback: planted ratings come back to their candidates, reasons and all."""

import json
from math import log
from statistics import fmean

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Candidate, Message
from curate.steps.score.ultrafeedback import Ultrafeedback

ASPECTS = ("instruction_following", "truthfulness", "honesty", "helpfulness")
PLANTED = {"bad": (1, 2, 1, 1), "fair": (3, 4, 3, 2), "best": (5, 5, 4, 5)}


@pytest.fixture
def row(make_row):
    answers = tuple(Candidate((Message("assistant", a),), None, a) for a in PLANTED)
    return make_row("ranked", {"prompt": (Message("user", "Why?"),), "candidates": answers})


def replies_to(asks):
    for ask in asks:
        text = ask.messages[0].content
        (aspect,) = (
            n for n, a in enumerate(ASPECTS) if f"Rate the {a.replace('_', ' ')} of" in text
        )
        there = [a for a in PLANTED if f"]\n{a}\n[end of answer" in text]
        there.sort(key=lambda a, text=text: text.index(f"]\n{a}\n[end of answer"))
        ratings = [{"rationale": f"{a}!", "rating": PLANTED[a][aspect]} for a in there]
        yield Reply(text=json.dumps({"ratings": ratings}))


def made_of(step, row):
    asking = step.make(row)
    asks = next(asking)
    with pytest.raises(StopIteration) as end:
        asking.send(list(replies_to(asks)))
    return end.value.value, asks


@pytest.mark.parametrize(("together", "requests"), [(True, 4), (False, 12)])
def test_planted_ratings_come_back_with_their_reasons(row, together, requests):
    made, asks = made_of(Ultrafeedback(model="j", together=together), row)
    assert len(asks) == requests
    for one in made.record.fields["candidates"]:
        answer = one.messages[0].content
        assert (one.model, one.score) == (answer, fmean(PLANTED[answer]))
        said = json.loads(one.extra)["ultrafeedback"]
        assert {name: own["rating"] for name, own in said.items()} == dict(
            zip(ASPECTS, PLANTED[answer], strict=True)
        )
        assert said["honesty"]["rationale"] == f"{answer}!"
    assert made.record.fields["prompt"] == row.prompt


def test_every_aspect_has_an_order_of_its_own(row):
    made, _ = made_of(Ultrafeedback(model="j"), row)
    assert made.detail["shown"] == made_of(Ultrafeedback(model="j"), row)[0].detail["shown"]
    orders = {
        tuple(order)
        for n in range(6)
        for _, order in made_of(Ultrafeedback(model="j"), row._replace(run_seed=n))[0].detail[
            "shown"
        ]
    }
    assert len(orders) > 3


def test_what_was_known_of_a_candidate_is_kept(row):
    scored = [one._replace(score=float(n)) for n, one in enumerate(row.candidates)]
    made, _ = made_of(Ultrafeedback(model="j"), row._replace(
        fields={**row.fields, "candidates": tuple(scored)}
    ))  # fmt: skip
    again = made.record.fields["candidates"]
    before = [json.loads(one.extra)["score_before_ultrafeedback"] for one in again]
    assert before == [0.0, 1.0, 2.0]
    # A second time there is no place for it.
    with pytest.raises(ValueError, match="which would be lost; give this step a label of its own"):
        made_of(Ultrafeedback(model="j"), row._replace(fields={**row.fields, "candidates": again}))


def test_only_the_aspects_asked_for(row):
    made, asks = made_of(Ultrafeedback(model="j", aspects=("honesty",)), row)
    assert len(asks) == 1
    assert [c.score for c in made.record.fields["candidates"]] == [1.0, 3.0, 4.0]
    with pytest.raises(ValueError, match="aspects names"):
        Ultrafeedback(model="j", aspects=("style",)).prepare()


@pytest.mark.parametrize(
    ("ratings", "why"),
    [
        ([1, 2], "2 ratings for 3 answers"),
        ([1, 2, 10], "maximum is 5"),
        ([1, 2, 4.5], "type"),
        ([1, 2, 0], "minimum is 1"),
    ],
)
def test_a_bad_reply_is_repaired_and_then_fails_the_row(row, ratings, why):
    asking = Ultrafeedback(model="j").make(row)
    replies = list(replies_to(next(asking)))
    text = json.dumps({"ratings": [{"rationale": "r", "rating": one} for one in ratings]})
    again = asking.send([replies[0], Reply(text=text), *replies[2:]])
    assert len(again) == 1
    assert why in again[0].messages[-1].content
    with pytest.raises(UnusableReply):
        asking.send([Reply(text=text)])


def test_a_row_without_answers_fails(make_row):
    empty = (Candidate((Message("assistant", " "),)),)
    for candidates in ((), empty):
        row = make_row("ranked", {"prompt": (Message("user", "Why?"),), "candidates": candidates})
        with pytest.raises(ValueError, match="no candidate"):
            next(Ultrafeedback(model="j").make(row))


BRIEF = Ultrafeedback(model="j", **Ultrafeedback.for_small_models)


def chances_of(*chances):
    return Reply(values=tuple(log(chance) for chance in chances), mass=0.8)


def test_small_models_rate_by_the_chances_of_the_ratings(row):
    asking = BRIEF.make(row)
    asks = next(asking)
    assert {ask.options for ask in asks} == {("1", "2", "3", "4", "5")}
    # Each aspect of each answer alone, in the order in which they stand.
    assert [next(a for a in PLANTED if f"Answer: {a}\n" in ask.prompt) for ask in asks] == [
        *PLANTED,
    ] * len(ASPECTS)
    even, sure = chances_of(0.2, 0.2, 0.2, 0.2, 0.2), chances_of(0.01, 0.01, 0.01, 0.01, 0.96)
    with pytest.raises(StopIteration) as end:
        asking.send([even, even, sure] * len(ASPECTS))
    made = end.value.value
    scores = [one.score for one in made.record.fields["candidates"]]
    assert scores == pytest.approx([3.0, 3.0, 0.01 * 10 + 0.96 * 5])
    said = json.loads(made.record.fields["candidates"][0].extra)["ultrafeedback"]
    assert said["honesty"] == {"rating": pytest.approx(3.0), "mass": 0.8}
    assert made.detail["shown"] is None


def test_a_rating_that_the_model_cannot_give_fails_the_row(row):
    asking = BRIEF.make(row)
    asked = next(asking)
    with pytest.raises(UnusableReply, match="no log-probabilities of the scores 1 to 5"):
        asking.send([Reply(text="4")] * len(asked))


def test_a_prompt_that_asks_for_an_object_is_not_completed():
    with pytest.raises(ValueError, match="complete sends one raw text"):
        Ultrafeedback(model="j", complete=True).prepare()
    BRIEF.prepare()
