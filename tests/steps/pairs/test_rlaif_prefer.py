"""RLAIF's labels: the prompt's parts, both orders, and both of its metrics by hand."""

import json
import math

import pytest

from curate import Pipeline
from curate.ask import Ask, Reply
from curate.engine.ledger import FigureTotals
from curate.row import Candidate, Message
from curate.step import Drop
from curate.steps.pairs.rlaif_prefer import RlaifPrefer
from tests.steps.conftest import row_of


def pair(first="one", second="two", p_chosen=None, **columns):
    fields = {
        "prompt": (Message("user", "Why?"),),
        "chosen": (Message("assistant", first),),
        "rejected": (Message("assistant", second),),
        "margin": None,
        "p_chosen": p_chosen,
    }
    return row_of("preference", fields, extra=json.dumps(columns) if columns else None)


def by_order(given, swapped):
    """Return a labeler: the probability of what it is shown first, as rows stand and swapped."""

    def says(request):
        if isinstance(request, Ask):
            return Reply(text="It says more.")
        text = request.messages[0].content
        p = given if text.index("]\none\n") < text.index("]\ntwo\n") else swapped
        return Reply(values=(math.log(p), math.log(1 - p)))

    return says


def test_the_label_is_the_mean_of_both_orders_mapped_back(drive):
    asked = []

    def says(request):
        asked.append(request)
        return by_order(0.9, 0.4)(request)

    made, _ = drive(RlaifPrefer(model="j").make(pair()), says)
    assert made.record.fields["p_chosen"] == pytest.approx((0.9 + 0.6) / 2)
    assert [one.options for one in asked] == [("1", "2")] * 2
    assert [one["principle"] for one in made.detail["opinions"]] == ["detailed"] * 2


# What the labeler gives the first place in both orders; people's choice; hand counts.
PAIRS = [
    (0.9, 0.2, 1),  # Label 0.85: the first; people agree; no place wins twice.
    (0.9, 0.2, 2),  # They disagree.
    (0.9, 0.8, 1),  # Label 0.55: agrees, but the first place wins twice.
    (0.3, 0.2, 2),  # Label 0.55: disagrees, and the second place wins twice.
    (0.7, 0.7, 2),  # Label 0.5: half; the first place wins twice.
    (0.1, 0.9, None),  # People say neither: counts for the bias alone.
]


def test_alignment_and_position_bias_are_the_hand_counts(drive):
    step = RlaifPrefer(model="j", human="people", sides="given")
    found = FigureTotals()
    for given, swapped, people in PAIRS:
        _, figures = drive(step.make(pair(people=people)), by_order(given, swapped))
        found.note(figures.values)
    total = step.figures(found.totals())
    assert total["ai_labeler_alignment"] == pytest.approx(2.5 / 5)
    assert total["position_bias"] == pytest.approx(3 / 6)
    assert "same_place_wins" not in total
    assert total["consistent"] == pytest.approx(3 / 6)


def test_alignment_is_counted_of_dropped_pairs_and_before_sides_change(drive):
    drop, figures = drive(RlaifPrefer(model="j", human="chosen").make(pair()), by_order(0.7, 0.7))
    assert isinstance(drop, Drop)
    assert figures.values["ai_labeler_alignment"] == 0.5
    made, figures = drive(RlaifPrefer(model="j", human="chosen").make(pair()), by_order(0.1, 0.9))
    assert made.record.fields["chosen"][0].content == "two"
    assert figures.values["ai_labeler_alignment"] == 0.0


@pytest.mark.parametrize(
    ("row", "human", "wanted"),
    [
        (pair(), None, None),
        (pair(), "chosen", 1),
        (pair(p_chosen=0.2), "chosen", 2),
        (pair(p_chosen=0.5), "chosen", None),
        (pair(vote="2"), "vote", 2),
        (pair(vote=1), "vote", 1),
        (pair(vote=None), "vote", None),
    ],
)
def test_peoples_choice_is_read(row, human, wanted):
    assert RlaifPrefer(model="j", human=human).human_choice(row) == wanted


