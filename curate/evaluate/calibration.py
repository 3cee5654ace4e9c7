"""Correct the shares that a judge reports by what it gets wrong on labelled rows.

A judge that passes 20 % of the bad rows and misses 10 % of the good ones reports a share of good
rows that is not a share of good rows. From a small labelled set its sensitivity and specificity are
known within limits, and the share can be corrected by them (Rogan and Gladen 1978). The price is a
wider interval, which says what the labelled set is worth; a judge that is no better than chance
cannot be corrected at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from curate.evaluate.rank_statistics import Z95, Interval, share


class CorrectedShare(NamedTuple):
    """A share as the judge reports it, and corrected, with its 95 % interval."""

    reported: Interval
    corrected: Interval


class Calibration(NamedTuple):
    """What a judge said of labelled rows: of the good ones, and of the bad ones."""

    true_positives: int
    false_negatives: int
    true_negatives: int
    false_positives: int

    @classmethod
    def of(cls, labels: Iterable[bool], said: Iterable[bool]) -> Calibration:
        """Count what the judge `said` of rows with these labels."""
        counts = {(label, one): 0 for label in (True, False) for one in (True, False)}
        for label, one in zip(labels, said, strict=True):
            counts[bool(label), bool(one)] += 1
        return cls(
            counts[True, True], counts[True, False], counts[False, False], counts[False, True]
        )

    @property
    def sensitivity(self) -> Interval | None:
        """The share of good rows that the judge calls good; `None` without good rows."""
        return share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> Interval | None:
        """The share of bad rows that the judge calls bad; `None` without bad rows."""
        return share(self.true_negatives, self.true_negatives + self.false_positives)

    def corrected(self, positives: int, count: int) -> CorrectedShare:
        """Return the share of good rows among `count`, of which the judge calls `positives` good.

        The value is Rogan and Gladen's (1978), (p + specificity - 1) / (sensitivity + specificity -
        1), held to 0 and 1; the interval, which counts in the errors of all three, is that of Lang
        and Reiczigel (2014, Preventive Veterinary Medicine 113).

        Raises:
            ValueError: nothing is given or labelled, or the judge is no better than chance.
        """
        good = self.true_positives + self.false_negatives
        bad = self.true_negatives + self.false_positives
        reported = share(positives, count)
        if reported is None or not good or not bad:
            raise ValueError(
                f"{count} judged rows, {good} good and {bad} bad labelled rows: to correct a share "
                "takes one of each at least"
            )
        sensitivity, specificity = self.true_positives / good, self.true_negatives / bad
        better = sensitivity + specificity - 1
        # Shrunk towards a half, by z^2 and by two observations, as the interval's authors do.
        p = (positives + Z95**2 / 2) / (count + Z95**2)
        q1, q0 = (self.true_positives + 1) / (good + 2), (self.true_negatives + 1) / (bad + 2)
        if better <= 0 or q1 + q0 <= 1:
            raise ValueError(
                f"sensitivity {sensitivity:.3g} and specificity {specificity:.3g}: the judge is no "
                "better than chance on the labelled rows, and no share can be corrected by it"
            )
        value = (reported.value + specificity - 1) / better
        centre = (p + q0 - 1) / (q1 + q0 - 1)
        errors = centre**2 * q1 * (1 - q1) / good, (1 - centre) ** 2 * q0 * (1 - q0) / bad
        shift = 2 * Z95**2 * (centre * q1 * (1 - q1) / good - (1 - centre) * q0 * (1 - q0) / bad)
        spread = math.sqrt(p * (1 - p) / (count + Z95**2) + sum(errors)) / (q1 + q0 - 1)
        low, high = centre + shift - Z95 * spread, centre + shift + Z95 * spread
        return CorrectedShare(reported, Interval(_held(value), _held(low), _held(high)))

    def corrected_difference(self, effect: float, error: float) -> tuple[float, float]:
        """Return a difference of two shares of the same judge and its standard error, corrected.

        Both shares are corrected by the same sensitivity and specificity, so that the difference is
        divided by their sum minus 1; what is not known of that sum widens the error (delta method).
        No difference stays none, so that no test of it changes.

        Raises:
            ValueError: the judge is no better than chance on the labelled rows.
        """
        good = self.true_positives + self.false_negatives
        bad = self.true_negatives + self.false_positives
        # Shrunk as in `corrected`: a judge without a mistake in twenty rows is not without any.
        q1, q0 = (self.true_positives + 1) / (good + 2), (self.true_negatives + 1) / (bad + 2)
        better = q1 + q0 - 1
        if better <= 0:
            raise ValueError(
                f"sensitivity {q1:.3g} and specificity {q0:.3g}: the judge is no better than "
                "chance on the labelled rows, and no difference can be corrected by it"
            )
        unknown = q1 * (1 - q1) / (good + 2) + q0 * (1 - q0) / (bad + 2)
        value = effect / better
        return value, math.sqrt(error**2 + value**2 * unknown) / better


def _held(value: float) -> float:
    return min(1.0, max(0.0, value))
