"""Judges combined: comparable scales, agreement that is planted, and judges that do not judge."""

import math

import pytest

from curate.row import Message
from curate.steps.score.ensemble import Ensemble


def rows_with(make_row, **scores):
    count = len(next(iter(scores.values())))
    fields = [{"prompt": (Message("user", f"Question {n}?"),)} for n in range(count)]
    return [
        make_row("prompt", one, seq=n, scores={name: own[n] for name, own in scores.items()})
        for n, one in enumerate(fields)
    ]


def test_scales_that_differ_are_made_comparable(make_row, decide):
    rows = rows_with(make_row, a=[1.0, 3.0, 2.0, 5.0], b=[10.0, 900.0, 20.0, 30.0])
    found = decide(Ensemble(of=("a", "b")), rows)
    assert found.score.tolist() == pytest.approx([0, (2 / 3 + 1) / 2, 1 / 3, (1 + 2 / 3) / 2])
    assert found.details[1] == {"a": pytest.approx(2 / 3), "b": 1.0, "spread": pytest.approx(1 / 6)}
    assert (found.code == -1).all()
    plain = decide(Ensemble(of=("a", "b"), scale="none", combine="min"), rows)
    assert plain.score.tolist() == [1.0, 3.0, 2.0, 5.0]
    turned = decide(Ensemble(of=("a", "b"), lowest=("b",)), rows)
    assert turned.score[1] == pytest.approx((2 / 3 + 0) / 2)
    standard = decide(Ensemble(of=("a", "b"), scale="standard"), rows)
    assert standard.score.sum() == pytest.approx(0, abs=1e-12)


def test_agreement_of_judges_is_reported(make_row, decide):
    rows = rows_with(
        make_row, a=[1.0, 2.0, 3.0, 4.0], b=[2.0, 4.0, 6.0, 8.0], c=[4.0, 3.0, 2.0, 1.0]
    )
    figures = decide(Ensemble(of=("a", "b", "c")), rows).figures
    assert figures["agreement, a and b"] == pytest.approx(1)
    assert figures["agreement, a and c"] == pytest.approx(-1)


def test_a_judge_whose_scores_collapse_is_named(make_row, decide):
    same = [7.0] * 19
    rows = rows_with(make_row, a=[float(n) for n in range(20)], b=[*same, 8.0])
    remarks = decide(Ensemble(of=("a", "b")), rows).remarks
    assert remarks[-1] == "b gives 95% of the rows one score: it hardly judges"
    rows = rows_with(make_row, a=[1.0, 2.0], b=[7.0, 7.0])
    found = decide(Ensemble(of=("a", "b")), rows)
    assert found.figures == {}
    assert "unknown: one of them does not vary" in found.remarks[0]


def test_a_row_that_one_did_not_score_has_no_score(make_row, decide):
    rows = rows_with(make_row, a=[1.0, 2.0, 3.0], b=[1.0, None, 3.0])
    found = decide(Ensemble(of=("a", "b"), at_least=0.9), rows)
    assert math.isnan(found.score[1])
    assert [found.reasons[c] if c >= 0 else None for c in found.code] == [
        "combined score below 0.9",
        "a judge gave it no score",
        None,
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"of": ("a", "a")}, "each once"), ({"of": ("a", "b"), "lowest": ("c",)}, "lowest names")],
)
def test_what_is_no_ensemble_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(**fields).check()
