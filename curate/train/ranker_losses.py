"""The losses of SCAR: three orderings of a triple, and two triplet losses on its style vectors.

Li et al. 2024, arXiv 2406.10882, section 3.2, with the numbers of the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from curate.models.inprocess.style_ranker import Styled
from curate.train.settings import RankerSettings
from curate.train.triples import ORDERINGS, Triple, counted

# Anchor, positive and negative of each: a referenced answer surprises as much as the human one, and
# has the form of a direct one.
TRIPLETS = {
    "surprisal": ("referenced", "human", "direct"),
    "form": ("direct", "referenced", "human"),
}


class Terms(NamedTuple):
    """A batch's loss, and its parts by name; parts without a pair that counts are absent."""

    total: torch.Tensor | None
    parts: Mapping[str, torch.Tensor]


def margin_loss(better: torch.Tensor, worse: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the mean shortfall of the scores `better` over `worse` below `margin`."""
    return (margin - (better - worse)).clamp(min=0).mean()


def triplet_loss(
    anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float
) -> torch.Tensor:
    """Return the mean triplet loss of vectors (rows) under the L2 distance."""
    near = torch.linalg.vector_norm(anchor - positive, dim=-1)
    far = torch.linalg.vector_norm(anchor - negative, dim=-1)
    loss: torch.Tensor = (near - far + margin).clamp(min=0).mean()
    return loss


def ranker_loss(
    triples: Sequence[Triple],
    places: Mapping[tuple[int, str], int],
    styled: Styled,
    settings: RankerSettings,
) -> Terms:
    """Return the loss of a batch.

    Args:
        triples: the triples of the batch.
        places: the row of `styled` that is the answer of a triple (its number) and an origin.
        styled: scores and vectors of all answers of the batch.
        settings: margins and weights, the quality that a pair needs, and the terms to leave out.
    """
    parts: dict[str, torch.Tensor] = {}
    counting = {
        name: [n for n, one in enumerate(triples) if counted(one, *pair, settings.quality)]
        for name, pair in ORDERINGS.items()
    }

    def rows(origin: str, numbers: Sequence[int]) -> list[int]:
        return [places[number, origin] for number in numbers]

    for name in settings.orderings:
        if numbers := counting[name]:
            better, worse = (styled.score[rows(o, numbers)] for o in ORDERINGS[name])
            parts[name] = margin_loss(better, worse, settings.margin)
    total = sum(parts.values(), start=torch.zeros(())) if parts else None
    # A triplet needs all three pairs to count.
    numbers = sorted(set.intersection(*(set(own) for own in counting.values())))
    for name in settings.triplets if numbers else ():
        vectors = getattr(styled, name)
        anchor, positive, negative = (vectors[rows(o, numbers)] for o in TRIPLETS[name])
        parts[name] = triplet_loss(anchor, positive, negative, settings.triplet_margin)
        share = settings.triplet_weight / len(TRIPLETS) * parts[name]
        total = share if total is None else total + share
    return Terms(total, parts)
