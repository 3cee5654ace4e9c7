"""People's votes: one preference of many, the disagreement kept, and figures of it."""

import json
import math
from itertools import combinations

import pytest

from curate.engine.ledger import FigureTotals
from curate.pipeline import Pipeline
from curate.row import Message
from curate.step import Drop, Figures
from curate.steps.pairs.aggregate import Aggregate
from tests.steps.conftest import row_of


def vote(who, chosen="a", rejected="b", *, prompt="Why?", **columns):
    fields = {
        "prompt": (Message("user", prompt),),
        "chosen": (Message("assistant", chosen),),
        "rejected": (Message("assistant", rejected),),
        "margin": columns.pop("margin", None),
        "p_chosen": None,
    }
    return row_of("preference", fields, extra=json.dumps({"annotator": who, **columns}))


# Who prefers a to b, by group: in X 3 of 4, in Y 1 of 3 (with a tie), so a has 4.5 of 7 votes.
TABLE = [
    vote("p1", group="X"), vote("p2", group="X"), vote("p3", group="X"),
    vote("p4", "b", "a", group="X"),
    vote("q1", group="Y"), vote("q2", "b", "a", group="Y"), vote("q3", tie=True, group="Y"),
]  # fmt: skip


def made_of(step, rows):
    return [one for one in step.make(rows) if not isinstance(one, Figures)]


def test_a_column_where_votes_will_stand_is_not_lost():
    for column, step in (("votes", Aggregate()), ("groups", Aggregate(group="group"))):
        rows = [vote("p1", group="X", **{column: 7}), vote("p2", group="X")]
        with pytest.raises(ValueError, match=f"has a column '{column}' already; rename it"):
            step.make(rows)
    # Without groups there is no such column to be in the way.
    [made] = made_of(Aggregate(), [vote("p1", groups=7), vote("p2", groups=7)])
    assert json.loads(made.record.extra)["groups"] == 7


def test_a_majority_decides_and_who_said_what_is_kept():
    [made] = made_of(Aggregate(), TABLE)
    fields = made.record.fields
    assert (fields["chosen"][0].content, fields["rejected"][0].content) == ("a", "b")
    assert fields["p_chosen"] == made.score == 4.5 / 7
    assert json.loads(made.record.extra)["votes"] == {
        "p1": "chosen", "p2": "chosen", "p3": "chosen", "p4": "rejected",
        "q1": "chosen", "q2": "rejected", "q3": "tied",
    }  # fmt: skip
    assert len({Aggregate().key(row) for row in TABLE}) == 1
    assert Aggregate().key(vote("p", "a", "c")) != Aggregate().key(TABLE[0])


def test_the_consensus_of_groups_is_a_hand_count():
    [made] = made_of(Aggregate(group="group"), TABLE)
    assert json.loads(made.record.extra)["groups"] == {
        "X": {"votes": 4, "p_chosen": 3 / 4, "consensus": 3 / 4},
        "Y": {"votes": 3, "p_chosen": 1.5 / 3, "consensus": 1 / 3},
    }
    x, y = made_of(Aggregate(group="group", apart=True), TABLE)
    assert (x.score, json.loads(x.record.extra)["group"]) == (0.75, "X")
    assert isinstance(y, Drop)
    assert y.reason == "as many votes for one answer as for the other"
    other = [row for row in TABLE if '"Y"' not in row.extra or "q2" in row.extra]
    x, y = made_of(Aggregate(group="group", apart=True), other)
    assert y.record.fields["chosen"][0].content == "b"
    assert json.loads(y.record.extra)["groups"]["X"]["p_chosen"] == 0.25


def test_too_few_who_agree_are_dropped():
    [drop] = made_of(Aggregate(at_least=0.7), TABLE)
    assert (drop.reason, drop.score) == ("fewer than 0.7 of the votes agree", 4.5 / 7)
    assert made_of(Aggregate(), [vote("p1"), vote("p2", "b", "a")])[0].score == 0.5
    assert made_of(Aggregate(), [vote("p1", margin=0.0)])[0].score == 0.5


def test_figures_equal_those_of_the_whole_table():
    """The votes of two people on 50 pairs are the textbook's table (20, 5, 10, 15): kappa 0.4."""
    groups = FigureTotals()
    for first, second, count in (("a", "a", 20), ("a", "b", 5), ("b", "a", 10), ("b", "b", 15)):
        for number in range(count):
            rows = [
                vote(who, said, "ab".replace(said, ""), prompt=f"{first}{second}{number}")
                for who, said in (("one", first), ("two", second))
            ]
            for one in Aggregate().make(rows):
                if isinstance(one, Figures):
                    groups.note(one.values)
    figures = Aggregate().figures(groups.totals())
    assert figures["cohen kappa"] == pytest.approx(0.4)
    # By hand: 35 of 50 agree; 55 of 100 votes say a.
    chance = 0.55**2 + 0.45**2
    assert figures["fleiss kappa"] == pytest.approx((0.7 - chance) / (1 - chance))
    by_chance = 2 * 55 * 45 / (100 * 99)
    assert figures["krippendorff alpha"] == pytest.approx(1 - 0.3 / by_chance)
    assert (figures["votes"], figures["unanimous"]) == (100, 0.7)


