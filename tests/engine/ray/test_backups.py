"""Parts that are late are begun once more; simulated nodes show what that is worth."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.engine.ray.backups import LATE, LEAST_SECONDS, Backups
from curate.engine.ray.on_ray import TRIES

from .simulated_nodes import World, simulate


def test_nothing_is_late_before_it_is_known_how_long_parts_take() -> None:
    backups = Backups[int]()
    for part in range(20):
        backups.sent(part, 0.0)
    for part in range(7):
        backups.back(part, 10.0)
    assert backups.usual() is None
    assert backups.late(1e6) == []
    backups.back(7, 10.0)
    assert backups.usual() == 10.0
    assert backups.late(20.0) == []
    assert backups.late(20.1) == list(range(8, 20))
    assert backups.late(1e6) == []


@given(st.lists(st.tuples(st.sampled_from("sbl"), st.integers(0, 12), st.floats(0, 50))))
def test_a_part_is_begun_again_once_and_only_when_it_is_late(acts: list) -> None:
    """Whatever comes in whatever order."""
    backups, now = Backups[int](), 0.0
    sent: dict[int, float] = {}
    again: list[int] = []
    for part in range(100, 108):
        backups.sent(part, 0.0)
        backups.back(part, 1.0)
    for act, part, passed in acts:
        now += passed
        if act == "s" and part not in sent:
            sent[part] = now
            backups.sent(part, now)
        elif act == "b":
            backups.back(part, now)
            sent[part] = float("inf")
        else:
            usual = backups.usual()
            found = backups.late(now)
            assert all(now - sent[one] > max(LATE * usual, LEAST_SECONDS) for one in found)
            again += found
    assert len(again) == len(set(again)) == backups.begun


SMALL = World(nodes=60, parts=1200)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from([1e9, 2e4, 3e3]), st.sampled_from([0.0, 0.05, 0.3]),
    st.booleans(), st.integers(1, 4),
)  # fmt: skip
def test_every_part_comes_back_once_and_in_order(
    seed: int, life: float, stragglers: float, backups: bool, ahead: int
) -> None:
    world = dataclasses.replace(
        SMALL, seed=seed, mean_life=life, stragglers=stragglers, backups=backups, ahead=ahead,
        parts=300,
    )  # fmt: skip
    found, nodes = simulate(world)
    assert found == list(range(world.parts))
    # A part and its backup, each as often as its nodes fail.
    assert max(nodes.begun.values()) <= 2 * TRIES
    assert nodes.useful > 0 and nodes.busy_share() <= 1
    if life == 1e9 and not backups:
        assert nodes.lost == 0


def test_a_part_that_takes_every_node_down_ends_the_run() -> None:
    with pytest.raises(RuntimeError, match=f"was lost {TRIES} times"):
        simulate(dataclasses.replace(SMALL, mean_life=1.0, repair=1.0))


def test_backups_halve_what_stragglers_cost() -> None:
    slow = dataclasses.replace(SMALL, stragglers=0.05)
    hours = {b: simulate(dataclasses.replace(slow, backups=b))[1].now for b in (False, True)}
    without = simulate(dataclasses.replace(slow, stragglers=0.0))[1].now
    assert hours[True] - without < 0.5 * (hours[False] - without)


def test_work_is_lost_only_with_nodes_and_backups() -> None:
    quiet = simulate(dataclasses.replace(SMALL, stragglers=0.0, mean_life=1e9))[1]
    assert quiet.lost < 0.01 * quiet.useful
    failing = simulate(dataclasses.replace(SMALL, stragglers=0.0, mean_life=2e3))[1]
    # A node that dies loses half of what it had begun, about: 60 of 2,000 s.
    assert 0.005 < failing.lost / failing.useful < 0.06
    assert failing.busy_share() > 0.5
