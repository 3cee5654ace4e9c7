"""The scheduler and the budget before a thousand servers that fail, dawdle and refuse."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CeilingReached

from .simulated_servers import Farm, simulate

pytestmark = pytest.mark.slow

FEW = Farm(servers=100, concurrency=250)
# A dollar a million tokens; each reply has 20 and 10 of them.
BILL = 30e-6


def test_a_thousand_servers_answer_everything_once(tmp_path: Path) -> None:
    farm = Farm(concurrency=1500, mean_life=1000.0)
    found = simulate(farm, 2000, tmp_path)
    assert found.stopped is None
    assert [one.value for one in found.outcomes] == ["yes"] * 2000
    assert set(found.servers.answered.values()) == {1}
    assert found.servers.faults["rate_limit"] > 0
    assert found.servers.faults["connection"] > 0
    # Every attempt is in the tally; of those that brought nothing, the lost ones are paid for.
    assert found.spent.sent == found.servers.sent
    lost = found.servers.faults["connection"]
    assert found.spent.cost_usd >= 2000 * BILL
    assert found.spent.cost_usd < 2000 * BILL + lost * 200e-6
    assert found.spent.reserved_usd == 0


@settings(max_examples=6, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from([1e9, 500.0, 60.0]), st.sampled_from([0.0, 0.2]),
    st.integers(0, 400),
)  # fmt: skip
def test_no_schedule_passes_the_ceiling_on_requests(
    seed: int, life: float, stragglers: float, most: int
) -> None:
    farm = dataclasses.replace(FEW, seed=seed, mean_life=life, stragglers=stragglers)
    with tempfile.TemporaryDirectory() as folder:
        first = simulate(farm, 300, Path(folder), max_requests=most)
        assert first.servers.sent == first.spent.sent <= most
        if first.stopped is not None:
            assert isinstance(first.stopped, CeilingReached)
            assert first.servers.sent == most
        # Raised: only what was not answered is sent, and every reply has been paid for once.
        again = simulate(farm, 300, Path(folder), max_requests=most + 5000)
        assert again.stopped is None
        both = [*first.servers.answered, *again.servers.answered]
        assert len(both) == len(set(both))
        assert again.spent.sent == first.servers.sent + again.servers.sent


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e9, 300.0]), st.integers(1, 300))
def test_no_schedule_passes_the_ceiling_on_cost(seed: int, life: float, replies: int) -> None:
    farm = dataclasses.replace(FEW, seed=seed, mean_life=life)
    ceiling = replies * BILL
    with tempfile.TemporaryDirectory() as folder:
        found = simulate(farm, 300, Path(folder), max_cost=ceiling)
    paid = len(found.servers.answered) * BILL
    assert paid <= found.spent.cost_usd + 1e-12
    assert found.spent.cost_usd + found.spent.reserved_usd <= ceiling + 1e-12
    if found.stopped is not None:
        assert isinstance(found.stopped, CeilingReached)


def test_failures_cost_little_of_the_throughput(tmp_path: Path) -> None:
    quiet = simulate(dataclasses.replace(FEW, stragglers=0.0, mean_life=1e9), 1200, tmp_path / "a")
    failing = simulate(
        dataclasses.replace(FEW, stragglers=0.0, mean_life=400.0), 1200, tmp_path / "b"
    )
    assert quiet.throughput() > 0.5
    assert failing.seconds < 2.5 * quiet.seconds
    assert failing.servers.sent < 1.3 * 1200


def test_the_clock_jumps(tmp_path: Path) -> None:
    """Nobody sleeps: hours pass in a moment."""
    found = simulate(Farm(servers=2, places=1, concurrency=1, answer=3600.0), 3, tmp_path)
    assert found.seconds == pytest.approx(3 * 3600, rel=0.9)
