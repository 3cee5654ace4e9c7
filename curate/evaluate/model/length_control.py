"""Win rates with the effect of length taken out: AlpacaEval's length-controlled win rate.

Dubois, Galambosi, Liang and Hashimoto 2024, arXiv 2404.04475. A logistic model without an intercept
explains preferences by the difference in length, squeezed by tanh, by how difficult an instruction
is, and by the model itself. The win rate is what it predicts for answers of equal length. A win
rate that length alone explains goes to a half.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curate.errors import InputError

FOLDS = 5
# Ten strengths of the L1 penalty, as AlpacaEval's cross-validation tries them.
STRENGTHS = np.logspace(-4, 4, 10)
# Two gamed baselines share this weight (Dubois et al., section 3).
ANCHOR_WEIGHT = 0.2
_COLUMNS = ("np.tanh(std_delta_len)", "instruction_difficulty", "not_gamed_baseline.astype(float)")


class Comparisons(NamedTuple):
    """Comparisons of a model with a baseline, an entry for each prompt.

    `wins`: the probability that the model's answer is better; `longer`: by how many characters the
    baseline's answer is longer; `difficulty`: of the instruction, 0 where it is not known.
    """

    wins: np.ndarray
    longer: np.ndarray
    difficulty: np.ndarray

    @classmethod
    def of(
        cls, wins: Any, baseline_lengths: Any, model_lengths: Any, difficulty: Any = None
    ) -> Comparisons:
        """Return comparisons of which some have no `wins` (NaN); those are left out."""
        array = np.asarray(wins, np.float64)
        known = ~np.isnan(array)
        longer = np.asarray(baseline_lengths, np.float64) - np.asarray(model_lengths, np.float64)
        hard = np.zeros(len(array)) if difficulty is None else np.asarray(difficulty, np.float64)
        return cls(array[known], longer[known], hard[known])


class LengthControl(NamedTuple):
    """The fitted model: the weights of length, of difficulty, and of the model itself."""

    length: float
    difficulty: float
    model: float

    def win_rate(self, difficulty: Any = None, over: LengthControl | None = None) -> float:
        """Return the win rate at equal length, 0 to 1.

        Args:
            difficulty: of each instruction; only a model without a weight of it needs none.
            over: another model, fitted against the same baseline, in the baseline's place.

        Raises:
            ValueError: there is a weight of difficulty, and no difficulties.
        """
        own = self if over is None else LengthControl(*(a - b for a, b in zip(self, over)))  # noqa: B905
        if difficulty is None and own.difficulty:
            raise ValueError(
                f"the weight of difficulty is {own.difficulty:+.2f}, and it is not known how "
                "difficult the instructions are"
            )
        hard = np.zeros(1) if difficulty is None else np.asarray(difficulty, np.float64)
        return float(np.exp(-np.logaddexp(0, -(own.model + own.difficulty * hard))).mean())


def fit_length_control(
    compared: Comparisons, anchors: Sequence[Comparisons] = (), *, folds: int = FOLDS
) -> LengthControl:
    """Fit the model to comparisons, with an L1 penalty whose strength is cross-validated.

    Args:
        compared: the comparisons of the model to be measured.
        anchors: those of baselines that were told to be longer or shorter than they are (AlpacaEval
            has two, which its authors' figures were fitted with): they share a weight of 0.2 and
            have no share in the model's own weight.
        folds: of the cross-validation; each prompt is in one of them.

    Raises:
        ValueError: there are fewer comparisons than folds, or all answers are equally long and
            instructions equally difficult, or a win is not a probability.
    """
    if len(compared.wins) < 2 * folds:
        raise ValueError(
            f"{len(compared.wins)} comparisons; the length-controlled win rate is fitted in "
            f"{folds} folds of 2 or more"
        )
    sets = [compared, *anchors]
    wins = np.concatenate([one.wins for one in sets])
    if not ((wins >= 0) & (wins <= 1)).all():
        raise ValueError("a win must be a probability from 0 to 1")
    features = np.concatenate(
        [
            np.column_stack(
                [
                    np.tanh(one.longer / (one.longer.std(ddof=1) or 1.0)),
                    one.difficulty,
                    np.full(len(one.wins), float(not number)),
                ]
            )
            for number, one in enumerate(sets)
        ]
    )
    used = np.flatnonzero(np.abs(features).max(axis=0))
    weights = np.concatenate(
        [
            np.full(len(one.wins), 1.0 if not number else ANCHOR_WEIGHT / len(anchors))
            for number, one in enumerate(sets)
        ]
    )
    fold = np.concatenate([np.arange(len(one.wins)) % folds for one in sets])
    losses = []
    for strength in STRENGTHS:
        loss = 0.0
        for held_out in range(folds):
            train, test = fold != held_out, fold == held_out
            fitted = _fitted(features[train][:, used], wins[train], weights[train], strength)
            margin = features[test][:, used] @ fitted
            each = wins[test] * np.logaddexp(0, -margin)
            each += (1 - wins[test]) * np.logaddexp(0, margin)
            loss += float(weights[test] @ each)
        losses.append(loss)
    best = STRENGTHS[int(np.argmin(losses))]
    found = np.zeros(3)
    found[used] = _fitted(features[:, used], wins, weights, best)
    return LengthControl(*map(float, found))


def _fitted(features: np.ndarray, wins: np.ndarray, weights: np.ndarray, c: float) -> np.ndarray:
    """Fit to soft targets: every comparison counts once as a win and once as a loss, by its p."""
    from sklearn.linear_model import LogisticRegression

    twice = np.concatenate([features, features])
    shares = np.concatenate([weights * wins, weights * (1 - wins)])
    labels = np.repeat([1, 0], len(wins))
    # Its coordinates are walked in a drawn order: with a seed, the same fit comes every time.
    model = LogisticRegression(
        C=c,
        l1_ratio=1.0,
        solver="liblinear",
        fit_intercept=False,
        tol=1e-6,
        max_iter=10_000,
        random_state=0,
    )
    found: np.ndarray = model.fit(twice, labels, sample_weight=shares).coef_[0]
    return found


def read_weights(path: str | Path) -> dict[str, LengthControl]:
    """Return the weights of AlpacaEval's models, by name, from its file of weights (CSV).

    Raises:
        InputError: the file cannot be read, or has other columns.
    """
    weights = {}
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            head = next(reader, [])
            if tuple(head[1:]) != _COLUMNS:
                raise InputError(
                    f"{path}:1: columns are {', '.join(head[1:]) or 'missing'}; weights of the "
                    f"length-controlled win rate have {', '.join(_COLUMNS)}"
                )
            for line in reader:
                try:
                    name, length, difficulty, model = line
                    found = LengthControl(float(length), float(difficulty), float(model))
                except ValueError:
                    raise InputError(
                        f"{path}:{reader.line_num}: a name and three numbers, found {line!r:.60}"
                    ) from None
                if not all(map(math.isfinite, found)):
                    raise InputError(f"{path}:{reader.line_num}: {line!r:.60} are not weights")
                weights[name] = found
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: weights cannot be read: {error}") from error
    return weights


def difficulty_of(values: Any, where: str) -> Sequence[float] | Mapping[str, float]:
    """Return difficulties of instructions as they were read: a list, or by instruction.

    Raises:
        InputError: something else was read.
    """
    listed = list(values.values()) if isinstance(values, dict) else values
    if not isinstance(listed, list) or not all(
        isinstance(one, int | float) and math.isfinite(one) for one in listed
    ):
        raise InputError(
            f"{where}: difficulties are a JSON list of numbers, one for each instruction in order, "
            "or an object of them by instruction"
        )
    return values  # type: ignore[no-any-return]
