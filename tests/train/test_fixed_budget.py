"""Steps of equal supervised tokens, whatever the rows are."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.models.inprocess.chat import IGNORED, Tokens
from curate.train.examples import Example
from curate.train.fixed_budget import TokenBudget, cut_to, exposure_of, pieces_of, supervised

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=20)


@given(LENGTHS, st.integers(1, 12), st.integers(1, 300), st.integers(0, 3))
def test_every_step_has_the_same_tokens(
    lengths: list[int], steps: int, each: int, seed: int
) -> None:
    found = pieces_of(lengths, TokenBudget(steps, steps * each), seed)
    assert [sum(p.stop - p.start for p in step) for step in found] == [each] * steps
    # Each token is learnt once an epoch: counts of a row's tokens differ by one at most.
    seen = Counter(
        (p.example, token) for step in found for p in step for token in range(p.start, p.stop)
    )
    counts = [seen[n, token] for n, length in enumerate(lengths) for token in range(length)]
    assert max(counts) - min(counts) <= 1


@given(LENGTHS, st.integers(1, 12), st.integers(0, 3))
def test_whole_rows_stay_in_one_step_and_come_close(
    lengths: list[int], steps: int, seed: int
) -> None:
    budget = TokenBudget(steps, steps * 40)
    found = pieces_of(lengths, budget, seed, whole=True)
    assert len(found) == steps
    assert all(step for step in found)
    assert all((p.start, p.stop) == (0, lengths[p.example]) for step in found for p in step)
    total = sum(p.stop for step in found for p in step)
    assert 0 <= total - budget.tokens < 40


def test_a_seed_decides_the_order_and_nothing_else() -> None:
    one, same, other = (pieces_of([3] * 50, TokenBudget(5, 150), seed) for seed in (1, 1, 2))
    assert one == same != other


def test_what_a_budget_comes_to() -> None:
    lengths = [10, 20, 30]
    found = exposure_of(lengths, pieces_of(lengths, TokenBudget(3, 120), 0))
    assert (found.epochs, found.distinct_rows, found.rows, found.tokens) == (2.0, 3, 6, 120)


@pytest.mark.parametrize("lengths", [[], [3, 0]])
def test_rows_without_anything_to_learn_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="supervised token"):
        pieces_of(lengths, TokenBudget(1, 10), 0)


def test_a_piece_keeps_its_labels_and_all_that_comes_before() -> None:
    labels = [IGNORED, 11, 12, IGNORED, 13, 14, IGNORED]
    example = Example("r", (Tokens(list(range(7)), labels),))
    [whole] = pieces_of([4], TokenBudget(1, 4), 0)[0]
    assert cut_to(example, whole) is example
    steps = pieces_of([4], TokenBudget(2, 4), 0)
    [first], [second] = ([cut_to(example, piece) for piece in step] for step in steps)
    assert first.answers[0] == Tokens([0, 1, 2], [IGNORED, 11, 12])
    kept = [IGNORED] * 4 + [13, 14]
    assert second.answers[0] == Tokens([0, 1, 2, 3, 4, 5], kept)
    assert supervised(first) + supervised(second) == supervised(example)
