"""Chains of tests: by hand, Holm and the fixed sequence as cases, and the error rate simulated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.evaluate.proof.gatekeeping import adjusted

VALUES = st.floats(0, 1, allow_nan=False)


def holm(values: list[float]) -> list[float]:
    found, largest = [1.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        found[index] = largest
    return found


def place_by_place(chains: list[list[float]], alpha: float) -> list[list[bool]]:
    """Return what was claimed before: Holm at each place, over chains that were open or not."""
    claimed: list[list[bool]] = [[] for _ in chains]
    for place in range(len(chains[0])):
        is_open = [all(one) for one in claimed]
        raw = [chain[place] if o else 1.0 for chain, o in zip(chains, is_open, strict=True)]
        for one, p in zip(claimed, holm(raw), strict=True):
            one.append(p < alpha)
    return claimed


@given(st.lists(VALUES, max_size=6))
def test_chains_of_one_are_holm(values: list[float]) -> None:
    assert [p for (p,) in adjusted([[one] for one in values])] == pytest.approx(holm(values))


@given(st.lists(VALUES, max_size=5))
def test_one_chain_is_a_fixed_sequence(values: list[float]) -> None:
    expected = [max(values[: n + 1]) for n in range(len(values))]
    assert adjusted([values]) == [pytest.approx(expected)]


@settings(max_examples=60)
@given(st.lists(st.lists(VALUES, min_size=1, max_size=4), min_size=1, max_size=4))
def test_no_p_is_smaller_than_its_own_or_its_predecessors(chains: list[list[float]]) -> None:
    for chain, found in zip(chains, adjusted(chains), strict=True):
        assert all(p <= q + 1e-12 for p, q in zip(chain, found, strict=True))
        assert found == sorted(found)
        assert max(found) <= 1


def test_two_chains_by_hand() -> None:
    # 0.002 / (1/2); then 0.02 / (1/2); the share of the first chain goes to the second: 0.03 / 1.
    found = adjusted([[0.002, 0.02], [0.03, 0.001]])
    assert [[round(p, 12) for p in one] for one in found] == [[0.004, 0.04], [0.04, 0.04]]
    assert adjusted([[0.002, 0.6], [0.03, 0.001]])[1] == pytest.approx([0.06, 0.06])
    assert adjusted([]) == []
    assert adjusted([[], [0.01]]) == [[], [0.01]]


@pytest.mark.parametrize("chains", [2, 4])
def test_the_error_rate_of_all_places_together(chains: int) -> None:
    """The first test of half of the chains is a true effect; all that comes after is none."""
    alpha, runs, length = 0.05, 4000, 3
    dice = np.random.default_rng(20261129)
    wrong = {"graph": 0, "place by place": 0}
    for _ in range(runs):
        p = dice.uniform(size=(chains, length))
        # The first chain errs at its second place, the others at their third or never.
        true = np.zeros((chains, length), bool)
        true[0, 0], true[1:, 0], true[1:, 1] = True, True, True
        p[true] = 0.0
        rows = p.tolist()
        claims = [[q < alpha for q in one] for one in adjusted(rows)]
        wrong["graph"] += bool((np.array(claims) & ~true).any())
        wrong["place by place"] += bool((np.array(place_by_place(rows, alpha)) & ~true).any())
    error = 3 * (alpha * (1 - alpha) / runs) ** 0.5
    assert wrong["graph"] / runs < alpha + error
    # What stood here before does not hold what it promised.
    assert wrong["place by place"] / runs > alpha + error
