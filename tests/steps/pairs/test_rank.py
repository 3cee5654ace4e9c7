"""Ranks: planted orders come out, effects of order show, and what candidates came with stays."""

import json
from itertools import pairwise

import pytest

from curate.ask import Ask, Reply
from curate.errors import UnusableReply
from curate.row import Candidate, Message
from curate.step import Figures
from curate.steps.pairs.rank import Rank, RankedList

# In the order of their quality, worst first; "b" is the longest.
ANSWERS = ("a poor one", "b is a fair one, and the longest", "c is good")


def answer(text):
    return (Message("assistant", text),)


@pytest.fixture
def ranked(make_row):
    def made(*answers, scores=(), n=0):
        candidates = tuple(
            Candidate(answer(text), scores[k] if scores else None, f"m{k}")
            for k, text in enumerate(answers or ANSWERS)
        )
        fields = {"prompt": (Message("user", f"Question {n}?"),), "candidates": candidates}
        return make_row("ranked", fields)

    return made


def shown(text, answers=ANSWERS):
    """Return the answers in the order in which a prompt shows them."""
    return sorted((one for one in answers if f"\n{one}\n" in text), key=text.index)


def better(request):
    first, second = shown(request.messages[0].content)
    return Reply(text="A" if ANSWERS.index(first) > ANSWERS.index(second) else "B")


def listed(ranks_of):
    """Return a judge that ranks lists: `ranks_of` gives the ranks of the answers shown."""

    def says(request):
        assert isinstance(request, Ask)
        ranks = ranks_of(shown(request.messages[0].content))
        return Reply(text=json.dumps({"rationale": "so", "ranks": ranks}))

    return says


def by_quality(answers):
    return [len(ANSWERS) - ANSWERS.index(one) for one in answers]