@pytest.mark.parametrize(
    ("scores", "wanted"), [((1, 2), 2), ((3, 2), 1), ((2, 2), None), ((None, 2), None)]
)
def test_peoples_scores_of_candidates_are_their_choice(scores, wanted):
    candidates = tuple(
        Candidate((Message("assistant", text),), score, None)
        for text, score in zip(("one", "two"), scores, strict=True)
    )
    row = row_of("ranked", {"prompt": (Message("user", "Why?"),), "candidates": candidates})
    assert RlaifPrefer(model="j", human="chosen").human_choice(row) == wanted


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"vote": "A"}, "column 'vote' holds 'A'; people's choice is 1"),
        ({"vote": True}, "column 'vote' holds True"),
        ({"votes": 1}, "no column 'vote' with people's choice; it has votes"),
        ({}, "it has none"),
    ],
)
def test_another_choice_fails_before_anything_is_asked(columns, said):
    with pytest.raises(ValueError, match=said):
        next(RlaifPrefer(model="j", human="vote").make(pair(**columns)))


@pytest.mark.parametrize("reason", [False, True])
@pytest.mark.parametrize("shots", [0, 1, 2])
@pytest.mark.parametrize("preamble", ["base", "detailed"])
def test_the_prompt_has_its_parts(preamble, shots, reason, drive):
    asked = []

    def says(request):
        asked.append(request)
        return by_order(0.9, 0.2)(request)

    step = RlaifPrefer(model="j", preamble=preamble, shots=shots, reason=reason)
    step.prepare()
    made, _ = drive(step.make(pair()), says)
    text = asked[0].messages[0].content
    assert text.startswith("A good answer") == (preamble == "detailed")
    assert text.count("The better answer: ") == shots
    assert text.count("Reasoning: ") == shots * reason
    assert text.endswith("The better answer:") != reason
    assert len(asked) == (4 if reason else 2)
    if shots == 2:
        assert text.index("The better answer: 2") < text.index("The better answer: 1")
    assert [one.get("reasoning") for one in made.detail["opinions"]] == (
        ["It says more."] * 2 if reason else [None] * 2
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"preamble": "long"}, "no item 'long': base, detailed"),
        ({"shots": 3}, "shots is 3, and 'rlaif_exemplars' has 2 items"),
        ({"shots": 1, "exemplars": "constitution_examples"}, "the item 'locked_out' lacks"),
        ({"shots": 1, "exemplars": "nowhere"}, "there is no prompt 'nowhere'"),
        ({"prompt": "compare_answers"}, "no item 'detailed'"),
        ({"complete": True, "reason": True}, "complete sends one raw text"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        RlaifPrefer(model="j", **fields).prepare()


def test_fields_that_contradict_are_refused():
    with pytest.raises(ValueError, match="shots is -1"):
        RlaifPrefer(model="j", shots=-1).check()
    with pytest.raises(ValueError, match="give preamble"):
        RlaifPrefer(model="j", principles=("base",)).check()


def test_a_run_reports_both_metrics_and_rows_without_a_verdict_fail(scripted, tmp_path):
    model = scripted(
        [
            {"when": {"contains": "Car 0?"}, "reply": "Neither, I think."},
            {"when": {}, "values": [-0.1, -3.0]},
        ]
    )
    rows = [{"prompt": f"Car {n}?", "chosen": "yes", "rejected": "no"} for n in range(4)]
    for number, at_least in enumerate((None, 0.4)):
        step = RlaifPrefer(model="judge", human="chosen", sides="given", at_least=at_least)
        run = Pipeline([step], models={"judge": model}).run(
            rows, run=tmp_path / f"run{number}", store=tmp_path / "store", allow_failed=1.0
        )
        assert (run.summary["kept"], run.summary["failed"]) == (3, 1)
        figures = run.summary["figures"]["rlaif_prefer"]
        assert (figures["position_bias"], figures["ai_labeler_alignment"]) == (1, 0.5)
        assert bool(run.summary["requests"]["sent"]) is not bool(number)
