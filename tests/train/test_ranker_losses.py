"""Each term of SCAR's loss against a computation by hand, on given tensors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from curate.models.inprocess.style_ranker import Styled
from curate.train.ranker_losses import margin_loss, ranker_loss, triplet_loss
from curate.train.settings import ranker_settings_for
from curate.train.triples import Triple, counted

CLOSE: dict[str, Any] = {"rel": 0, "abs": 1e-6}
ORIGINS = ("human", "referenced", "direct")


def triple(number: int, *quality: float | None, **texts: str) -> Triple:
    """Return a triple with the quality of its human, referenced and direct answer."""
    answers = {origin: texts.get(origin, f"{origin} {number}") for origin in ORIGINS}
    return Triple(f"r{number}", f"q{number}", answers, dict(zip(ORIGINS, quality, strict=True)))


# Scores, surprisal and form of the answers of two triples, human, referenced and direct each.
SCORES = [0.1, 0.3, 0.2, 1.0, 1.2, 2.5]
SURPRISAL = [[1.0, 0.0], [1.0, 1.0], [0.0, 3.0], [2.0, 2.0], [2.5, 2.0], [2.0, 2.5]]
FORM = [[0.0, 4.0], [3.0, 0.0], [3.0, 0.5], [1.0, 1.0], [1.0, 1.5], [1.0, 1.25]]
STYLED = Styled(torch.tensor(SCORES), torch.tensor(SURPRISAL), torch.tensor(FORM))
PLACES = {(n, origin): 3 * n + place for n in (0, 1) for place, origin in enumerate(ORIGINS)}
BOTH = [triple(0, 7, 7, 7), triple(1, 7, 7, 7)]


def terms(triples: list[Triple], **changes: Any) -> dict[str, float]:
    found = ranker_loss(triples, PLACES, STYLED, ranker_settings_for(**changes))
    assert found.total is not None
    return {"total": float(found.total), **{k: float(v) for k, v in found.parts.items()}}


def test_the_three_margins_are_those_computed_by_hand() -> None:
    found = terms(BOTH)
    # max(0, 0.5 - difference), a mean over both triples.
    assert found["direct_referenced"] == pytest.approx((0.6 + 0.0) / 2, **CLOSE)
    assert found["referenced_human"] == pytest.approx((0.3 + 0.3) / 2, **CLOSE)
    assert found["direct_human"] == pytest.approx((0.4 + 0.0) / 2, **CLOSE)


def test_the_two_triplets_and_the_total_are_those_computed_by_hand() -> None:
    found = terms(BOTH)
    # Surprisal: referenced is to lie near human and far from direct.
    first = max(0.0, 1.0 - math.hypot(1.0, 2.0) + 1.0)
    second = max(0.0, 0.5 - math.hypot(0.5, 0.5) + 1.0)
    assert found["surprisal"] == pytest.approx((first + second) / 2, **CLOSE)
    # Form: direct is to lie near referenced and far from human.
    near = max(0.0, 0.5 - math.hypot(3.0, 3.5) + 1.0) + max(0.0, 0.25 - 0.25 + 1.0)
    assert found["form"] == pytest.approx(near / 2, **CLOSE)
    margins = 0.3 + 0.3 + 0.2
    assert found["total"] == pytest.approx(
        margins + 0.1 * (found["surprisal"] + found["form"]) / 2, **CLOSE
    )


def test_the_primitives_equal_those_of_torch() -> None:
    torch.manual_seed(3)
    better, worse = torch.randn(2, 9)
    ones = torch.ones(9)
    by_torch = torch.nn.functional.margin_ranking_loss(better, worse, ones, margin=0.5)
    assert float(margin_loss(better, worse, 0.5)) == pytest.approx(float(by_torch), **CLOSE)
    vectors = torch.randn(3, 9, 5)
    by_torch = torch.nn.functional.triplet_margin_loss(*vectors, margin=1.0, eps=0.0)
    assert float(triplet_loss(*vectors, 1.0)) == pytest.approx(float(by_torch), **CLOSE)


@pytest.mark.parametrize(
    ("quality", "learnt"),
    [
        ((7, 7, 7), {"direct_referenced", "referenced_human", "direct_human"}),
        # Exactly 5 and exactly 10 are outside: the interval is open.
        ((5, 7, 7), {"direct_referenced"}),
        ((7, 10, 7), {"direct_human"}),
        ((7, 7, 5), {"referenced_human"}),
        ((5.001, 9.999, 5.5), {"direct_referenced", "referenced_human", "direct_human"}),
        ((5, 10, 7), set()),
        ((5, 7, 10), set()),
    ],
)
def test_a_pair_counts_within_the_bounds(quality: tuple[float, ...], learnt: set[str]) -> None:
    one = triple(0, *quality)
    found = ranker_loss([one], PLACES, STYLED, ranker_settings_for())
    margins = {name for name in found.parts if "_" in name}
    assert margins == learnt
    # A triplet needs all three pairs.
    assert ("form" in found.parts) == (len(learnt) == 3) == ("surprisal" in found.parts)
    assert (found.total is None) == (not learnt)


def test_a_triple_that_does_not_count_changes_no_mean() -> None:
    alone = terms([BOTH[0]])
    assert terms([BOTH[0], triple(1, 5, 5, 5)]) == pytest.approx(alone, **CLOSE)
    # Without the constraint it counts again.
    assert terms([BOTH[0], triple(1, 5, 5, 5)], triplet_weight=0.1)["total"] != terms(BOTH)["total"]


def test_equal_texts_are_no_pair() -> None:
    same = triple(0, 7, 7, 7, referenced="direct 0")
    assert not counted(same, "direct", "referenced", (5, 10))
    assert counted(same, "direct", "human", (5, 10))


def test_without_the_constraint_quality_is_not_read() -> None:
    unscored = triple(0, None, None, None)
    assert counted(unscored, "direct", "human", None)
    assert not counted(unscored, "direct", "human", (5, 10))


def test_terms_can_be_left_out() -> None:
    found = terms(BOTH, orderings=["direct_human"], triplets=["form"])
    assert set(found) == {"total", "direct_human", "form"}
    assert found["total"] == pytest.approx(0.2 + 0.1 * found["form"] / 2, **CLOSE)


def test_the_gradient_of_equal_vectors_is_finite() -> None:
    vectors = torch.zeros(3, 2, 4, requires_grad=True)
    triplet_loss(*vectors, 1.0).backward()
    assert vectors.grad is not None
    assert torch.isfinite(vectors.grad).all()