def test_a_tournament_finds_the_planted_order(ranked, drive):
    made, figures = drive(Rank(model="j").make(ranked()), better)
    assert [one.score for one in made.record.fields["candidates"]] == [0.0, 0.5, 1.0]
    assert made.score == 0.5
    assert [tuple(one["pair"]) for one in made.detail["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    assert isinstance(figures, Figures)
    assert figures.values["consistent"] == 1.0
    assert (figures.values["cyclic"], figures.values["longest_is_best"]) == (0.0, 0.0)


def test_a_judge_of_places_leaves_all_equal_and_is_shown_up(ranked, drive):
    made, figures = drive(Rank(model="j").make(ranked()), lambda request: Reply(text="A"))
    assert [one.score for one in made.record.fields["candidates"]] == [0.5] * 3
    assert made.score == 0.0
    assert figures.values["shown_first_wins"] == figures.values["same_place_wins"] == 1.0
    assert figures.values["consistent"] == 0.0


def test_a_circle_is_told(ranked, drive):
    beats = {(0, 1), (1, 2), (2, 0)}

    def says(request):
        first, second = (ANSWERS.index(one) for one in shown(request.messages[0].content))
        return Reply(text="A" if (first, second) in beats else "B")

    made, figures = drive(Rank(model="j").make(ranked()), says)
    assert [one.score for one in made.record.fields["candidates"]] == [0.5] * 3
    assert figures.values["cyclic"] == 1.0


def test_a_circle_of_four_is_told(ranked, drive):
    answers, beats = ("iron", "zinc", "gold", "lead"), {(0, 1), (1, 2), (2, 3), (3, 0)}

    def says(request):
        pair = tuple(answers.index(one) for one in shown(request.messages[0].content, answers))
        return Reply(text="A" if pair in beats else "B" if pair[::-1] in beats else "C")

    step = Rank(model="j", options=("A", "B", "C"))
    made, figures = drive(step.make(ranked(*answers)), says)
    assert [one.score for one in made.record.fields["candidates"]] == [0.5] * 4
    assert figures.values["cyclic"] == 1.0


@pytest.mark.parametrize("orders", ["both", "drawn", "given"])
def test_a_list_finds_the_planted_order_however_it_is_shown(orders, ranked, drive):
    step, seen = Rank(model="j", method="listwise", orders=orders), set()
    for n in range(12):
        made, figures = drive(step.make(ranked(n=n)), listed(by_quality))
        assert [one.score for one in made.record.fields["candidates"]] == [0.0, 0.5, 1.0]
        lists = made.detail["lists"]
        assert len(lists) == (2 if orders == "both" else 1)
        assert all(one["ranks"] == [3, 2, 1] for one in lists)
        seen.add(tuple(lists[0]["shown"]))
        if orders == "both":
            assert lists[1]["shown"] == lists[0]["shown"][::-1]
            assert figures.values["orders_agree"] == 1.0
    assert (seen == {(0, 1, 2)}) == (orders == "given")


def test_a_list_judge_of_places_is_shown_up(ranked, drive):
    first_place = listed(lambda answers: list(range(1, len(answers) + 1)))
    step = Rank(model="j", method="listwise")
    for n in range(5):
        made, figures = drive(step.make(ranked(n=n)), first_place)
        assert [one.score for one in made.record.fields["candidates"]] == [0.5] * 3
        places = [figures.values[f"place_{k}_wins"] for k in (1, 2, 3)]
        assert places == [1.0, 0.0, 0.0]
        assert figures.values["orders_agree"] == 0.0


def test_ties_of_a_list_count_half():
    tied = RankedList("j", [2, 0, 1], [1, 1, 3])
    assert tied.outranked() == [0.75, 0.75, 0.0]
    assert [tied.wins_at(place) for place in range(3)] == [0.0, 0.5, 0.5]
    assert tied.agreement(RankedList("j", [0, 1, 2], [1, 2, 3])) == pytest.approx(2 / 3)


def test_a_bad_list_is_asked_again_and_then_fails(ranked, drive):
    good = listed(by_quality)
    bad = Reply(text='{"rationale": "r", "ranks": [1, 2]}')
    says = lambda request: bad if len(request.messages) == 1 else good(request)  # noqa: E731
    made, _ = drive(Rank(model="j", method="listwise").make(ranked()), says)
    assert [one.score for one in made.record.fields["candidates"]] == [0.0, 0.5, 1.0]
    with pytest.raises(UnusableReply, match="must be 3 whole numbers from 1 to 3"):
        drive(Rank(model="j", method="listwise", repairs=0).make(ranked()), says)


def test_several_judges_are_averaged(ranked, drive):
    worst_first = listed(lambda answers: [4 - rank for rank in by_quality(answers)])
    says = lambda r: listed(by_quality)(r) if r.model == "j" else worst_first(r)  # noqa: E731
    made, _ = drive(Rank(models=("j", "k"), method="listwise").make(ranked()), says)
    assert [one.score for one in made.record.fields["candidates"]] == [0.5] * 3
    assert [one["model"] for one in made.detail["lists"]] == ["j", "j", "k", "k"]


def test_the_scores_that_candidates_came_with_are_kept(ranked, drive):
    made, _ = drive(Rank(model="j").make(ranked(scores=(5.0, 4.0, None))), better)
    extras = [one.extra for one in made.record.fields["candidates"]]
    assert extras == ['{"score_before_rank": 5.0}', '{"score_before_rank": 4.0}', None]
    again = ranked()._replace(fields=made.record.fields)
    with pytest.raises(ValueError, match="a label of its own"):
        drive(Rank(model="j").make(again), better)


def test_ranks_alone_are_completed_by_small_models(ranked, drive):
    step = Rank(model="j", method="listwise", prompt="rank_answers_brief", complete=True)
    step.prepare()

    def says(request):
        assert request.prompt.endswith("(1 is the best):")
        places = {one: request.prompt.rindex(one) for one in ANSWERS}
        order = sorted(ANSWERS, key=places.__getitem__)
        assert all(places[a] < places[b] for a, b in pairwise(order))
        return Reply(text=" " + ", ".join(map(str, by_quality(order))))

    made, _ = drive(step.make(ranked()), says)
    assert [one.score for one in made.record.fields["candidates"]] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "model must name"),
        ({"model": "j", "repairs": -1}, "0 or more"),
        ({"model": "j", "max_tokens": 0}, "1 or more"),
        ({"model": "j", "method": "listwise", "reason": True}, "belong to a tournament"),
        ({"model": "j", "method": "listwise", "complete": True}, "rank_answers_brief"),
        ({"model": "j", "prompt": "rank_answers"}, r"takes \['answers'\]"),
    ],
)
def test_a_step_that_cannot_rank_is_refused(fields, message):
    step = Rank(**fields)
    with pytest.raises(ValueError, match=message):
        step.check()
        step.prepare()


def test_one_candidate_is_no_list(ranked, drive):
    with pytest.raises(ValueError, match="1 candidates; to rank takes two"):
        drive(Rank(model="j").make(ranked("alone")), better)
