"""Diversity selection on plain arrays: `select.k_center(vectors, count)`, and how to judge it.

Vectors are the rows of a float array of shape (rows, dimensions). Only their directions count:
they are compared by the cosine, from -1 to 1. A row of zeros has no direction: it is never chosen
and stands for nobody. Rows come back as int64 in the order of choice, fewer than `count` where no
others can be chosen. Ties go to the lower row. Cosines that decide are float64 in a fixed order of
summation, so the lists are those of the naive definitions, whatever the machine, blocks or threads;
randomness comes from a `seed` alone.

Bad arguments raise `ValueError`: another shape, a NaN or an infinity, a negative count.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from curate.kernels.vectors.unit_vectors import UnitVectors
from curate.select.arguments import chosen_rows, count_of, numbers_of, unit_vectors_of
from curate.select.figures import cluster_entropy, nearest_distance, vendi_score

if TYPE_CHECKING:
    from curate.kernels.diversity.facility_location import Quality

__all__ = [
    "Filtered",
    "Nearest",
    "cluster",
    "cluster_entropy",
    "clusters",
    "coverage",
    "dpp",
    "facility_location",
    "instag_cover",
    "k_center",
    "nearest_chosen",
    "nearest_distance",
    "qdit",
    "radius",
    "repr_filter",
    "vendi_score",
]


class Nearest(NamedTuple):
    """For each row the closest chosen one (`row`, or -1) and their `cosine` (or NaN)."""

    row: np.ndarray
    cosine: np.ndarray


class Filtered(NamedTuple):
    """The `chosen` rows; for each rejected row the kept one too close to it, and their cosine."""

    chosen: np.ndarray
    partner: np.ndarray
    cosine: np.ndarray


def k_center(vectors: Any, count: int) -> np.ndarray:
    """Choose rows so that no row is far from a chosen one (greedy k-center).

    The first is the row closest to the mean direction; then always the row farthest from all
    chosen ones. Gonzalez 1985, doi 10.1016/0304-3975(85)90224-5: its radius is at most twice the
    smallest possible. Sener and Savarese 2018, arXiv 1708.00489, section 4: as a core-set.

    Args:
        vectors: floats of shape (rows, dimensions).
        count: how many rows to choose at most.

    Returns:
        int64 of shape (chosen,). Time grows with rows x count at most, memory by 40 bytes a row
        and 4 bytes x dimensions a chosen one.
    """
    from curate.kernels.diversity.k_center import farthest_first
    from curate.kernels.vectors.spherical_kmeans import closest_to_mean

    every, count = unit_vectors_of(vectors), count_of(count)
    first = closest_to_mean(every)
    return farthest_first(every, first, count if first >= 0 else 0)


def facility_location(
    vectors: Any, count: int, *, neighbours: int | None = None, budget: int = 256 << 20
) -> np.ndarray:
    """Choose the rows that stand for all others best (lazy greedy).

    The value is the sum over all rows of the cosine with the closest chosen one, 0 where it is
    negative; each choice has the largest gain. Nemhauser, Wolsey and Fisher 1978, doi
    10.1007/BF01588971: the value is at least 1 - 1/e of the largest possible. Minoux 1978: lazily.

    Args:
        vectors: floats of shape (rows, dimensions).
        count: how many rows to choose at most.
        neighbours: let a row stand only for those that have it among so many nearest ones (itself
            the first). It costs 12 bytes a row for each, and hardly any of the value from 64 on.
        budget: bytes that the float32 products of all pairs may take; beyond, they are made again.

    Returns:
        int64 of shape (chosen,). Time grows with rows^2 x dimensions.
    """
    return _stand_for_all(unit_vectors_of(vectors), count_of(count), neighbours, budget)


def qdit(
    vectors: Any,
    quality: Any,
    count: int,
    *,
    alpha: float = 0.7,
    neighbours: int | None = None,
    budget: int = 256 << 20,
) -> np.ndarray:
    """Choose rows by quality and diversity together (QDIT).

    Bukharin et al. 2024, arXiv 2311.14736, section 3: each choice maximises (1 - alpha) times its
    gain in facility location plus alpha times its quality. Both are brought to the range from 0 to
    1: the gain is divided by the number of rows, quality is (q - min) / (max - min), so that the
    sum stays monotone; a constant quality counts as 0.

    Args:
        vectors: floats of shape (rows, dimensions).
        quality: finite numbers of shape (rows,), larger is better.
        count: how many rows to choose at most.
        alpha: from 0 (diversity alone) to 1 (quality alone); 0.7 to 0.9 in the paper.
        neighbours: as in `facility_location`.
        budget: as in `facility_location`.

    Returns:
        int64 of shape (chosen,).
    """
    from curate.kernels.diversity.facility_location import Quality

    every = unit_vectors_of(vectors)
    worth = numbers_of(quality, len(every), "quality")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is from 0 (diversity) to 1 (quality), not {alpha}")
    spread = float(np.ptp(worth)) if len(worth) else 0.0
    scaled = (worth - worth.min()) / spread if spread > 0 else np.zeros(len(worth))
    weight = (1 - alpha) / max(1, len(every))
    value = Quality(weight, alpha * scaled)
    return _stand_for_all(every, count_of(count), neighbours, budget, value)


def dpp(vectors: Any, count: int, *, quality: Any = None) -> np.ndarray:
    """Choose rows whose vectors span the largest volume (greedy MAP of a DPP).

    Chen, Zhang and Zhou 2018, arXiv 1709.05135, algorithm 1, with L = diag(q) S diag(q), S the
    cosines: each choice has the largest determinant together with those before it. It ends where
    no row adds to the volume, at the latest at the number of dimensions.

    Args:
        vectors: floats of shape (rows, dimensions).
        count: how many rows to choose at most.
        quality: q, numbers of at least 0 of shape (rows,); without it 1.

    Returns:
        int64 of shape (chosen,). Time grows with rows x count^2, memory by 8 bytes x count a row.
    """
    from curate.kernels.diversity.dpp import greedy_determinant

    every = unit_vectors_of(vectors)
    size = len(every)
    worth = np.ones(size) if quality is None else numbers_of(quality, size, "quality")
    if (worth < 0).any():
        raise ValueError(f"quality must not be negative, found {worth.min():g}")
    return greedy_determinant(every, worth, count_of(count))


def repr_filter(
    vectors: Any, score: Any, count: int | None = None, *, threshold: float = 0.9
) -> Filtered:
    """Walk the rows from the best score down; take each that is not too close to a taken one.

    Liu et al. 2023 (DEITA), arXiv 2312.15685, section 2.4: a row is rejected if its cosine with any
    taken row is above `threshold` (0.9 there); the walk ends at `count` rows.

    Args:
        vectors: floats of shape (rows, dimensions).
        score: numbers of shape (rows,); ties keep the order of rows, NaN comes last.
        count: how many rows to take at most; without it, all rows are walked.
        threshold: the largest cosine that is allowed.

    Returns:
        The chosen rows; `partner` (-1: none) and `cosine` (NaN: none) of shape (rows,).
    """
    from curate.kernels.vectors.close_pairs import AllPairs
    from curate.kernels.vectors.dedup import greedy_walk

    every = unit_vectors_of(vectors)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is a cosine above 0 and below 1, not {threshold}")
    worth = np.asarray(score, np.float64)
    if worth.shape != (len(every),):
        raise ValueError(f"score has the shape {worth.shape}, not ({len(every)},)")
    order = np.argsort(-worth, kind="stable")
    # DEITA rejects above the threshold, where the walk drops from its own on.
    similarity = float(np.nextafter(threshold, 2.0))
    found = greedy_walk(every, AllPairs(every, similarity), order, similarity)
    walked = (found.partner < 0) & (every.lengths > 0)
    chosen = order[walked[order]]
    if count is not None and len(chosen) > count_of(count):
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        beyond = place >= place[chosen[count]]
        chosen = chosen[:count]
        found.partner[beyond], found.similarity[beyond] = -1, np.nan
    return Filtered(chosen.astype(np.int64), found.partner, found.similarity)


def clusters(vectors: Any, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Group rows by direction (spherical k-means).

    Dhillon and Modha 2001, doi 10.1023/A:1007612920971, with the seeds of k-means++ (Arthur and
    Vassilvitskii 2007), at most 50 rounds. Clusters are numbered by their first row.

    Args:
        vectors: floats of shape (rows, dimensions).
        count: how many clusters at most; fewer where there are fewer different directions.
        seed: where the seeds' own generator starts.

    Returns:
        The cluster of each row (int64, -1 for zeros) and its cosine with the centre (float64).
    """
    from curate.kernels.vectors.spherical_kmeans import spherical_clusters

    found = spherical_clusters(unit_vectors_of(vectors), count_of(count), seed)
    return found.cluster, found.cosine


