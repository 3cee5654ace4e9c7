"""Linguistic form as a space: features in units of their spread, the effect of length taken out.

Nearly every feature of style changes with the length of a text, so texts of different lengths would
seem to be written in different styles. A straight line through each feature over the logarithm of
the number of words takes that out of its mean. Features of short texts also vary more, which no
line takes out: there texts of the same length are compared, by weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LENGTH_CLASSES = 20


class FormSpace(NamedTuple):
    """Texts by features, NaN where a text lacks one or all texts have the same value.

    `values`: each feature has mean 0 and standard deviation 1 over all texts. `explained`: the
    share of a feature's variance that length explains; 0 where length was left in.
    """

    values: np.ndarray
    explained: np.ndarray

    def distances(self, centre: np.ndarray) -> np.ndarray:
        """Return how far each text lies from a centre: root mean square over its features."""
        found: np.ndarray = np.sqrt(_mean((self.values - centre) ** 2, axis=1))
        return found

    def centre(self, members: np.ndarray) -> np.ndarray:
        """Return the mean of each feature over some texts."""
        return _mean(self.values[members], axis=0)

    def spread(self, members: np.ndarray, weights: np.ndarray | None = None) -> float:
        """Return the root mean variance of the features over some texts; that of all texts is 1.

        With weights, one for each text of the space, the variances are weighted.
        """
        own = self.values[members]
        mass = None if weights is None else weights[members]
        variances = [weighted_variance(column, mass) for column in own.T]
        known = [value for value in variances if value == value]
        return float(np.sqrt(np.mean(known))) if known else float("nan")


class Plane(NamedTuple):
    """Texts on the two axes of the largest variance.

    `places`: texts by 2. `loadings`: 2 by features, 0 for one that does not vary. `shares`: the
    share of the variance on each axis.
    """

    places: np.ndarray
    loadings: np.ndarray
    shares: np.ndarray


def at_equal_length(values: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, float]:
    """Return values without the linear effect of the logarithm of the words, and its share.

    The mean stays; NaN stays. The share is the squared correlation.
    """
    has = ~np.isnan(values)
    out = values.copy()
    if not has.any():
        return out, 0.0
    length, own = np.log(np.maximum(words[has], 1)), values[has]
    length, deviation = length - length.mean(), own - own.mean()
    if not length.any() or own.min() == own.max():
        return out, 0.0
    slope = (length * deviation).sum() / (length**2).sum()
    out[has] = own - slope * length
    return out, float(slope**2 * (length**2).sum() / (deviation**2).sum())


def weighted_variance(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the variance of the values that are not NaN; NaN with less than two of weight."""
    every = np.ones(len(values)) if weights is None else weights
    has = ~np.isnan(values) & (every > 0)
    own, mass = values[has], every[has]
    if len(own) < 2:
        return float("nan")
    mean = (mass * own).sum() / mass.sum()
    return float((mass * (own - mean) ** 2).sum() / mass.sum())


def length_weights(words: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return weights under which every group has the same lengths.

    Texts lie in `LENGTH_CLASSES` classes of about as many each, by their number of words. A class
    weighs in every group as much as in the one where it is rarest, so that one that a group lacks
    counts in none. The weights of a group add up to the share of lengths that all groups have.
    """
    edges = np.quantile(words, np.linspace(0, 1, LENGTH_CLASSES + 1)[1:-1], method="inverted_cdf")
    classes = np.searchsorted(edges, words, side="left")
    counts = np.zeros((int(groups.max(initial=0)) + 1, LENGTH_CLASSES))
    np.add.at(counts, (groups, classes), 1)
    rarest = (counts / counts.sum(axis=1, keepdims=True)).min(axis=0)
    weights: np.ndarray = (rarest / np.maximum(counts, 1))[groups, classes]
    return weights


def form_space(features: np.ndarray, words: np.ndarray, *, control_length: bool) -> FormSpace:
    """Return texts by features in units of each feature's standard deviation."""
    values = np.full(features.shape, np.nan)
    explained = np.zeros(features.shape[1])
    for place, column in enumerate(features.T):
        own = column
        if control_length:
            own, explained[place] = at_equal_length(column, words)
        known = own[~np.isnan(own)]
        deviation = known.std() if len(known) else 0.0
        # What rounding leaves of a feature that length explains wholly is not a difference.
        if len(known) and deviation > 1e-9 * max(1.0, abs(known).max()):
            values[:, place] = (own - known.mean()) / deviation
    return FormSpace(values, explained)


def plane(space: FormSpace) -> Plane:
    """Return the plane of the largest variance (principal components), the same on every run.

    A feature that a text lacks counts as its mean. The largest loading of each axis is positive.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    rows, columns = space.values.shape
    places, loadings, shares = np.zeros((rows, 2)), np.zeros((2, columns)), np.zeros(2)
    varying = np.flatnonzero(~np.isnan(space.values).all(axis=0)) if rows else np.empty(0, int)
    count = min(2, rows - 1, len(varying))
    if count < 1:
        return Plane(places, loadings, shares)
    # Threads may add up in another order.
    with threadpool_limits(1):
        pca = PCA(count, svd_solver="full")
        found = pca.fit_transform(np.nan_to_num(space.values[:, varying]))
    largest = abs(pca.components_.round(9)).argmax(axis=1)
    signs = np.where(pca.components_[np.arange(count), largest] < 0, -1.0, 1.0)
    places[:, :count] = found * signs
    loadings[:count, varying] = pca.components_ * signs[:, None]
    shares[:count] = pca.explained_variance_ratio_
    return Plane(places, loadings, shares)


def same_pairs(counts: Sequence[int] | np.ndarray) -> float:
    """Return the share of pairs of texts of one sort, given how many there are of each sort.

    Unlike a number of sorts it does not depend on how many texts there are; NaN below two.
    """
    own = np.asarray(counts, np.float64)
    total = own.sum()
    return float((own * (own - 1)).sum() / (total * (total - 1))) if total > 1 else float("nan")


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return means that leave NaN out, NaN where nothing else is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    found: np.ndarray = np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
    return found
