"""How diverse rows are: figures of any dataset, all of unit vectors.

They grow or shrink with the number of rows, so compare only figures of samples of one size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.select.arguments import unit_vectors_of


def nearest_distance(vectors: Any) -> np.ndarray:
    """Return each row's distance, 1 - cosine (0 to 2), from the nearest other row.

    Args:
        vectors: floats of shape (rows, dimensions); time grows with rows^2.

    Returns:
        float64 of shape (rows,); NaN for zeros, and for a row without another one.
    """
    from curate.kernels.vectors.knn import neighbour_lists

    every = unit_vectors_of(vectors)
    if len(every) < 2:
        return np.full(len(every), np.nan)
    distance: np.ndarray = 1.0 - neighbour_lists(every, 1, itself=False).cosines[:, 0]
    return distance


def vendi_score(vectors: Any) -> float:
    """Return the effective number of different rows: from 1, all equal, to their number.

    The exponential of the entropy of the eigenvalues of the cosines' matrix divided by the number
    of rows: Friedman and Dieng 2023, arXiv 2210.02410, definition 3.1. Rows of zeros do not count.

    Args:
        vectors: floats of shape (rows, dimensions); time grows with rows x dimensions^2.
    """
    every = unit_vectors_of(vectors)
    some = every.lengths > 0
    units = every.vectors[some].astype(np.float64) / every.lengths[some, None]
    if not len(units):
        return 0.0
    # X X' and X' X have the same eigenvalues, but for zeros.
    wide = len(units) < units.shape[1]
    values = np.linalg.eigvalsh(units @ units.T if wide else units.T @ units) / len(units)
    values = values[values > 1e-12]
    return float(np.exp(-np.sum(values * np.log(values))))


def cluster_entropy(cluster: Any) -> float:
    """Return how evenly rows fall into clusters: 1 evenly, 0 all in one (Shannon's evenness).

    Args:
        cluster: the cluster of each row, as of `clusters`; -1 does not count.

    Returns:
        The entropy of the clusters' shares, divided by the logarithm of their number.
    """
    names = np.asarray(cluster)
    counts = np.unique(names[names >= 0], return_counts=True)[1]
    if len(counts) < 2:
        return 0.0
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log(shares)) / np.log(len(counts)))
