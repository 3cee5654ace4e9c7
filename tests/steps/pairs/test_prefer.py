"""Preferences by a judge: sides, ties, what is carried, and the promises of a run."""

import json

import pytest

from curate import Pipeline
from curate.ask import Reply
from curate.row import Candidate, Message
from curate.step import Drop, Figures, Made
from curate.steps.pairs.prefer import NO_DIFFERENCE, Prefer

GOOD, BAD = "Iron is a metal.", "I like wood."


def answer(text):
    return (Message("assistant", text),)


def says_good(request):
    text = request.messages[0].content
    return Reply(text="A" if text.index(GOOD) < text.index(BAD) else "B")


@pytest.fixture
def pair(make_row):
    def made(chosen=BAD, rejected=GOOD, margin=2.0, **extra):
        fields = {
            "prompt": (Message("user", "Name a metal."),),
            "chosen": answer(chosen),
            "rejected": answer(rejected),
            "margin": margin,
            "p_chosen": None,
        }
        return make_row("preference", fields, extra=json.dumps(extra) if extra else None)

    return made


def test_the_preferred_answer_becomes_the_chosen_one(pair, drive):
    row = pair(score_chosen=7, score_rejected=5, chosen_model="m", kept="so")
    made, figures = drive(Prefer(model="j").make(row), says_good)
    fields = made.record.fields
    assert (fields["chosen"], fields["rejected"]) == (answer(GOOD), answer(BAD))
    assert (fields["p_chosen"], fields["margin"], made.score) == (1.0, -2.0, 1.0)
    # What is said of an answer goes with it.
    assert json.loads(made.record.extra) == {
        "score_rejected": 7,
        "score_chosen": 5,
        "rejected_model": "m",
        "kept": "so",
    }
    assert isinstance(figures, Figures)
    assert [one["swapped"] for one in made.detail["opinions"]] == [False, True]


def test_what_aggregate_says_of_the_sides_goes_with_them(pair, drive):
    said = {
        "votes": {"ann": "chosen", "bob": "rejected", "cyd": "tied"},
        "groups": {"X": {"votes": 4, "p_chosen": 0.75, "consensus": 0.75}},
    }
    made, _ = drive(Prefer(model="j").make(pair(**said)), says_good)
    assert json.loads(made.record.extra) == {
        "votes": {"ann": "rejected", "bob": "chosen", "cyd": "tied"},
        "groups": {"X": {"votes": 4, "p_chosen": 0.25, "consensus": 0.75}},
    }
    made, _ = drive(Prefer(model="j", sides="given").make(pair(**said)), says_good)
    assert json.loads(made.record.extra) == said


def test_a_column_that_is_of_neither_side_keeps_its_name(pair, drive):
    others = {"unchosen": 1, "who_chosen_by": 2, "rejectedness": 3, "votes": 7, "groups": ["X"]}
    made, _ = drive(Prefer(model="j").make(pair(**others)), says_good)
    assert json.loads(made.record.extra) == others


def test_given_sides_stay_and_may_be_below_a_half(pair, drive):
    made, _ = drive(Prefer(model="j", sides="given").make(pair()), says_good)
    assert (made.record.fields["chosen"], made.score) == (answer(BAD), 0.0)
    assert made.record.fields["margin"] == 2.0
    drop, _ = drive(Prefer(model="j", sides="given", at_least=0.5).make(pair()), says_good)
    assert drop == Drop("preferred below 0.5", 0.0, detail=made.detail)


def test_ties_are_dropped_unless_they_are_wanted(pair, drive):
    always = lambda request: Reply(text="A")  # noqa: E731
    drop, _ = drive(Prefer(model="j").make(pair()), always)
    assert (drop.reason, drop.score) == (NO_DIFFERENCE, 0.5)
    for step in (Prefer(model="j", drop_ties=False), Prefer(model="j", sides="given")):
        made, _ = drive(step.make(pair()), always)
        assert (made.record.fields["chosen"], made.score) == (answer(BAD), 0.5)


