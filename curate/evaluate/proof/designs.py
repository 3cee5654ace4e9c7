"""What is trained for a question, and which scores answer it.

A recipe is compared with draws of its candidates; datasets, groups of rows and ways to train are
compared two by two, by draws of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.evaluate.proof.claims import ALL, LONGEST, NAMES, RANDOM, TOKENS, Question
from curate.evaluate.proof.draw_test import (
    Measured,
    Values,
    compare_groups,
    compare_paired,
    compare_with_arm,
    compare_with_draws,
)
from curate.evaluate.proof.subsets import Subset, longest_rows, row_draws, token_draws
from curate.row import Row, seed_of

# Below this nothing is said about a recipe.
LEAST_ROWS = 30
# From this difference of supervised tokens on there are draws of equal tokens, too.
TOKEN_GAP = 0.1


class Hypothesis(NamedTuple):
    """One question: the names of its subsets, each side's draws, or the arms in testing order."""

    name: str
    kind: Literal["recipe", "groups", "settings"]
    one: tuple[str, ...]
    draws: tuple[str, ...]
    token_draws: tuple[str, ...] = ()
    others: Mapping[str, str] = {}
    shares: tuple[float, float] = (0.5, 0.5)
    pair: tuple[str, str] | None = None

    def subsets(self) -> tuple[str, ...]:
        """Return the names of all subsets that it needs."""
        return (*self.one, *self.draws, *self.token_draws, *self.others.values())


class Design(NamedTuple):
    """Subsets to train on, and what is asked of them."""

    subsets: Sequence[Subset]
    asked: Sequence[Hypothesis]

    def groups(self) -> dict[str, str]:
        """Return what each subset is a draw of, by its name; others are their own group."""
        found = {one.name: one.name for one in self.subsets}
        for asked in self.asked:
            several = asked.one if asked.kind != "recipe" or len(asked.one) > 1 else ()
            for name in (*several, *asked.draws, *asked.token_draws):
                found[name] = drawn_from(name)
        return found


def drawn_from(name: str) -> str:
    """Return the name of what a draw is one of: `human` for `human-3`."""
    head, _, number = name.rpartition("-")
    return head if number.isdigit() else name


def recipe_design(
    curated: Sequence[Row],
    candidates: Sequence[Row],
    lengths: Mapping[str, int],
    *,
    draws: int,
    seed: int,
    sizes: Sequence[int] = (),
    versions: Sequence[Sequence[Row]] = (),
) -> Design:
    """Compare curated rows with draws, the longest and all; at each of `sizes` where given.

    `lengths` are supervised tokens by row id. A size takes random rows of the curated ones, each
    smaller size rows of the next larger one. `versions` are further ones of the curated rows; of
    each as many rows are taken as the smallest has.

    Raises:
        UsageError: there are too few rows, or nothing to choose from.
    """
    every_version = [curated, *versions]
    counts = sorted(set(sizes)) or [min(map(len, every_version))]
    if counts[0] < LEAST_ROWS or len(curated) < counts[-1]:
        raise UsageError(
            f"the recipe leaves {len(curated):,} rows to train on, and {LEAST_ROWS} are the least "
            "that can be compared" + (f"; --sizes asks for {counts}" if sizes else "")
        )
    if counts[-1] >= len(candidates):
        raise UsageError(
            f"the curated dataset has {counts[-1]:,} rows of {len(candidates):,} candidates: no "
            "other subset has as many, so there is nothing to compare it with"
        )
    every = Subset("all", candidates)
    own = [lengths[row.id] for row in candidates]

    def part_of(rows: Sequence[Row], count: int, name: str) -> Subset:
        order = sorted(range(len(rows)), key=lambda n: seed_of("size", rows[n].id, seed))
        return Subset(name, [rows[n] for n in sorted(order[:count])])

    subsets, asked = [every], []
    for count in counts:
        tail = f"-{count}" if sizes else ""
        parts = [
            part_of(rows, count, f"curated-{n}" if versions else f"curated{tail}")
            for n, rows in enumerate(every_version, 1)
        ]
        random = row_draws(candidates, count, draws, seed, f"random{tail}")
        tokens = round(np.mean([sum(lengths[row.id] for row in one.rows) for one in parts]))
        drawn = np.mean([sum(lengths[row.id] for row in one.rows) for one in random])
        equal = []
        if abs(tokens - drawn) > TOKEN_GAP * drawn:
            equal = token_draws(candidates, own, tokens, draws, seed, f"random_tokens{tail}")
        longest = longest_rows(candidates, own, count, f"longest{tail}")
        subsets += [*parts, *random, *equal, longest]
        asked.append(
            Hypothesis(
                f"{count:,} rows" if sizes else "",
                "recipe",
                tuple(one.name for one in parts),
                tuple(one.name for one in random),
                tuple(one.name for one in equal),
                {LONGEST: longest.name, ALL: every.name},
            )
        )
    return Design(subsets, asked)


