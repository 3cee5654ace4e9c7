"""How far people agree with each other, and with the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from curate.kernels.arrays.agreement import spearman
from curate.kernels.votes.raters import cohen_kappa, krippendorff_alpha
from curate.review.label_events import Label


class Agreement(NamedTuple):
    """Shares and coefficients, `None` where nobody has said enough.

    `alpha` is Krippendorff's over all people and rows with two labels or more (ordinal for ratings,
    else nominal); `with_run` the share of keep, drop and choices that is what the run says, `kappa`
    Cohen's for keep and drop, `rho` Spearman's of ratings and a step's scores.
    """

    labels: int
    rows_shared: int
    alike: float | None
    alpha: float | None
    with_run: float | None
    kappa: float | None
    rho: float | None = None


def agreement(
    labels: Iterable[Label], said_by_run: Mapping[str, Mapping[str, str | float]]
) -> Agreement:
    """Return the agreement in some labels.

    Args:
        labels: The last label of each person on each row.
        said_by_run: By row, what the run says of its `fate`, of what is `chosen`, and as `rating`.
    """
    by_item: dict[tuple[str, str], list[str]] = {}
    fates, alike, rated = [], [], []
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
            alike.append(said == of_run)
        if about == "fate":
            fates.append((of_run == "keep", said == "keep"))
    shared = {key: said for key, said in by_item.items() if len(said) > 1}
    pairs = [
        (a == b, about)
        for (_, about), said in shared.items()
        for k, a in enumerate(said)
        for b in said[k + 1 :]
    ]
    table = [[0, 0], [0, 0]]
    for run, person in fates:
        table[run][person] += 1
    return Agreement(
        count,
        len({item for item, _ in shared}),
        sum(same for same, _ in pairs) / len(pairs) if pairs else None,
        _alpha(shared),
        sum(alike) / len(alike) if alike else None,
        _known(cohen_kappa(table)) if fates else None,
        _known(spearman(*np.array(rated).T)) if len(rated) > 1 else None,
    )


def _alpha(shared: dict[tuple[str, str], list[str]]) -> float | None:
    """Return alpha over the question that most rows were asked."""
    abouts = [about for _, about in shared]
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