def test_two_candidates_make_a_preference_and_lose_nothing(make_row, drive):
    candidates = (
        Candidate(answer(BAD), 3.0, "small", '{"why": "wood"}'),
        Candidate(answer(GOOD), 4.5, None),
    )
    fields = {"prompt": (Message("user", "Name a metal."),), "candidates": candidates}
    row = make_row("ranked", fields, extra='{"n": 1}')
    made, _ = drive(Prefer(model="j").make(row), says_good)
    assert made.record.kind == "preference"
    assert made.record.fields["margin"] == 1.5
    assert json.loads(made.record.extra) == {
        "n": 1,
        "chosen_score": 4.5,
        "rejected_model": "small",
        "rejected_score": 3.0,
        "rejected_extra": {"why": "wood"},
    }
    taken = row._replace(extra='{"rejected_model": "x"}')
    with pytest.raises(ValueError, match="a column 'rejected_model', which would be lost"):
        drive(Prefer(model="j").make(taken), says_good)
    three = make_row("ranked", fields | {"candidates": (*candidates, candidates[0])})
    with pytest.raises(ValueError, match="3 candidates, and a pair has two; let rank"):
        drive(Prefer(model="j").make(three), says_good)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "model must name"),
        ({"model": "j", "at_least": 1.5}, "a probability from 0 to 1"),
        ({"model": "j", "max_tokens": 0}, "must be 1 or more"),
    ],
)
def test_a_step_that_cannot_work_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Prefer(**fields).check()


def test_media_and_empty_answers_fail(pair, drive):
    with pytest.raises(ValueError, match="an answer is empty"):
        drive(Prefer(model="j").make(pair(chosen=" ")), says_good)
    seen = Message("user", "", '{"content": [{"type": "image_url", "image_url": {"url": "u"}}]}')
    row = pair()
    row = row._replace(fields={**row.fields, "prompt": (seen,)})
    with pytest.raises(ValueError, match="cannot read"):
        drive(Prefer(model="j").make(row), says_good)


def rows(count):
    return [
        {"prompt": f"Question {n}?", "chosen": f"Yes {n}.", "rejected": f"Never {n}, no."}
        for n in range(count)
    ]


def test_a_run_replays_explains_and_asks_nothing_for_another_limit(scripted, tmp_path):
    # The judge says A to even questions, and B to odd ones, in whatever order: places only.
    model = scripted(
        [
            {"when": {"contains": f"Question {n}?"}, "values": [-0.1, -2.4] if n % 2 else [-3, -1]}
            for n in range(9)
        ]
    )
    pipeline = Pipeline([Prefer(model="judge", sides="given")], models={"judge": model})
    ran = pipeline.run(rows(9), run=tmp_path / "run", store=tmp_path / "store")
    assert (ran.summary["used"], ran.summary["kept"], ran.summary["failed"]) == (9, 9, 0)
    assert ran.summary["requests"]["sent"] == 18
    figures = ran.summary["figures"]["prefer"]
    assert (figures["same_place_wins"], figures["consistent"], figures["tied"]) == (1, 0, 1)
    assert figures["shown_first_wins"] == pytest.approx(4 / 9)
    assert figures["longer_wins"] == 0.5
    assert [row.fields["p_chosen"] for row in ran.kept] == [0.5] * 9
    first = next(iter(ran.kept))
    history = ran.explain(first.id)
    said = [(one["swapped"], one["p_first"]) for one in history.events[0]["detail"]["opinions"]]
    assert said == [(False, pytest.approx(0.119203)), (True, pytest.approx(0.880797))]
    exchanges = history.parents[0].exchanges.values()
    assert all("Compare two answers" in str(one["request"]) for one in exchanges)
    assert len(exchanges) == 2
    other = Pipeline([Prefer(model="judge", at_least=0.6)], models={"judge": model})
    again = other.run(rows(9), run=tmp_path / "again", store=tmp_path / "store")
    assert again.summary["requests"]["sent"] == 0
    assert again.summary["steps"][0]["reasons"] == {NO_DIFFERENCE: 9}


def test_the_score_is_made(pair, drive):
    made, _ = drive(Prefer(model="j").make(pair()), says_good)
    assert isinstance(made, Made)
    assert Prefer(model="j").kinds_made(frozenset({"ranked"})) == {"preference"}
