"""Figures of rows are summed exactly, in whatever order and parts they come."""

import math
import pickle
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.engine.ledger import _WAITING, FigureTotals
from curate.errors import StoppedShort
from curate.row import Row
from curate.step import Figures, Gather, Product

NUMBERS = st.floats(-1e300, 1e300, allow_nan=False)


def noted(values: list[float]) -> FigureTotals:
    found = FigureTotals()
    for value in values:
        found.note({"x": value})
    return found


@given(st.lists(NUMBERS, min_size=1, max_size=40), st.data())
def test_a_sum_is_exact_in_every_order_and_part(values: list[float], data: st.DataObject) -> None:
    exact = float(sum(map(Fraction, values))) if abs(math.fsum(values)) < 1e305 else None
    cut = data.draw(st.integers(0, len(values)))
    mixed = data.draw(st.permutations(values))
    parts = noted(mixed[:cut])
    parts.add(noted(mixed[cut:]))
    whole = noted(values)
    assert whole.totals() == parts.totals() == pickle.loads(pickle.dumps(parts)).totals()
    assert exact is None or whole.totals()["x"].sum == exact
    assert whole.totals()["x"].rows == len(values)


def test_memory_does_not_grow_with_the_rows() -> None:
    draw = random.Random(1)
    values = [draw.uniform(-1, 1) * 10.0 ** draw.randint(-200, 200) for _ in range(20 * _WAITING)]
    found = noted(values)
    assert len(found._values["x"]) <= _WAITING
    assert found.totals()["x"].sum == math.fsum(values)
    # All of it in many parts.
    parts = FigureTotals()
    for start in range(0, len(values), 100):
        parts.add(noted(values[start : start + 100]))
    assert len(parts._values["x"]) <= 2 * _WAITING
    assert parts.totals() == found.totals()


def test_figures_that_only_some_have_are_means_over_those() -> None:
    found = FigureTotals()
    for n in range(2_000):
        found.note({"all": n, **({"some": 0.1} if n % 4 == 0 else {})})
    totals = found.totals()
    assert (totals["all"].sum, totals["some"].sum) == (1_999_000, 50.0)
    assert (totals["all"].rows, totals["some"].rows) == (2_000, 500)


class Huge(Gather):
    """Note a number of which two have no sum."""

    def key(self, row: Row) -> str:
        return row.id

    def make(self, rows: list[Row]) -> list[Product]:  # type: ignore[override]
        return [*rows, Figures({"huge": 1.7e308})]


def test_a_sum_beyond_all_floats_stops_the_run(tmp_path) -> None:
    rows = [{"instruction": f"q {n}", "output": "a"} for n in range(3)]
    with pytest.raises(StoppedShort, match=r"could not give its figures.*must be a finite number"):
        Pipeline([Huge()]).run(rows, run=tmp_path / "run", store=tmp_path / "store")
