"""Agreement beyond chance equals what textbooks print."""

import math

import numpy as np
import pytest

from curate.kernels.votes.raters import cohen_kappa, fleiss_kappa, krippendorff_alpha

# Fleiss 1971's layout as in Wikipedia's example: 10 items, 14 raters, 5 categories.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
# Krippendorff 2011, section C: four observers, twelve units, values 1 to 5, some missing.
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
    [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
]


def counted(table):
    """Return how often each value from 1 to 5 stands in each column; 0 is none."""
    columns = np.array(table).T
    return [[int((column == value).sum()) for value in range(1, 6)] for column in columns]


def test_fleiss_kappa_is_the_printed_one():
    assert round(fleiss_kappa(FLEISS), 3) == 0.210


@pytest.mark.parametrize(
    ("level", "printed"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorff_alpha_is_the_printed_one(level, printed):
    assert round(krippendorff_alpha(counted(KRIPPENDORFF), level), 3) == printed


@pytest.mark.parametrize(
    ("table", "printed"),
    [
        ([[20, 5], [10, 15]], 0.4),
        # Same observed agreement, other marginals.
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
    ],
)
def test_cohen_kappa_is_the_printed_one(table, printed):
    assert round(cohen_kappa(table), 4) == printed


def test_one_category_alone_says_nothing():
    assert math.isnan(cohen_kappa([[5, 0], [0, 0]]))
    assert math.isnan(cohen_kappa([[0, 0], [0, 0]]))
    for measure in (fleiss_kappa, krippendorff_alpha):
        assert math.isnan(measure([[3, 0], [2, 0]]))
        assert math.isnan(measure([]))
        assert math.isnan(measure([[1, 0], [0, 1]]))  # one rater each


def test_full_agreement_is_one():
    assert fleiss_kappa([[3, 0], [0, 3]]) == krippendorff_alpha([[3, 0], [0, 2]]) == 1


@pytest.mark.parametrize("measure", [fleiss_kappa, krippendorff_alpha])
def test_an_item_may_count_several_times(measure):
    ways, times = [[3, 0], [1, 2], [0, 1], [1, 1]], [4, 2, 5, 3]
    items = [own for own, count in zip(ways, times, strict=True) for _ in range(count)]
    assert measure(ways, times=times) == pytest.approx(measure(items), abs=1e-12)
