"""A thousand nodes in discrete events: `python -m tests.engine.ray.simulated_nodes`.

Nothing sleeps and nothing runs: a clock jumps from event to event. What is simulated is Ray and its
nodes (first come first served; a node that fails drops its task, which another begins anew, as
often as the engine allows). What gives parts to them, and takes them back in order, is the engine's
own `ordered_map` with the engine's own window, so that its throughput is measured, and not that of
a model of it.
"""

from __future__ import annotations

import argparse
import functools
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from curate.engine.local import ordered_map
from curate.engine.ray.backups import Backups
from curate.engine.ray.on_ray import AHEAD, TRIES


@dataclass(frozen=True)
class World:
    """What nodes and parts are like; times in seconds.

    A part takes about `work`, on a straggler `slow` times as long. A node works for `mean_life`
    on average, and is away for `repair`. The run itself takes `own` for each part.
    """

    nodes: int = 1000
    parts: int = 20_000
    work: float = 60.0
    stragglers: float = 0.02
    slow: float = 8.0
    mean_life: float = 20_000.0
    repair: float = 300.0
    own: float = 0.005
    ahead: int = AHEAD
    backups: bool = True
    # How often the run looks for what is late; the engine does so every second.
    look: float = 5.0
    seed: int = 0


@dataclass(eq=False)
class Task:
    """One part on its way."""

    nodes: Nodes
    part: int
    tries: int = 0
    done: bool = False
    # Of a backup the part that it is a copy of; of a part its backups.
    of: Task | None = None
    copies: list[Task] = field(default_factory=list)

    def result(self) -> int:
        nodes = self.nodes

        def known() -> bool:
            return self.done or all(one.tries == TRIES for one in (self, *self.copies))

        while not known():
            nodes.until(known, nodes.now + nodes.world.look)
            for late in nodes.backups.late(nodes.now) if nodes.world.backups else ():
                late.copies.append(Task(nodes, late.part, of=late))
                nodes.waiting.append(late.copies[-1])
                nodes.assign()
        if not self.done:
            raise RuntimeError(f"part {self.part} was lost {TRIES} times")
        return self.part

    def cancel(self) -> None:
        self.nodes.given_up += 1


class Turn(NamedTuple):
    """A task on a node, and since when."""

    task: Task
    began: float


@dataclass(eq=False)
class Nodes:
    """The nodes as a pool, with a clock of their own."""

    world: World
    now: float = 0.0
    useful: float = 0.0
    lost: float = 0.0
    # Of node-seconds, those in which nodes were there.
    there: float = 0.0
    given_up: int = 0
    waiting: deque[Task] = field(default_factory=deque)
    begun: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.backups = Backups[Task]()
        self.dice, self.order = random.Random(self.world.seed), itertools.count()
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        slow = int(self.world.nodes * self.world.stragglers)
        self.speed = [self.world.slow if n < slow else 1.0 for n in range(self.world.nodes)]
        self.free = deque(self.dice.sample(range(self.world.nodes), self.world.nodes))
        self.task: dict[int, Turn] = {}
        self.life = [0] * self.world.nodes
        self.since = [0.0] * self.world.nodes
        for node in range(self.world.nodes):
            self._live(node)

    def submit(self, work: Callable[[int], int], part: int, /) -> Task:
        """Send a part; the run was busy with it for a moment."""
        task = Task(self, work(part))
        self.waiting.append(task)
        self.backups.sent(task, self.now)
        self.assign()
        self.until(lambda: False, self.now + self.world.own)
        return task

    def until(self, happened: Callable[[], bool], end: float = float("inf")) -> None:
        """Let time pass, from event to event."""
        while not happened():
            if not self.events or self.events[0][0] > end:
                assert end < float("inf"), "nothing can happen any more"
                self.now = end
                return
            self.now, _, act = heapq.heappop(self.events)
            act()

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (when, next(self.order), act))

    def _live(self, node: int) -> None:
        """Let a node work, for as long as it lives."""
        life, self.since[node] = self.life[node], self.now

        def die() -> None:
            assert self.life[node] == life
            self.life[node] += 1
            self.there += self.now - self.since[node]
            if node in self.task:
                task, began = self.task.pop(node)
                self.lost += self.now - began
                task.tries += 1
                if task.tries < TRIES:
                    # Before all others: someone waits for it first.
                    self.waiting.appendleft(task)
            else:
                self.free.remove(node)
            self.assign()
            self._at(self.now + self.world.repair, back)

        def back() -> None:
            self.free.append(node)
            self._live(node)
            self.assign()

        self._at(self.now + self.dice.expovariate(1 / self.world.mean_life), die)

    def assign(self) -> None:
        """Give parts that wait to nodes that are free, first come first served."""
        while self.waiting and self.free:
            node, task = self.free.popleft(), self.waiting.popleft()
            self.task[node] = turn = Turn(task, self.now)
            self.begun[task.part] = self.begun.get(task.part, 0) + 1
            took = self.world.work * self.dice.lognormvariate(0, 0.3) * self.speed[node]
            self._at(self.now + took, functools.partial(self._end, node, turn))

    def _end(self, node: int, turn: Turn) -> None:
        """Let a node end its turn, unless it failed meanwhile or the part was done elsewhere."""
        if self.task.get(node) is not turn:
            return
        del self.task[node]
        self.useful += self.now - turn.began
        self.free.append(node)
        part = turn.task.of or turn.task
        if part.done:
            # The other copy was first; nobody could stop this one.
            self.useful -= self.now - turn.began
            self.lost += self.now - turn.began
        part.done = True
        self.backups.back(part, self.now)
        self.assign()

    def busy_share(self) -> float:
        """Return which part of the time of nodes that were there went into work that counted."""
        there = self.there + sum(
            self.now - self.since[n]
            for n in range(self.world.nodes)
            if n in self.task or n in self.free
        )
        return self.useful / there


def simulate(world: World) -> tuple[list[int], Nodes]:
    """Take all parts through the nodes, and return them as they came back."""
    nodes = Nodes(world)

    def source() -> Iterator[int]:
        yield from range(world.parts)

    window = world.nodes * world.ahead
    return list(ordered_map(lambda part: part, source(), nodes, window)), nodes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--parts", type=int, default=20_000)
    given = parser.parse_args()
    print("backups  ahead  stragglers  mean life  busy   lost   hours")
    ways = itertools.product((False, True), (2, 3, 4), (0.0, 0.02), (1e9, 2e3))
    for backups, ahead, stragglers, life in ways:
        world = World(
            nodes=given.nodes,
            parts=given.parts,
            ahead=ahead,
            stragglers=stragglers,
            mean_life=life,
            backups=backups,
        )
        _, nodes = simulate(world)
        lost = nodes.lost / (nodes.lost + nodes.useful)
        print(
            f"{backups!s:7}  {ahead:5} {stragglers:11.0%} {life:10.0f} {nodes.busy_share():6.1%} "
            f"{lost:6.1%} {nodes.now / 3600:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
