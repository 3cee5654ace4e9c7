"""Constitutional AI's labels: the principle that is drawn, the clamp, what has no verdict."""

import json
import math
from collections import Counter

import pytest

from curate import Pipeline
from curate.ask import Ask, Reply
from curate.errors import UnusableReply
from curate.prompts import prompt as prompts
from curate.row import Message
from curate.steps.pairs._comparison import Opinion, Preference
from curate.steps.pairs.constitutional_prefer import ConstitutionalPrefer
from curate.steps.pairs.prefer import NO_DIFFERENCE
from tests.steps.conftest import row_of

GOOD, BAD = "Ask him first.", "Take it by night."


def pair(number=0):
    fields = {
        "prompt": (Message("user", f"May I use my neighbour's car {number}?"),),
        "chosen": (Message("assistant", BAD),),
        "rejected": (Message("assistant", GOOD),),
        "margin": None,
        "p_chosen": None,
    }
    return row_of("preference", fields)._replace(id=f"{number:032x}")


def soft(p_good):
    """Return a judge that gives GOOD this probability, wherever it stands."""

    def says(request):
        if isinstance(request, Ask):
            return Reply(text="The one asks, the other steals.")
        text = request.messages[0].content
        p_shown_first = p_good if text.index(GOOD) < text.index(BAD) else 1 - p_good
        return Reply(values=(math.log(p_shown_first), math.log(1 - p_shown_first)))

    return says


def test_a_principle_is_drawn_evenly_shown_and_logged(drive):
    step = ConstitutionalPrefer(model="j")
    items = {item.id: item for item in prompts.load(step.constitution).items}
    drawn = Counter()
    for number in range(1600):
        asked = []

        def says(request):
            asked.append(request.messages[0].content)  # noqa: B023
            return soft(0.8)(request)

        made, _ = drive(step.make(pair(number)), says)
        named = {one["principle"] for one in made.detail["opinions"]}
        [principle] = named
        drawn[principle] += 1
        # Both orders go by one principle, and are shown it and the constitution's own text.
        assert len(asked) == 2
        assert all(items[principle].values["prefer"] in text for text in asked)
        assert all("An answer must not harm anyone" in text for text in asked)
    expected = 1600 / 16
    square = sum((drawn[name] - expected) ** 2 / expected for name in items)
    assert square < 37.7, drawn  # 15 degrees of freedom, 0.1 %


def test_labels_without_reasoning_are_soft_and_unclamped(drive):
    made, _ = drive(ConstitutionalPrefer(model="j").make(pair()), soft(0.97))
    assert made.record.fields["chosen"] == (Message("assistant", GOOD),)
    assert made.record.fields["p_chosen"] == pytest.approx(0.97)


@pytest.mark.parametrize(
    ("p_good", "clamp", "wanted"),
    [
        (0.97, 0.6, 0.6),
        (0.03, 0.6, 0.4),
        (0.55, 0.6, 0.55),
        (0.5, 0.6, 0.5),
        (0.97, None, 0.97),
        (0.97, 0.9, 0.9),
    ],
)
def test_labels_after_reasoning_are_clamped(p_good, clamp, wanted, drive):
    step = ConstitutionalPrefer(model="j", reason=True, clamp=clamp, sides="given")
    made, figures = drive(step.make(pair()), soft(p_good))
    # The pair has GOOD second.
    assert made.record.fields["p_chosen"] == pytest.approx(1 - wanted)
    assert made.score == made.detail["p_first"] == made.record.fields["p_chosen"]
    # The ledger has what the judge said, and why.
    assert [one["p_first"] for one in made.detail["opinions"]] == pytest.approx([1 - p_good] * 2)
    assert {one["reasoning"] for one in made.detail["opinions"]} == {
        "The one asks, the other steals."
    }
    assert figures.values["tied"] == (p_good == 0.5)


def test_every_opinion_is_clamped_before_the_mean():
    said = Preference((Opinion("j", "x", False, 0.97), Opinion("j", "x", True, 0.2)))
    step = ConstitutionalPrefer(model="j", reason=True)
    assert step.counted(said).p_first == 0.5
    one = Preference((Opinion("j", "x", False, 0.97), Opinion("j", "x", True, 0.45)))
    assert step.counted(one).p_first == pytest.approx((0.6 + 0.45) / 2)
    assert ConstitutionalPrefer(model="j").counted(said) is said


