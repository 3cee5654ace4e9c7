"""Held-out rows, split off before anything is curated: whole groups of prompts that are alike.

Neutral rows are a file of the user's, or random rows of the raw data after mandatory cleaning. Rows
that a recipe has kept would flatter it: longer answers look better on longer held-out ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curate.kernels.sets.components import Links, link_equal, link_similar
from curate.row import Row, seed_of
from curate.steps.select.split import Split

SIMILARITY = 0.8


class HeldOutSplit(NamedTuple):
    """Rows held out with the group of each prompt, candidates, and how many resemble the former."""

    held_out: list[Row]
    clusters: NDArray[np.int64]
    candidates: list[Row]
    removed: int


def prompt_groups(rows: Sequence[Row], similarity: float = SIMILARITY) -> NDArray[np.int64]:
    """Return for each row the place of the first one whose prompt is like its own.

    Prompts are alike when they hold the same words, or their shingles of three words reach the
    Jaccard `similarity`; also through other rows (as in the step `split`).
    """
    step = Split(on="instruction", similarity=similarity, share=None, count=None)
    sketches = [step.sketch(row) for row in rows]
    links = Links(len(rows))
    link_equal(links, np.array([one["prompt"] for one in sketches], np.uint64))
    shingles = [one["shingles"] for one in sketches]
    link_similar(links, pa.chunked_array([pa.array(shingles, pa.list_(pa.uint64()))]), similarity)
    return np.array([links.root(place) for place in range(len(rows))], np.int64)


def hold_out_rows(rows: Sequence[Row], count: int, seed: int) -> HeldOutSplit:
    """Return `count` rows (at most) as held out, in whole groups that `seed` draws."""
    groups = prompt_groups(rows)
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(place)
    order = sorted(members, key=lambda group: seed_of("held out", rows[group].id, seed))
    taken = np.zeros(len(rows), np.bool_)
    for group in order:
        if len(members[group]) <= count:
            taken[members[group]] = True
            count -= len(members[group])
    held = np.flatnonzero(taken).tolist()
    left = np.flatnonzero(~taken).tolist()
    return HeldOutSplit([rows[n] for n in held], groups[held], [rows[n] for n in left], 0)


def apart_from(held_out: Sequence[Row], rows: Sequence[Row]) -> HeldOutSplit:
    """Return `rows` without those whose prompt is like one of the rows held out."""
    groups = prompt_groups([*held_out, *rows])
    own = groups[: len(held_out)]
    like = np.isin(groups[len(held_out) :], own)
    kept = [row for row, one in zip(rows, like.tolist(), strict=True) if not one]
    return HeldOutSplit(list(held_out), own, kept, int(like.sum()))