def group_design(groups: Mapping[str, Sequence[Row]], *, draws: int, seed: int) -> Design:
    """Compare datasets two by two: draws of each, of half as many rows as the smallest has.

    Raises:
        UsageError: there are fewer than two, or the smallest is too small.
    """
    if len(groups) < 2:
        raise UsageError(f"there is nothing to compare: {', '.join(groups) or 'no group'} only")
    small = min(groups, key=lambda name: len(groups[name]))
    count = len(groups[small]) // 2
    if count < LEAST_ROWS:
        raise UsageError(
            f"'{small}' has {len(groups[small]):,} rows, and draws are of half as many: "
            f"{2 * LEAST_ROWS} are the least that can be compared"
        )
    drawn = {name: row_draws(rows, count, draws, seed, name) for name, rows in groups.items()}
    names = {name: tuple(one.name for one in subsets) for name, subsets in drawn.items()}
    share = {name: count / len(rows) for name, rows in groups.items()}
    asked = [
        Hypothesis(
            f"{a} against {b}",
            "groups",
            names[a],
            names[b],
            shares=(share[a], share[b]),
            pair=(a, b),
        )
        for a, b in itertools.combinations(groups, 2)
    ]
    return Design([one for subsets in drawn.values() for one in subsets], asked)


def settings_design(
    rows: Sequence[Row], variants: Sequence[str], *, draws: int, seed: int
) -> Design:
    """Compare ways to train two by two, each on the same draws of half of the rows."""
    if len(rows) // 2 < LEAST_ROWS:
        raise UsageError(
            f"{len(rows):,} rows are too few: draws are of half, at least {LEAST_ROWS}"
        )
    drawn = row_draws(rows, len(rows) // 2, draws, seed, "draw")
    subsets = [
        Subset(f"{v}-{number}", one.rows, v)
        for v in variants
        for number, one in enumerate(drawn, 1)
    ]
    names = {v: tuple(one.name for one in subsets if one.variant == v) for v in variants}
    pairs = itertools.combinations(variants, 2)
    asked = [
        Hypothesis(f"{a} against {b}", "settings", names[a], names[b], pair=(a, b))
        for a, b in pairs
    ]
    return Design(subsets, asked)


def question_of(
    asked: Hypothesis,
    scores: Mapping[str, Values],
    clusters: NDArray[np.int64],
    *,
    metric: str,
    lower: bool,
    alpha: float,
) -> Question:
    """Return the comparisons that answer a question, from each subset's scores of held-out rows.

    Subsets without scores have failed; a question that needs one stays without comparisons.
    """
    missing = [name for name in asked.subsets() if name not in scores]
    pair = asked.pair
    if missing:
        return Question(asked.name, metric, [], missing, pair)
    one = np.array([scores[name] for name in asked.one])
    draws = np.array([scores[name] for name in asked.draws])
    if pair is not None:
        if asked.kind == "settings":
            found = compare_paired(one, draws, clusters, pair[1], lower=lower, alpha=alpha)
        else:
            found = compare_groups(
                one, draws, asked.shares, clusters, pair[1], lower=lower, alpha=alpha
            )
        return Question(asked.name, metric, [found], [], pair)
    others = {NAMES[place]: scores[name] for place, name in asked.others.items()}
    versions = one.mean(1) if len(one) > 1 else None
    measured = Measured(one.mean(0), draws, others, clusters, lower, versions)
    comparisons = [compare_with_draws(measured, NAMES[RANDOM], alpha=alpha)]
    if asked.token_draws:
        equal = np.array([scores[name] for name in asked.token_draws])
        again = measured._replace(draws=equal)
        comparisons.append(compare_with_draws(again, NAMES[TOKENS], alpha=alpha))
    comparisons += [compare_with_arm(measured, name, alpha=alpha) for name in others]
    return Question(asked.name, metric, comparisons)
