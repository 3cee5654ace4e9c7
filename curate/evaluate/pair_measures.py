"""What a judge of pairs is worth: measures over what it said of labelled pairs.

Every accuracy stands beside that of the longest answer, which a judge must beat before anything is
claimed of it, and with a 95 % interval, since labelled sets are small.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from curate.evaluate.calibration import Calibration
from curate.evaluate.rank_statistics import Interval, cohen_kappa, histogram, share
from curate.evaluate.row_groups import NO_GROUP
from curate.kernels.arrays.agreement import collapse_of
from curate.steps.pairs._comparison import mean, mean_chance, verdict_of

# What verdicts are called in tables and kappas.
_NAMES = {1.0: "first", 0.0: "second", 0.5: "tie"}


class JudgedPair(NamedTuple):
    """A labelled pair and what a judge said of it; 1 means that the first answer is better.

    `label`, from 0 to 1: people's view (0.5: a tie). `given` and `swapped`: the judge's, with the
    first answer shown first and with it shown second, both about the first answer; `None` where it
    was not asked. `alone`: that of a judge who saw each answer by itself, and gave the better one
    the higher score. `longest`: that of a judge who always prefers the longer answer; `models`: who
    wrote them.
    """

    row: str
    label: float
    given: float | None
    swapped: float | None
    longest: float
    models: tuple[str | None, str | None] = (None, None)
    group: str = NO_GROUP
    mass: float | None = None
    alone: float | None = None

    @property
    def p_first(self) -> float:
        """The judge's view over all orders that were asked."""
        views = (self.given, self.swapped, self.alone)
        return mean_chance([one for one in views if one is not None])

    def turned(self) -> JudgedPair:
        """Return the same pair with its other answer as the first one."""
        label, longest, given, swapped, alone = (
            None if one is None else 1 - one
            for one in (self.label, self.longest, self.given, self.swapped, self.alone)
        )
        assert label is not None
        assert longest is not None
        return self._replace(
            label=label,
            longest=longest,
            given=swapped,
            swapped=given,
            alone=alone,
            models=self.models[::-1],
        )


def right(label: float, p_first: float) -> float:
    """Return 1 for the labelled winner, 0 for the other, and 0.5 where no winner is named."""
    said = verdict_of(p_first)
    return 0.5 if said == 0.5 else float(said == verdict_of(label))


def accuracy(pairs: Iterable[JudgedPair], view: str = "p_first") -> Interval | None:
    """Return how often the labelled winner is named, a tie of the judge counting half.

    Pairs that are labelled as ties, or that `view` (an attribute of a pair) says nothing of, do not
    count.
    """
    found = [
        right(one.label, said)
        for one in pairs
        if verdict_of(one.label) != 0.5 and (said := getattr(one, view)) is not None
    ]
    return share(math.fsum(found), len(found))


def measures(pairs: Sequence[JudgedPair]) -> dict[str, Any]:
    """Return every measure of one judge over labelled pairs, as JSON data.

    Shares have their 95 % interval. What cannot be said (one order only, no models) is left out.
    """
    decided = [one for one in pairs if verdict_of(one.label) != 0.5]
    both = [
        (one.label, one.given, one.swapped)
        for one in pairs
        if one.given is not None and one.swapped is not None
    ]
    labels = [_NAMES[verdict_of(one.label)] for one in pairs]
    verdicts = [_NAMES[verdict_of(one.p_first)] for one in pairs]
    by_order = [accuracy(pairs, view) for view in ("given", "swapped")]
    orders = [one.value for one in by_order if one is not None]
    sides = [
        list(map(verdict_of, side)) for side in zip(*(views for _, *views in both), strict=True)
    ]
    in_orders = measures_of_orders([(one.given, one.swapped) for one in pairs])
    places = {name: in_orders.get(name) for name in ("shown_first_wins", "same_place_wins")}
    right_twice = [
        right(label, given) == right(label, swapped) == 1
        for label, given, swapped in both
        if verdict_of(label) != 0.5
    ]
    found: dict[str, Any] = {
        "pairs": len(pairs),
        "labelled_ties": len(pairs) - len(decided),
        "accuracy": accuracy(pairs),
        "accuracy_longest": accuracy(pairs, "longest"),
        "accuracy_given": by_order[0],
        "accuracy_swapped": by_order[1],
        "accuracy_mean_of_orders": sum(orders) / 2 if len(orders) == 2 else None,
        "both_orders_right": share(sum(right_twice), len(right_twice)),
        "consistency": in_orders.get("consistency"),
        "kappa_of_orders": cohen_kappa(*sides) if both else None,
        "agreement": share(sum(a == b for a, b in zip(labels, verdicts, strict=True)), len(pairs)),
        "kappa": cohen_kappa(labels, verdicts),
        "ties": share(verdicts.count("tie"), len(pairs)),
        "position": {name: one for name, one in places.items() if one is not None},
        "length": _length(pairs),
        "histogram": histogram([one.p_first for one in pairs]),
        "models": _by_model(pairs),
        "calibration": _calibration(decided),
    }
    masses = [one.mass for one in pairs if one.mass is not None]
    if masses:
        found["mean_mass"] = mean(masses)
    collapse = collapse_of([one.p_first for one in pairs])
    # Of a judge without log-probabilities a perfect one says 0 and 1 only; a tie says nothing.
    if collapse is not None and collapse.value == 0.5:
        found["warning"] = collapse.warning("the judge's averaged view")
    return {name: value for name, value in found.items() if value not in (None, {}, [])}


