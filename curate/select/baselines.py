"""A choice of rows beside as many drawn at random and as many of the longest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from curate.select.figures import nearest_distance, vendi_score

# Distances and the Vendi score compare every two rows: beyond that many, of a sample.
MEASURED = 2000


class Arms(NamedTuple):
    """Masks of one size: the choice, random draws, and the longest rows (ties in source order)."""

    choice: np.ndarray
    random: tuple[np.ndarray, ...]
    longest: np.ndarray


def arms_of(choice: np.ndarray, words: np.ndarray, draws: int, seed: int) -> Arms:
    """Return the choice beside `draws` random ones of its size and the longest rows."""
    count, size = int(np.count_nonzero(choice)), len(choice)
    random = np.random.default_rng(seed)
    drawn = tuple(_mask(random.choice(size, count, replace=False), size) for _ in range(draws))
    return Arms(choice, drawn, _mask(np.argsort(-words, kind="stable")[:count], size))


def figures_of(
    arm: np.ndarray, choice: np.ndarray, words: np.ndarray, score: np.ndarray, vectors: np.ndarray
) -> dict[str, float]:
    """Return the figures of one arm; those that nothing says anything about are left out."""
    rows = np.flatnonzero(arm)
    if not len(rows):
        return {}
    found = {"mean words of the answer": float(words[rows].mean())}
    if not np.isnan(score[rows]).all():
        found["mean score"] = float(np.nanmean(score[rows]))
    able = rows[vectors[rows].any(axis=1)]
    if len(able) > MEASURED:
        able = np.sort(np.random.default_rng(0).choice(able, MEASURED, replace=False))
    if len(able) > 1:
        found["mean distance to the nearest row"] = float(nearest_distance(vectors[able]).mean())
        found["Vendi score"] = float(vendi_score(vectors[able]))
    found["share of the choice in it"] = float((arm & choice).sum() / max(1, choice.sum()))
    return found


def by_arm(measure: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return figures by arm (choice, longest, and random ones), those of random ones as a mean."""
    choice, longest, *drawn = measure
    found: dict[str, float] = {}
    for name, value in choice.items():
        found[f"choice: {name}"] = value
        values = [one[name] for one in drawn if name in one]
        if values:
            found[f"random: {name}"] = float(np.mean(values))
            found[f"random: {name}, standard deviation"] = float(np.std(values))
        if name in longest:
            found[f"longest: {name}"] = longest[name]
    return found


def table_of(figures: Mapping[str, float]) -> list[str]:
    """Return the figures as lines of a table, an arm a column."""
    names = [name.removeprefix("choice: ") for name in figures if name.startswith("choice: ")]
    width = max(map(len, names), default=0)
    title = f"{figures['rows']:,.0f} rows each"
    lines = [f"{title:<{width}}  {'choice':>9}  {'random':>9}  {'+-':>7}  {'longest':>9}"]
    for name in names:
        arms = (f"random: {name}", f"random: {name}, standard deviation", f"longest: {name}")
        random, spread, longest = (f"{figures[n]:,.3f}" if n in figures else "" for n in arms)
        value = f"{figures[f'choice: {name}']:,.3f}"
        lines.append(f"{name:<{width}}  {value:>9}  {random:>9}  {spread:>7}  {longest:>9}")
    return lines


def _mask(rows: np.ndarray, size: int) -> np.ndarray:
    mask = np.zeros(size, np.bool_)
    mask[rows] = True
    return mask
