"""Cross-validated linear models of preferences: what labels reward, and which labels they doubt.

A preference is modelled as sigmoid(w . (features of one answer - those of the other)), without an
intercept, so that swapping the answers swaps the outcome (Bradley and Terry 1952). Pairs of one
prompt are always in the same of five folds, and every pair is predicted by a model that has not
seen its prompt.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.evaluate.preference.sketches import WORD_COLUMNS, PairArrays, Sketches
from curate.kernels.text.style_features import FEATURES

FOLDS = 5
# With fewer pairs, or prompts, an accuracy says nothing.
FEWEST = 50
# Pairs from which a model of words is fitted at most, 10,000 in a fold.
MOST_FITTED = 50_000


class Crossed(NamedTuple):
    """What models that have not seen a pair say of it.

    `p_chosen`: the probability of its label, NaN for ties and where nothing could be fitted;
    `weights`: of each feature, in its standard deviations, the mean over folds.
    """

    p_chosen: np.ndarray
    weights: np.ndarray


def style_differences(pairs: PairArrays) -> np.ndarray:
    """Return by how much the chosen answer is ahead in each feature of style.

    Numbers of words are compared by their logarithms; where one answer lacks a feature (a text too
    short for lexical diversity) the difference is 0.
    """
    features = pairs.features.copy()
    words = FEATURES.index("words")
    features[:, :, words] = np.log1p(np.nan_to_num(features[:, :, words]))
    differences: np.ndarray = features[:, 0] - features[:, 1]
    known: np.ndarray = np.nan_to_num(differences)
    return known


def length_differences(pairs: PairArrays) -> np.ndarray:
    """Return by how many words the chosen answer is longer, and by what factor (its logarithm)."""
    words = pairs.words.astype(np.float64)
    return np.column_stack([words[:, 0] - words[:, 1], np.diff(-np.log1p(words), axis=1)])


def folds_of(prompts: np.ndarray) -> np.ndarray:
    """Return the fold of each pair: prompts, in the order of their hashes, in turn."""
    distinct, place = np.unique(prompts, return_inverse=True)
    return (np.arange(len(distinct)) % FOLDS)[place.ravel()]


def measurable(pairs: PairArrays) -> str | None:
    """Return why no model can be cross-validated on these pairs, or `None`."""
    decided = ~pairs.tie
    prompts = len(np.unique(pairs.prompt[decided]))
    if decided.sum() < FEWEST or prompts < FEWEST:
        return (
            f"{int(decided.sum()):,} labelled pairs of {prompts:,} prompts; a cross-validated "
            f"model needs {FEWEST} of each"
        )
    return None


def crossed(differences: np.ndarray, pairs: PairArrays) -> Crossed:
    """Cross-validate a logistic model of differences (a row a pair, the chosen answer's first)."""
    decided, folds = ~pairs.tie, folds_of(pairs.prompt)
    p_chosen, weights = np.full(len(differences), np.nan), list[np.ndarray]()
    for fold in range(FOLDS):
        fitted, held_out = decided & (folds != fold), decided & (folds == fold)
        scale = np.sqrt((differences[fitted] ** 2).mean(axis=0))
        scaled = differences / np.where(scale > 0, scale, np.inf)
        weight = _fit(scaled[fitted], pairs.sides[fitted])
        weights.append(weight)
        p_chosen[held_out] = _sigmoid(scaled[held_out] @ weight)
    return Crossed(p_chosen, np.mean(weights, axis=0))


def crossed_words(sketches: Sketches, style: np.ndarray) -> np.ndarray:
    """Cross-validate a model of the words that answers differ in, and of style; return `p_chosen`.

    Words are hashed into 262,144 columns. Of many pairs 50,000 are drawn to fit, by their hashes;
    all are predicted.
    """
    from scipy.sparse import csr_array, hstack

    pairs = sketches.pairs
    decided, folds = ~pairs.tie, folds_of(pairs.prompt)
    scale = np.sqrt((style[decided] ** 2).mean(axis=0))
    scaled = style / np.where(scale > 0, scale, np.inf)

    def matrix(places: np.ndarray) -> Any:
        sides = [column.take(pa.array(places)) for column in sketches.differing]
        counts = np.column_stack([np.asarray(pc.list_value_length(s)) for s in sides])
        # Every row has the length 1, however many words differ.
        size = 1 / np.sqrt(np.maximum(counts.sum(axis=1), 1))
        blocks = [
            csr_array(
                (
                    np.repeat(sign * size, counts[:, number]),
                    np.concatenate([np.asarray(c.flatten()) for c in side.chunks]),
                    np.concatenate([[0], np.cumsum(counts[:, number])]).astype(np.int32),
                ),
                shape=(len(places), WORD_COLUMNS),
            )
            for number, (sign, side) in enumerate(zip((1.0, -1.0), sides, strict=True))
        ]
        return hstack([blocks[0] + blocks[1], csr_array(scaled[places])], format="csr")

    order = np.argsort(pairs.sides[:, 0] ^ pairs.sides[:, 1] ^ pairs.prompt, kind="stable")
    drawn = np.sort(order[decided[order]][:MOST_FITTED])
    p_chosen = np.full(len(style), np.nan)
    for fold in range(FOLDS):
        fitted, held_out = drawn[folds[drawn] != fold], np.flatnonzero(decided & (folds == fold))
        weight = _fit(matrix(fitted), pairs.sides[fitted])
        for at in range(0, len(held_out), 10_000):
            places = held_out[at : at + 10_000]
            p_chosen[places] = _sigmoid(matrix(places) @ weight)
    return p_chosen


def doubtful(p_chosen: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the labels that a model doubts, the strongest doubt first, and its limit.

    The rule of confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70, section 3.1): a label
    is doubtful where the model gives the other answer at least the probability that it gives labels
    on average. Both classes are alike here, so they have one limit.
    """
    known = np.flatnonzero(~np.isnan(p_chosen))
    limit = float(p_chosen[known].mean()) if len(known) else 1.0
    hits = known[1 - p_chosen[known] >= max(limit, 0.5)]
    return hits[np.argsort(p_chosen[hits], kind="stable")], limit


def _fit(differences: Any, sides: np.ndarray) -> np.ndarray:
    """Fit a logistic model with a penalty on squared weights (C = 1) and without an intercept."""
    from sklearn.linear_model import LogisticRegression

    # Which answer stands first is drawn, by the answers' hashes: both outcomes must occur.
    first = np.where(sides[:, 0] < sides[:, 1], 1.0, -1.0)
    if abs(first.sum()) == len(first):
        first[::2] *= -1
    model = LogisticRegression(
        C=1.0, fit_intercept=False, solver="liblinear", max_iter=1000, random_state=0
    )
    signed = differences * first[:, None]
    if isinstance(signed, np.ndarray):
        weights: np.ndarray = model.fit(signed, first > 0).coef_[0]
        return weights
    # Columns that no pair has would be zeros, and cost as much as the others.
    signed = signed.tocsc()
    used = np.flatnonzero(np.diff(signed.indptr))
    weights = np.zeros(signed.shape[1])
    if len(used):
        weights[used] = model.fit(signed[:, used], first > 0).coef_[0]
    return weights


def _sigmoid(values: np.ndarray) -> np.ndarray:
    chances: np.ndarray = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return chances