def cluster(
    vectors: Any,
    count: int,
    *,
    groups: int,
    score: Any = None,
    quota: Literal["proportional", "uniform"] = "proportional",
    seed: int = 0,
) -> np.ndarray:
    """Choose the best rows of each of `groups` clusters, so that every topic has its share.

    Places go to clusters one by one: to the cluster with the fewest places for its size (Sainte-
    Lague's method), or, `uniform`, to the one with the fewest places, as long as it has rows left.

    Args:
        vectors: floats of shape (rows, dimensions).
        count: how many rows to choose at most.
        groups: how many clusters; see `clusters`.
        score: numbers of shape (rows,), larger is better, NaN last; without it, the cosine with
            the cluster's centre.
        quota: how places are given to clusters.
        seed: see `clusters`.

    Returns:
        int64 of shape (chosen,), in the order in which places were given.
    """
    from curate.kernels.arrays.groups import places_of_groups

    of, cosine = clusters(vectors, groups, seed=seed)
    worth = cosine if score is None else np.asarray(score, np.float64)
    if worth.shape != of.shape:
        raise ValueError(f"score has the shape {worth.shape}, not {of.shape}")
    if quota not in ("proportional", "uniform"):
        raise ValueError(f"quota is 'proportional' or 'uniform', not '{quota}'")
    return places_of_groups(of, worth, count_of(count), uniform=quota == "uniform")


