"""Comparisons of a model's answers with a baseline's, and what they come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from curate.evaluate.model.length_control import Comparisons, LengthControl, fit_length_control
from curate.evaluate.model.resampling import bootstrap
from curate.evaluate.pair_measures import measures_of_orders
from curate.evaluate.rank_statistics import share
from curate.steps.pairs._comparison import verdict_of

_MIN_GROUPS = 2
# Beyond this share of longer, or of shorter, answers hardly any prompt says what length is worth.
ONE_SIDED = 0.95


class Contest(NamedTuple):
    """One prompt's comparison; probabilities are those that the model's answer is better.

    `given` and `swapped`: in the order in which the answers stand (the model's first) and in the
    other, `None` where it was not asked; `wins`: over both. Lengths are in characters.
    """

    row: str
    wins: float | None
    given: float | None
    swapped: float | None
    length: int
    baseline_length: int
    category: str = "-"
    language: str = "-"
    difficulty: float | None = None


def contest_measures(
    contests: Sequence[Contest], weights: LengthControl | None = None
) -> dict[str, Any]:
    """Return what comparisons with one baseline come to, as JSON data.

    `win_rate` is the mean probability that the model's answer is better, `win_rate_counted` wins
    and half of the ties; comparisons without a verdict are counted as `without_verdict` and left
    out. `length_controlled` is fitted to the comparisons, or predicted by `weights`, which were
    fitted by others.
    """
    judged = [one for one in contests if one.wins is not None]
    wins = [one.wins for one in judged if one.wins is not None]
    verdicts = [verdict_of(one) for one in wins]
    longest = [(one.length > one.baseline_length) + 0.5 * (one.length == one.baseline_length)
               for one in judged]  # fmt: skip
    found: dict[str, Any] = {
        "prompts": len(contests),
        "without_verdict": len(contests) - len(judged),
        "win_rate": bootstrap(wins),
        "win_rate_counted": share(math.fsum(verdicts), len(verdicts)),
        "ties": share(verdicts.count(0.5), len(verdicts)),
        "win_rate_longest": share(math.fsum(longest), len(longest)),
        "length": _mean([one.length for one in judged]),
        "baseline_length": _mean([one.baseline_length for one in judged]),
    }
    found["length_controlled"] = _length_controlled(judged, weights)
    side = found["win_rate_longest"]
    if side is not None and weights is None and not 1 - ONE_SIDED <= side.value <= ONE_SIDED:
        how = "longer" if side.value > ONE_SIDED else "shorter"
        share_ = max(side.value, 1 - side.value)
        found["warning"] = (
            f"the model's answers are {how} than the baseline's for {share_:.0%} of the prompts: "
            "what it would win at equal length is extrapolated from the others"
        )
    found |= measures_of_orders((one.given, one.swapped) for one in judged)
    return {name: value for name, value in found.items() if value is not None}


def contest_groups(contests: Sequence[Contest]) -> dict[str, dict[str, Any]]:
    """Return the win rate of each category and each language, where there are several."""
    found: dict[str, dict[str, Any]] = {}
    for kind in ("category", "language"):
        groups: dict[str, list[Contest]] = {}
        for one in contests:
            groups.setdefault(getattr(one, kind), []).append(one)
        if len(groups) < _MIN_GROUPS:
            continue
        found[kind] = {
            name: {"prompts": len(own), "win_rate": bootstrap([o.wins for o in own])}
            for name, rows in sorted(groups.items())
            if (own := [one for one in rows if one.wins is not None])
        }
    return found


def _length_controlled(judged: Sequence[Contest], weights: LengthControl | None) -> dict[str, Any]:
    """Return the length-controlled win rate and the weights behind it, or why there is none."""
    if not judged:
        return {"not_measured": "no comparison has a verdict"}
    known = [one.difficulty for one in judged if one.difficulty is not None]
    difficulty = known if len(known) == len(judged) else None
    compared = Comparisons.of(
        [one.wins for one in judged],
        [one.baseline_length for one in judged],
        [one.length for one in judged],
        difficulty,
    )
    try:
        found = weights or fit_length_control(compared)
        win_rate = found.win_rate(difficulty)
    except ValueError as error:
        return {"not_measured": str(error)}
    return {
        "win_rate": win_rate,
        "weights": found._asdict(),
        "how": "fitted" if weights is None else "given",
        "difficulty": difficulty is not None,
    }


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