def measures_of_orders(
    views: Iterable[tuple[float | None, float | None]],
) -> dict[str, Interval]:
    """Return what the order does to verdicts: of each pair one as given and one swapped.

    Both are about the answer that is shown first as given. `consistency`: they say the same;
    `same_place_wins`: the answer at one place wins in both; `shown_first_wins`: over all verdicts.
    What no pair was asked is left out.
    """
    known = [(one, other) for one, other in views if one is not None or other is not None]
    sides = [
        (verdict_of(one), verdict_of(other))
        for one, other in known
        if one is not None and other is not None
    ]
    shown = [verdict_of(one) for one, _ in known if one is not None]
    shown += [1 - verdict_of(other) for _, other in known if other is not None]
    places = sum(one != other and 0.5 not in (one, other) for one, other in sides)
    found = {
        "consistency": share(sum(one == other for one, other in sides), len(sides)),
        "shown_first_wins": share(math.fsum(shown), len(shown)),
        "same_place_wins": share(places, len(sides)),
    }
    return {name: value for name, value in found.items() if value is not None}


def _length(pairs: Sequence[JudgedPair]) -> dict[str, Any]:
    """Return how often the longer answer wins, with the judge and in the labels."""
    unequal = [one for one in pairs if one.longest != 0.5]
    if not unequal:
        return {}
    sides = {"judge": "p_first", "labels": "label"}
    found: dict[str, Any] = {
        f"longer_wins_{name}": share(
            math.fsum(right(one.longest, getattr(one, view)) for one in unequal), len(unequal)
        )
        for name, view in sides.items()
    }
    judge, labels = (found[f"longer_wins_{name}"].value for name in sides)
    return found | {"bias": judge - labels}


def _by_model(pairs: Sequence[JudgedPair]) -> dict[str, dict[str, Any]]:
    """Return each model's share of wins with the judge and in the labels, and the difference.

    A judge that prefers what it wrote itself has a high `bias` at its own name.
    """
    wins: dict[str, list[tuple[float, float]]] = {}
    for one in pairs:
        first, second = one.models
        if first is None or second is None or first == second:
            continue
        judge, label = verdict_of(one.p_first), verdict_of(one.label)
        wins.setdefault(first, []).append((judge, label))
        wins.setdefault(second, []).append((1 - judge, 1 - label))
    return {
        model: {
            "pairs": len(own),
            "judge": (judge := mean([j for j, _ in own])),
            "labels": (label := mean([k for _, k in own])),
            "bias": judge - label,
        }
        for model, own in sorted(wins.items())
    }


def _calibration(decided: Sequence[JudgedPair]) -> dict[str, Any]:
    """Return how often a win of the first answer is seen, and one of the second."""
    said = [one for one in decided if one.p_first != 0.5]
    calibration = Calibration.of(
        [one.label > 0.5 for one in said], [one.p_first > 0.5 for one in said]
    )
    if calibration.sensitivity is None or calibration.specificity is None:
        return {}
    return {
        "counts": calibration._asdict(),
        "sensitivity": calibration.sensitivity,
        "specificity": calibration.specificity,
    }


def by_group(groups: Mapping[str, Sequence[JudgedPair]]) -> dict[str, dict[str, Any]]:
    """Return the main measures of the pairs of each group (a language)."""
    shown = ("pairs", "accuracy", "accuracy_longest", "consistency", "kappa", "ties")
    every = {name: measures(own) for name, own in groups.items()}
    return {name: {k: own[k] for k in shown if k in own} for name, own in every.items()}


def figures_of(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the measures that are one number, for `report.json` and `curate compare`.

    Those of a group have its name before them.
    """
    figures: dict[str, float] = {}
    for name, value in found.items():
        if isinstance(value, Interval):
            figures[name] = value.value
        elif isinstance(value, int | float):
            figures[name] = float(value)
        elif isinstance(value, Mapping) and name in ("position", "length", "scores", "lists"):
            figures |= {f"{name}_{k}": v for k, v in figures_of(value).items()}
        elif isinstance(value, Mapping) and name == "groups":
            for group, own in value.items():
                figures |= {f"{group}: {k}": v for k, v in figures_of(own).items()}
        elif isinstance(value, Mapping) and name == "places":
            for place, own in value.items():
                figures |= {f"place_{place}_{k}": v for k, v in figures_of(own).items()}
    return figures