def test_strengths_rank_the_answers_and_circles_are_counted(tmp_path):
    rows = [vote(f"p{n}", "a", "b") for n in range(3)] + [vote("p3", "b", "a")]
    [made] = made_of(Aggregate(method="bradley_terry", prior=0), rows)
    scores = {c.messages[0].content: c.score for c in made.record.fields["candidates"]}
    assert scores["a"] == pytest.approx(math.log(3) / 2)
    assert scores["a"] + scores["b"] == pytest.approx(0)
    circle = [("a", "b"), ("b", "c"), ("c", "a")]
    data = [
        {"prompt": prompt, "chosen": one, "rejected": two, "annotator": "p"}
        for prompt, pairs in (("round", circle), ("line", [*circle[:2], ("a", "c")]))
        for one, two in pairs
    ]
    result = Pipeline([Aggregate(method="bradley_terry")]).run(data, run=tmp_path / "run")
    assert result.summary["figures"]["aggregate"] == {"circles": 0.5}
    round_, line = ([c.score for c in row.candidates] for row in result.kept)
    assert round_ == pytest.approx([0, 0, 0])
    assert line == sorted(line, reverse=True)
    assert result.summary["used"] == 6


def test_the_margin_is_the_mean_of_votes_that_all_say_how_much():
    strong = [vote("p1", margin=3.0), vote("p2", margin=1.0), vote("p3", "b", "a", margin=1.0)]
    [made] = made_of(Aggregate(), strong)
    assert (made.record.fields["chosen"][0].content, made.record.fields["margin"]) == ("a", 1.0)
    [made] = made_of(Aggregate(), [*strong, vote("p4", margin=0.0)])
    assert made.record.fields["margin"] == 3 / 4
    # The few may be surer than the many.
    sure = [vote("p1", margin=1.0), vote("p2", margin=1.0), vote("p3", "b", "a", margin=3.0)]
    assert made_of(Aggregate(), sure)[0].record.fields["margin"] == -1 / 3
    assert made_of(Aggregate(), [*strong, vote("p4")])[0].record.fields["margin"] is None
    x, y = made_of(
        Aggregate(group="group", apart=True),
        [vote("p1", margin=2.0, group="X"), vote("q1", "b", "a", margin=3.0, group="Y")],
    )
    assert [one.record.fields["margin"] for one in (x, y)] == [2.0, 3.0]


def test_planted_strengths_are_found_through_the_step(tmp_path):
    """Votes as often as planted strengths say, of as many people, over four answers."""
    planted = {"a": math.log(8), "b": math.log(4), "c": math.log(2), "d": 0.0}
    data = []
    for one, two in combinations(planted, 2):
        # Odds of 2, 4 and 8 to 1 are whole numbers of 90 votes.
        odds = round(math.exp(planted[one] - planted[two]))
        for who in range(90):
            won = who * (odds + 1) < 90 * odds
            sides = (one, two) if won else (two, one)
            data.append(
                dict(
                    zip(("chosen", "rejected"), sides, strict=True), prompt="q", annotator=f"w{who}"
                )
            )
    result = Pipeline([Aggregate(method="bradley_terry", prior=0)]).run(data, run=tmp_path / "run")
    [row] = result.kept
    found = {c.messages[0].content: c.score for c in row.candidates}
    middle = math.log(8 * 4 * 2) / 4
    assert found == pytest.approx({k: v - middle for k, v in planted.items()}, abs=1e-6)


def test_a_circle_is_told_of_its_prompt():
    votes = [vote("p1", "a", "b"), vote("p1", "b", "c"), vote("p1", "c", "a")]
    [made] = made_of(Aggregate(method="bradley_terry"), votes)
    assert made.detail == {"votes": 3, "circle": True}
    [made] = made_of(Aggregate(method="bradley_terry"), votes[:2])
    assert made.detail["circle"] is False


@pytest.mark.parametrize(
    ("rows", "step", "said"),
    [
        ([vote("p"), vote("p", "b", "a")], Aggregate(), "'p' voted twice on the same two answers"),
        ([vote(None)], Aggregate(), "no annotator: column 'annotator' is None"),
        ([vote("p")], Aggregate(group="group"), "a vote has no group"),
    ],
)
def test_votes_that_cannot_be_counted_fail_their_group(rows, step, said):
    with pytest.raises(ValueError, match=said):
        step.make(rows)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"at_least": 2}, "at_least is 2"), ({"prior": -1}, "prior is -1"),
     ({"apart": True}, "apart needs")],
)  # fmt: skip
def test_fields_that_make_no_sense_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Aggregate(**fields).check()


def test_any_name_of_an_annotator_counts():
    names = ["a\x1fb", 'c"', "[d]"]
    step = Aggregate()
    totals = FigureTotals()
    for one in step.make([vote(name) for name in names]):
        if isinstance(one, Figures):
            totals.note(one.values)
    assert step.figures(totals.totals())["votes"] == 3
