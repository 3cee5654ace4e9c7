"""How many replicas a cluster can have, and where they go."""

from __future__ import annotations

import pytest

from curate.engine.ray.places import Need, Node, Place, Places
from curate.errors import UsageError


def cluster(*nodes: tuple[int, int]) -> list[Node]:
    """Return nodes with so many CPUs and GPUs."""
    return [Node(f"id{n}", f"node{n}", cpus, gpus) for n, (cpus, gpus) in enumerate(nodes)]


def allotted(nodes: list[Node], *wanted: Need) -> dict[str, list[tuple[str, int]]]:
    found = Places(lambda: nodes).allot(wanted)
    return {name: sorted((p.node.name, p.gpus) for p in places) for name, places in found.items()}


def test_as_many_as_the_gpus_allow() -> None:
    nodes = cluster((8, 4), (8, 4), (8, 1))
    assert len(allotted(nodes, Need("m", 1, None))["m"]) == 9
    # A replica is on one node: of the last one no pair can be had.
    pairs = allotted(nodes, Need("m", 2, None))["m"]
    assert pairs == [("node0", 2), ("node0", 2), ("node1", 2), ("node1", 2)]


def test_without_gpus_there_is_one_unless_more_are_named() -> None:
    nodes = cluster((1, 0), (1, 0))
    assert allotted(nodes, Need("m", 2, None)) == {"m": [("node0", 0)]}
    assert allotted(nodes, Need("m", 1, 3))["m"] == [("node0", 0), ("node0", 0), ("node1", 0)]


def test_models_share_what_there_is() -> None:
    nodes = cluster((8, 4))
    found = allotted(nodes, Need("judge", 1, None), Need("encoder", 1, None))
    assert {name: len(places) for name, places in found.items()} == {"judge": 2, "encoder": 2}
    # What is named comes first, whatever the order in the recipe.
    found = allotted(nodes, Need("judge", 1, None), Need("encoder", 1, 1))
    assert {name: len(places) for name, places in found.items()} == {"judge": 3, "encoder": 1}
    # The large one comes before small ones could take a GPU of each node.
    wanted = [Need("small", 1, 2), Need("large", 2, 1), Need("cpu", 0, None)]
    found = allotted(cluster((8, 2), (8, 2)), *wanted)
    assert found["small"] == [("node1", 1)] * 2
    assert (found["large"], found["cpu"]) == ([("node0", 2)], [("node0", 0)])


def test_a_node_without_a_cpu_has_no_replica() -> None:
    assert allotted(cluster((0, 0), (2, 0)), Need("m", 1, 2))["m"] == [("node1", 0)] * 2
    with pytest.raises(UsageError, match="no node of the Ray cluster has a CPU for model 'm'"):
        allotted(cluster((0, 0)), Need("m", 1, None))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([Need("m", 1, 4)], "4 replicas of model 'm' with 1 GPU each: 3 fit on the Ray cluster"),
        ([Need("m", 4, None)], "1 replica of model 'm' with 4 GPUs each: 0 fit"),
        (
            [Need("a", 1, 3), Need("m", 1, None)],
            "0 of node0, 0 of node1 left; lower",
        ),
    ],
)
def test_what_does_not_fit(wanted: list[Need], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        allotted(cluster((8, 2), (8, 1)), *wanted)


def test_who_comes_back_finds_a_share_of_its_own() -> None:
    (node,) = nodes = cluster((4, 0))
    places = Places(lambda: nodes)
    first, second = (places.take(0), places.take(0))
    assert (first, second) == (Place(node, 0, 0), Place(node, 0, 1))
    assert first is not None
    places.give(first)
    assert places.take(0) == first
    assert places.shares(node) == 2


def test_a_node_that_is_gone_is_not_chosen() -> None:
    nodes = cluster((1, 1), (1, 1))
    places = Places(lambda: nodes)
    taken = places.take(1)
    assert taken is not None
    nodes.remove(taken.node)
    places.give(taken)
    left = places.take(1)
    assert left is not None and left.node.name == "node1"
    assert places.take(1) is None