@pytest.mark.parametrize(
    ("reply", "reason", "said"),
    [
        (Reply(values=(-math.inf, -math.inf)), False, "none of the options A, B is among"),
        (Reply(text="Both have their merits."), False, "it states none of the labels A, B"),
        (Reply(text=""), True, "the judge's reasoning is empty"),
        (Reply(text="First", finish_reason="length"), True, "cut off at max_tokens"),
    ],
)
def test_missing_options_and_missing_reasoning_fail(reply, reason, said, drive):
    step = ConstitutionalPrefer(model="j", reason=reason)
    with pytest.raises((UnusableReply, ValueError), match=said):
        drive(step.make(pair()), lambda request: reply)


def test_reasoning_without_a_verdict_fails_the_row_and_no_other(scripted, tmp_path):
    model = scripted(
        [
            {
                "when": {"contains": ["car 1?", "verdict on the answers"]},
                "reply": "I cannot say.",
            },
            {"when": {"contains": "verdict on the answers"}, "values": [-0.1, -3.0]},
            {"when": {}, "reply": "Let me think: one asks."},
        ]
    )
    rows = [{"prompt": f"My car {n}?", "chosen": BAD, "rejected": GOOD} for n in range(3)]
    step = ConstitutionalPrefer(model="judge", reason=True, sides="given")
    run = Pipeline([step], models={"judge": model}).run(
        rows, run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0
    )
    assert (run.summary["kept"], run.summary["failed"]) == (2, 1)


def test_another_clamp_or_limit_asks_nothing(scripted, tmp_path):
    model = scripted(
        [
            {"when": {"contains": "verdict on the answers"}, "values": [-0.1, -3.0]},
            {"when": {}, "reply": "Let me think."},
        ]
    )
    rows = [{"prompt": f"Car {n}?", "chosen": BAD, "rejected": GOOD} for n in range(4)]
    figures = []
    for number, clamp in enumerate((0.6, 0.9, None)):
        step = ConstitutionalPrefer(model="judge", reason=True, clamp=clamp, at_least=0.55)
        run = Pipeline([step], models={"judge": model}).run(
            rows, run=tmp_path / f"run{number}", store=tmp_path / "store"
        )
        # A judge that always takes the first place prefers neither.
        assert run.summary["steps"][0]["reasons"] == {NO_DIFFERENCE: 4}
        assert (run.summary["requests"]["sent"] == 0) is bool(number)
        figures.append(run.summary["figures"]["constitutional_prefer"])
    assert figures[0] == figures[1] == figures[2]
    assert figures[0]["same_place_wins"] == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"clamp": 0.5}, "clamp is 0.5; it is the highest"),
        ({"clamp": 1.2}, "clamp is 1.2"),
        ({"reason": True, "at_least": 0.7}, "no label after reasoning is above clamp"),
    ],
)
def test_limits_that_nothing_meets_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        ConstitutionalPrefer(model="j", **fields).check()
    ConstitutionalPrefer(model="j", at_least=0.7).check()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"constitution": "evolve_answer"}, "is not a constitution: it needs items with the texts"),
        ({"principles": ("kindness",)}, "no item 'kindness'"),
        ({"prompt": "compare_answers_brief"}, "shows no principle"),
        ({"complete": True}, None),
    ],
)
def test_prompts_that_do_not_fit_are_refused(fields, said):
    step = ConstitutionalPrefer(model="j", **fields)
    if said is None:
        step.prepare()
        return
    with pytest.raises(ValueError, match=said):
        step.prepare()


def test_a_constitution_of_ones_own_needs_only_how_to_compare_and_decides(tmp_path, drive):
    path = tmp_path / "ours.md"
    head = "---\nname: ours\nversion: 1\nsource: us\nvariables: []\nitems:\n"
    path.write_text(head + "  - {id: calm, prefer: 'Which answer is calmer?'}\n---\nWe sell tea.\n")
    step = ConstitutionalPrefer(model="j", constitution=str(path))
    before = json.dumps(step.fingerprint())
    texts = []

    def says(request):
        texts.append(request.messages[0].content)
        return soft(0.8)(request)

    made, _ = drive(step.make(pair()), says)
    assert {one["principle"] for one in made.detail["opinions"]} == {"calm"}
    assert "We sell tea." in texts[0]
    assert "Which answer is calmer?" in texts[0]
    path.write_text(path.read_text().replace("calmer", "warmer"))
    assert json.dumps(step.fingerprint()) != before
