"""Where replicas go: how many of each model a cluster's nodes can have, and which node is next.

Nothing here knows of Ray. GPUs are counted and CPUs are not: a part of the rows takes a CPU for a
moment, a replica would take it until the run ends. On two nodes of one CPU each, two replicas would
leave none for the parts, whose rows the replicas wait for. So a replica without a GPU shares the
cores of its node with the parts, and the operating system divides them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from curate.errors import UsageError


class Node(NamedTuple):
    """A node that lives: its id and name, and how many CPUs and GPUs it has."""

    id: str
    name: str
    cpus: int
    gpus: int


class Need(NamedTuple):
    """A model, the GPUs of a replica, and the replicas that the recipe names, if it does."""

    model: str
    gpus: int
    replicas: int | None


class Place(NamedTuple):
    """What a replica takes: GPUs of a node, or one of the shares of its cores."""

    node: Node
    gpus: int
    share: int = 0


class Places:
    """The nodes of a cluster, and what the replicas of this run take of them."""

    def __init__(self, nodes: Callable[[], Sequence[Node]]) -> None:
        """Take nothing yet; `nodes` returns those that live now."""
        self._nodes = nodes
        self._taken: list[Place] = []

    def allot(self, wanted: Sequence[Need]) -> dict[str, list[Place]]:
        """Take the places of each model's replicas, and return them.

        Numbers that the recipe names come first, the largest replicas before the others; then each
        model that names none gets one replica in turn, as long as GPUs are left. Without GPUs such
        a model has one replica.

        Raises:
            UsageError: a replica does not fit.
        """
        some = any(node.gpus for node in self._nodes())
        wanted = sorted(wanted, key=lambda one: (one.replicas is None, -one.gpus))
        found: dict[str, list[Place]] = {one.model: [] for one in wanted}
        growing = []
        for model, gpus, replicas in wanted:
            gpus = gpus if some else 0
            for _ in range(replicas or 1):
                if (place := self.take(gpus)) is None:
                    raise UsageError(self._refusal(model, gpus, replicas or 1, len(found[model])))
                found[model].append(place)
            if gpus and replicas is None:
                growing.append((model, gpus))
        while growing:
            placed = [(model, self.take(gpus)) for model, gpus in growing]
            for model, one in placed:
                if one is not None:
                    found[model].append(one)
            growing = [one for one, (_, place) in zip(growing, placed, strict=True) if place]
        return found

    def take(self, gpus: int) -> Place | None:
        """Take the best place for a replica, and return it; `None` if no node has the GPUs.

        With GPUs it is the one with most of them left, else the one with fewest replicas for its
        CPUs.
        """
        nodes = self._nodes()
        if gpus:
            free = {node.id: node.gpus - self._gpus_of(node.id) for node in nodes}
            fit = [node for node in nodes if free[node.id] >= gpus]
            best = max(fit, key=lambda node: free[node.id], default=None)
        else:
            fit = [node for node in nodes if node.cpus]
            best = min(fit, key=lambda node: (self.shares(node) + 1) / node.cpus, default=None)
        if best is None:
            return None
        taken = {one.share for one in self._taken if one.node.id == best.id and not one.gpus}
        share = next(number for number in range(len(taken) + 1) if number not in taken)
        self._taken.append(Place(best, gpus, 0 if gpus else share))
        return self._taken[-1]

    def give(self, place: Place) -> None:
        """Note that a replica has left its place."""
        self._taken.remove(place)

    def shares(self, node: Node) -> int:
        """Return how many replicas without a GPU are on a node."""
        return sum(one.node.id == node.id and not one.gpus for one in self._taken)

    def _gpus_of(self, node: str) -> int:
        return sum(one.gpus for one in self._taken if one.node.id == node)

    def _refusal(self, model: str, gpus: int, replicas: int, placed: int) -> str:
        if not gpus:
            return f"no node of the Ray cluster has a CPU for model '{model}'"
        free = [(one.name, one.gpus - self._gpus_of(one.id)) for one in self._nodes() if one.gpus]
        return (
            f"{replicas} replica{'s' * (replicas > 1)} of model '{model}' with {gpus} "
            f"GPU{'s' * (gpus > 1)} each: {placed} fit on the Ray cluster, whose nodes then have "
            f"{', '.join(f'{left} of {name}' for name, left in free)} left; lower 'replicas' or "
            "'tensor_parallel_size' of the recipe's models, or start more nodes"
        )
