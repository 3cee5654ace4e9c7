"""How far people agree with each other, and with the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from curate.kernels.arrays.agreement import kendall, spearman
from curate.kernels.votes.rankings import preferences_alike
from curate.kernels.votes.raters import cohen_kappa, krippendorff_alpha
from curate.review.label_events import Label, ranks_in


class Agreement(NamedTuple):
    """Shares and coefficients, `None` where nobody has said enough.

    `alike` is the share of pairs of labels on one row that say the same, `with_run` the share of
    keep, drop, choices and ranks that is what the run says. Of ranks, the part of a label counts:
    the share of pairs of candidates of which both say the same (better, worse or tied). `alpha` is
    Krippendorff's over all people and rows with two labels or more (ordinal for ratings, else
    nominal; not of ranks), `kappa` Cohen's for keep and drop, `rho` Spearman's of ratings and a
    step's scores. `tau` is the mean of Kendall's tau-b over every two people's ranks of one row,
    `tau_with_run` that of people's ranks and the run's; what is all one tie has none.
    """

    labels: int
    rows_shared: int
    alike: float | None
    alpha: float | None
    with_run: float | None
    kappa: float | None
    rho: float | None = None
    tau: float | None = None
    tau_with_run: float | None = None


def agreement(
    labels: Iterable[Label], said_by_run: Mapping[str, Mapping[str, str | float]]
) -> Agreement:
    """Return the agreement in some labels.

    Args:
        labels: The last label of each person on each row.
        said_by_run: By row, what the run says of its `fate`, of what is `chosen`, as `rating`, and
            as `ranks`.
    """
    by_item: dict[tuple[str, str], list[str]] = {}
    fates, rated = [], []
    alike: list[float] = []
    taus: list[float] = []
    count = 0
    for label in labels:
        count += 1
        about = "fate" if label.decision in ("keep", "drop") else str(label.decision)
        said = label.value if label.value is not None else str(label.decision)
        by_item.setdefault((label.item, about), []).append(said)
        of_run = said_by_run.get(label.item, {}).get(about)
        if of_run is None:
            continue
        if about == "rating":
            rated.append((float(said), float(of_run)))
        else:
            alike.append(_alike(about, said, str(of_run)))
        if about == "ranks":
            taus.append(_tau(said, str(of_run)))
        if about == "fate":
            fates.append((of_run == "keep", said == "keep"))
    shared = {key: said for key, said in by_item.items() if len(said) > 1}
    pairs = [(about, a, b) for (_, about), said in shared.items() for a, b in combinations(said, 2)]
    table = [[0, 0], [0, 0]]
    for run, person in fates:
        table[run][person] += 1
    return Agreement(
        count,
        len({item for item, _ in shared}),
        _mean([_alike(*pair) for pair in pairs]),
        _alpha(shared),
        _mean(alike),
        _known(cohen_kappa(table)) if fates else None,
        _known(spearman(*np.array(rated).T)) if len(rated) > 1 else None,
        _mean([_tau(a, b) for about, a, b in pairs if about == "ranks"]),
        _mean(taus),
    )


def _alike(about: str, one: str, other: str) -> float:
    """Return how far two labels say the same: 1 or 0, and of ranks a share."""
    if about != "ranks":
        return float(one == other)
    return preferences_alike(ranks_in(one), ranks_in(other))


def _tau(one: str, other: str) -> float:
    return kendall(np.array(ranks_in(one)), np.array(ranks_in(other)))


def _mean(values: Iterable[float]) -> float | None:
    """Return the mean of those that are numbers, `None` without any."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else None


def _alpha(shared: dict[tuple[str, str], list[str]]) -> float | None:
    """Return alpha over the question that most rows were asked."""
    abouts = [about for _, about in shared if about != "ranks"]
    if not abouts:
        return None
    about = max(sorted(set(abouts)), key=abouts.count)
    items = [said for (_, own), said in shared.items() if own == about]
    numeric = about == "rating"
    names: list[Any] = sorted(
        {one for said in items for one in said}, key=float if numeric else str
    )
    counts = [[said.count(name) for name in names] for said in items]
    return _known(krippendorff_alpha(counts, "ordinal" if numeric else "nominal"))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