def instag_cover(tags: Sequence[Iterable[Hashable]], count: int) -> np.ndarray:
    """Choose rows with many and varied tags (complexity-first diverse sampling).

    Lu et al. 2023 (#InsTag), arXiv 2308.07074, section 4.1: from the most tags down, a row is taken
    if it has a tag not yet covered; after each pass the covered tags are cleared.

    Args:
        tags: the tags of each row; double ones count once.
        count: how many rows to choose at most.

    Returns:
        int64 of shape (chosen,); rows without tags are never chosen.
    """
    from curate.kernels.diversity.instag import complexity_first

    if any(isinstance(own, str) for own in tags):
        raise ValueError("tags must be a list of tags for each row, and found a string")
    return np.array(complexity_first(tags, count_of(count)), np.int64)


def nearest_chosen(vectors: Any, chosen: Any) -> Nearest:
    """Find the closest chosen row of every row; of a chosen one, the closest chosen before it.

    Args:
        vectors: floats of shape (rows, dimensions).
        chosen: int rows, in the order of choice; of equally close ones the earlier is named.

    Returns:
        Rows (int64) and cosines (float64) of shape (rows,).
    """
    from curate.kernels.vectors.coverage import Cover

    every = unit_vectors_of(vectors)
    rows = np.array(chosen_rows(chosen, every), np.int64)
    found = _closest(every, rows)
    cover = Cover(UnitVectors.of(every.vectors[rows]))
    for place, one in enumerate(rows):
        before = cover.nearest_of(place)
        found.row[one] = rows[before] if before >= 0 else -1
        found.cosine[one] = cover.cosine[place] if before >= 0 else np.nan
        cover.add(place)
    return found


def radius(vectors: Any, chosen: Any) -> float:
    """Return the largest distance (on the unit sphere, 0 to 2) of a row from its chosen one."""
    covered = _covered(vectors, chosen)
    return float(np.sqrt(np.maximum(0.0, 2.0 - 2.0 * covered)).max(initial=0.0))


def coverage(vectors: Any, chosen: Any) -> float:
    """Return the value of facility location: the sum of the rows' cosines with a chosen one."""
    return float(np.maximum(0.0, _covered(vectors, chosen)).sum())


def _covered(vectors: Any, chosen: Any) -> np.ndarray:
    """Return the cosine of every row that has a direction with the closest chosen row."""
    every = unit_vectors_of(vectors)
    found = _closest(every, np.array(chosen_rows(chosen, every), np.int64))
    covered: np.ndarray = np.where(found.row >= 0, found.cosine, -1.0)[every.lengths > 0]
    return covered


def _closest(every: UnitVectors, chosen: np.ndarray) -> Nearest:
    """Find the closest chosen row of every row that has a direction."""
    from curate.kernels.vectors.spherical_kmeans import closest_centres

    row, cosine = np.full(len(every), -1), np.full(len(every), np.nan)
    if len(chosen):
        able = np.flatnonzero(every.lengths > 0)
        centres = UnitVectors.of(every.vectors[chosen])
        row[able] = chosen[closest_centres(every, able, centres, 1)[:, 0]]
        cosine[able] = every.cosines(able, row[able])
    return Nearest(row, cosine)


def _stand_for_all(
    every: UnitVectors,
    count: int,
    neighbours: int | None,
    budget: int,
    quality: Quality | None = None,
) -> np.ndarray:
    from curate.kernels.diversity.facility_location import greedy_over_all, greedy_over_neighbours
    from curate.kernels.vectors.knn import neighbour_lists

    if neighbours is None:
        return greedy_over_all(every, count, quality, budget=budget)
    if neighbours < 1:
        raise ValueError(f"neighbours is at least 1 (a row itself), not {neighbours}")
    lists = neighbour_lists(every, neighbours, itself=True)
    return greedy_over_neighbours(every, lists, count, quality)
