"""Steps that hold equal amounts to learn, whatever the rows are: for runs that are compared.

A step has a number of supervised tokens rather than of rows, so that a dataset of long answers gets
no more of them than one of short answers. A row that a step has no room for goes on in the next
one, with its other tokens as context, so that each token is learnt once an epoch. Rows that cannot
be divided (pairs) go whole into the step where they begin.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from curate.models.inprocess.chat import IGNORED, Tokens
from curate.row import seed_of
from curate.train.examples import Example


class TokenBudget(NamedTuple):
    """Steps, and the supervised tokens of all of them together."""

    steps: int
    tokens: int


class Piece(NamedTuple):
    """The supervised tokens of an example that count in a step: those from `start` to `stop`."""

    example: int
    start: int
    stop: int


class Exposure(NamedTuple):
    """What a budget comes to on a dataset."""

    epochs: float
    distinct_rows: int
    rows: int
    tokens: int


def pieces_of(
    lengths: Sequence[int], budget: TokenBudget, seed: int, *, whole: bool = False
) -> list[list[Piece]]:
    """Return for each step the pieces that it learns; rows repeat, shuffled anew each epoch.

    Args:
        lengths: The supervised tokens of each example, all at least 1.
        budget: Steps and tokens.
        seed: Decides the order.
        whole: Leave every example in one step; the tokens of all steps then differ from the budget
            by less than one example, unless examples are larger than steps.

    Raises:
        ValueError: there is no example, or one has nothing to learn.
    """
    if not lengths or min(lengths) < 1:
        raise ValueError("every example needs a supervised token, and there must be one")
    steps: list[list[Piece]] = [[]]
    done = 0
    for example in _order(len(lengths), seed):
        start = 0
        while start < lengths[example]:
            goal = budget.tokens * len(steps) // budget.steps
            if steps[-1] and done >= goal:
                if len(steps) == budget.steps:
                    return steps
                steps.append([])
                continue
            left = lengths[example] - start
            # A step is never empty, even where a budget has fewer tokens than steps.
            taken = left if whole else min(left, max(1, goal - done))
            steps[-1].append(Piece(example, start, start + taken))
            start, done = start + taken, done + taken
    raise AssertionError("rows repeat without end")


def _order(count: int, seed: int) -> Iterator[int]:
    """Yield examples, epoch after epoch, each in an order of its own."""
    epoch = 0
    while True:
        places = list(range(count))
        random.Random(seed_of("epoch", epoch, seed)).shuffle(places)
        yield from places
        epoch += 1


def exposure_of(lengths: Sequence[int], steps: Sequence[Sequence[Piece]]) -> Exposure:
    """Return epochs, distinct rows, and all rows and tokens that steps learn."""
    tokens = sum(piece.stop - piece.start for step in steps for piece in step)
    rows = [piece.example for step in steps for piece in step if piece.start == 0]
    return Exposure(tokens / sum(lengths), len(set(rows)), len(rows), tokens)


def supervised(example: Example) -> int:
    """Return the supervised tokens of all answers of an example."""
    return sum(answer.supervised for answer in example.answers)


def cut_to(example: Example, piece: Piece) -> Example:
    """Return an example whose labels are those of a piece; what else it says stays context."""
    if piece.stop - piece.start == supervised(example):
        return example
    ids, labels = example.answers[0]
    kept, seen, last = list(labels), 0, 0
    for place, label in enumerate(labels):
        if label == IGNORED:
            continue
        if piece.start <= seen < piece.stop:
            last = place + 1
        else:
            kept[place] = IGNORED
        seen += 1
    # What follows the last label changes nothing, and costs time.
    return example._replace(answers=(Tokens(ids[:last], kept[:last]),))
