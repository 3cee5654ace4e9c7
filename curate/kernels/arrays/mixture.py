"""How many rows of each task make a mixture, in closed form.

Rates are examples-proportional with an artificial limit, r_m = min(n_m, K) (Raffel et al. 2020,
arXiv 1910.10683, section 3.5.2), raised to 1 / T; weights divide the mixture between groups of
tasks first (Longpre et al. 2023, arXiv 2301.13688). All shares are fractions: no count depends on
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

# Groups, or tasks, that figures list one by one: a report is read.
MOST_LISTED = 30


class MixedTask(NamedTuple):
    """One task of a mixture: its name, the group that weights name, its rows, its cap."""

    name: str
    group: str
    size: int
    cap: int | None = None

    @property
    def limited(self) -> int:
        """The rows that count for its rate: all, or the cap."""
        return self.size if self.cap is None else min(self.size, self.cap)


def mixture_counts(
    tasks: Sequence[MixedTask],
    *,
    weights: Mapping[str, float] | None = None,
    temperature: float = 1.0,
    count: int | None = None,
    repeat: float = 1.0,
) -> list[int]:
    """Return how many rows each task gives.

    Places that fractions leave over go to the largest remainders, between groups first, then
    between the tasks of each; ties go to the earlier one.

    Args:
        tasks: at least one row each.
        weights: of groups; without them every task weighs its rate.
        temperature: 1 is proportional; the larger, the more equal.
        count: rows of the mixture; without it, the most that fit into caps and repeats, and no more
            than there are.
        repeat: how many times a row may be there, on average over its task.

    Raises:
        ValueError: a group has no weight, or a task has too few rows for its share.
    """
    rates = [Fraction(task.limited) for task in tasks]
    if temperature != 1:
        rates = [Fraction(task.limited ** (1.0 / temperature)) for task in tasks]
    totals: dict[str, Fraction] = {}
    for task, rate in zip(tasks, rates, strict=True):
        totals[task.group] = totals.get(task.group, Fraction(0)) + rate
    shares = dict(totals)
    if weights is not None:
        if unnamed := [name for name in totals if name not in weights]:
            raise ValueError(f"weights has no '{unnamed[0]}'; it has {', '.join(weights)}")
        shares = {name: Fraction(str(weights[name])) for name in totals}
    whole = sum(shares.values())
    if not whole:
        return [0] * len(tasks)
    parts = [
        shares[task.group] / whole * rate / totals[task.group]
        for task, rate in zip(tasks, rates, strict=True)
    ]
    most = [math.floor(Fraction(str(repeat)) * task.size) for task in tasks]
    if count is None:
        ends = [
            Fraction(limit if task.cap is None else min(limit, task.cap)) / part
            for task, limit, part in zip(tasks, most, parts, strict=True)
            if part
        ]
        count = min(math.floor(min(ends)), sum(task.limited for task in tasks))
    of_groups = dict(zip(shares, _divided(count, list(shares.values())), strict=True))
    out = [0] * len(tasks)
    for name, places in of_groups.items():
        own = [place for place, task in enumerate(tasks) if task.group == name]
        given = _divided(places, [rates[place] for place in own])
        for place, number in zip(own, given, strict=True):
            out[place] = number
    for task, number, limit in zip(tasks, out, most, strict=True):
        if number > limit:
            raise ValueError(
                f"{count:,} rows need {number:,} of '{task.name}', which has {task.size:,}: lower "
                f"count, or set repeat: {math.ceil(Fraction(100 * number, task.size)) / 100:g} "
                f"(now {repeat:g})"
            )
    return out


def mixture_figures(
    tasks: Sequence[MixedTask], counts: Sequence[int], *, grouped: bool
) -> dict[str, float]:
    """Return rows before and after, and shares: of each group, and of tasks if they are few.

    Of more than `MOST_LISTED` groups the largest are listed, the rest together as `others`.
    """
    total = sum(counts)
    found = {"rows": float(total), "tasks": float(len(tasks))}
    groups: dict[str, tuple[int, int]] = {}
    for task, count in zip(tasks, counts, strict=True):
        size, taken = groups.get(task.group, (0, 0))
        groups[task.group] = (size + task.size, taken + count)
    listed = sorted(groups, key=lambda name: -groups[name][1])[:MOST_LISTED]
    figures = {name: groups[name] for name in groups if name in listed}
    if len(groups) > len(listed):
        rest = [groups[name] for name in groups if name not in listed]
        figures["others"] = (sum(size for size, _ in rest), sum(taken for _, taken in rest))
    if grouped and len(tasks) <= MOST_LISTED:
        figures |= {
            f"{task.group} / {task.name}": (task.size, count)
            for task, count in zip(tasks, counts, strict=True)
        }
    for name, (size, taken) in figures.items():
        found[f"{name}: rows before"] = float(size)
        found[f"{name}: rows"] = float(taken)
        found[f"{name}: share"] = taken / total if total else 0.0
    return found


def _divided(count: int, shares: Sequence[Fraction]) -> list[int]:
    """Return whole numbers in proportion to `shares` that add up to `count`."""
    whole = sum(shares)
    if not whole:
        return [0] * len(shares)
    exact = [count * share / whole for share in shares]
    found = [math.floor(one) for one in exact]
    order = sorted(range(len(shares)), key=lambda n: (found[n] - exact[n], n))
    for place in order[: count - sum(found)]:
        found[place] += 1
    return found
