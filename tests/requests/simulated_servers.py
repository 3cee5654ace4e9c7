"""A thousand servers in virtual time: `python -m tests.requests.simulated_servers`.

The scheduler, the sender, the limiter, the budget and the store are those of a run. What is not
real is time, which jumps to the next event as soon as nothing is left to do now, and the servers:
each has a few places, refuses what is beyond them (429), answers in its own time, some of them
slowly, and dies with all that it is doing. Only what the store does takes real time.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import selectors
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.ask import Ask, Reply, Request
from curate.errors import TemporaryFault
from curate.models.model import ModelInfo, Price
from curate.requests.resolve import Resolver
from curate.requests.scheduler import Limits, RetryFailed, Scheduler
from curate.requests.session import Outcome, RequestCounts, RowTask
from curate.store.budget import Budget
from curate.store.store import Store


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to its next timer; `busy` says what real time is for."""

    def __init__(self) -> None:
        self.now, self.busy = 0.0, 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if self._loop.busy or timeout is None:
            return super().select(5.0)
        self._loop.now += timeout
        return found


class _Store(Store):
    """A store whose commits hold the clock."""

    loop: VirtualLoop

    async def commit(self, operation: Any) -> Any:
        self.loop.busy += 1
        try:
            return await super().commit(operation)
        finally:
            self.loop.busy -= 1


@dataclass(frozen=True)
class Farm:
    """What the servers are like; times in seconds.

    A reply takes about `answer`, at a straggler `slow` times as long; a server works for
    `mean_life` on average and is away for `repair`.
    """

    servers: int = 1000
    places: int = 4
    answer: float = 8.0
    stragglers: float = 0.02
    slow: float = 8.0
    mean_life: float = 5000.0
    repair: float = 60.0
    concurrency: int = 3000
    seed: int = 0


@dataclass
class Servers:
    """All servers behind one address, as a model. A request goes to any of them."""

    farm: Farm
    loop: VirtualLoop
    budget: Budget | None = None
    max_requests: int | None = None
    info: ModelInfo = field(init=False)
    faults: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    worked: float = 0.0
    sent: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.farm.seed)
        self.busy = [0] * self.farm.servers
        slow = int(self.farm.servers * self.farm.stragglers)
        self.speed = [self.farm.slow if n < slow else 1.0 for n in range(self.farm.servers)]
        draw = self.dice.expovariate
        self.dies = [draw(1 / self.farm.mean_life) for _ in range(self.farm.servers)]
        self.info = ModelInfo(
            identity="farm",
            forms=("ask",),
            price=Price(1.0, 1.0),
            max_concurrency=self.farm.concurrency,
        )

    def _fault(self, cause: str) -> TemporaryFault:
        self.faults[cause] = self.faults.get(cause, 0) + 1
        return TemporaryFault(f"simulated: {cause}", cause=cause)

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        self.sent += 1
        node, farm, now = self.dice.randrange(self.farm.servers), self.farm, self.loop.now
        while self.dies[node] + farm.repair < now:
            self.dies[node] += farm.repair + self.dice.expovariate(1 / farm.mean_life)
        if self.dies[node] <= now:
            raise self._fault("connect")
        if self.busy[node] == farm.places:
            raise self._fault("rate_limit")
        took = farm.answer * self.dice.lognormvariate(0, 0.3) * self.speed[node]
        self.busy[node] += 1
        try:
            await asyncio.sleep(min(took, self.dies[node] - now))
        finally:
            self.busy[node] -= 1
        if self.dies[node] <= self.loop.now and took > self.dies[node] - now:
            raise self._fault("connection")
        self.worked += took
        self.answered[key] = self.answered.get(key, 0) + 1
        return Reply(text="yes", input_tokens=20, output_tokens=10)

    async def close(self) -> None:
        pass


@dataclass
class Simulated:
    """What came of the jobs, what the servers saw, and how long it took, in virtual seconds."""

    outcomes: list[Outcome]
    stopped: Exception | None
    servers: Servers
    spent: Any
    seconds: float

    def throughput(self) -> float:
        """Return replies a second, as a part of what servers that never fail would give."""
        farm = self.servers.farm
        places = min(farm.concurrency, farm.servers * farm.places)
        return self.servers.worked / (self.seconds * places)


@contextmanager
def virtual_loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    try:
        yield loop
    finally:
        loop.close()


def simulate(
    farm: Farm, jobs: int, folder: Path, *, max_cost: float | None = None,
    max_requests: int | None = None,
) -> Simulated:  # fmt: skip
    """Ask once for each of `jobs` rows."""

    def job(number: int) -> RowTask:
        def ask() -> Any:
            reply = yield Ask.text(f"Is {number} a number?", max_tokens=50)
            return reply.text

        return RowTask(ask, salt=str(number))

    with virtual_loop() as loop, _Store.open(folder) as store:
        store.loop = loop  # type: ignore[attr-defined]
        budget = Budget(store, "run", max_cost=max_cost, max_requests=max_requests)
        servers, counts = Servers(farm, loop), RequestCounts()

        async def all_jobs() -> tuple[list[Outcome], Exception | None]:
            models, limits = {"farm": servers}, Limits(4 * farm.concurrency, farm.concurrency)
            resolver = Resolver({"farm": servers.info})
            schedule = Scheduler(
                store, models, resolver, budget, counts, RetryFailed(False), limits
            )
            running = asyncio.ensure_future(schedule.run())
            try:
                outcomes, stopped = await schedule.carry_out([job(n) for n in range(jobs)]), None
            except Exception as error:
                outcomes, stopped = [], error
            schedule.close()
            await running
            return outcomes, stopped

        outcomes, stopped = loop.run_until_complete(all_jobs())
        return Simulated(outcomes, stopped, servers, budget.tally(), loop.now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=12_000)
    given = parser.parse_args()
    print("in flight  stragglers  mean life  throughput  rows failed  sent  429  lost")
    for concurrency in (1000, 2000, 3000):
        for stragglers, life in ((0.0, 1e9), (0.02, 1e9), (0.02, 2000.0)):
            farm = Farm(concurrency=concurrency, stragglers=stragglers, mean_life=life)
            with tempfile.TemporaryDirectory() as folder:
                found = simulate(farm, given.jobs, Path(folder))
            failed = sum(one.error is not None for one in found.outcomes)
            faults = found.servers.faults
            print(
                f"{concurrency:9} {stragglers:11.0%} {life:10.0f} {found.throughput():11.1%} "
                f"{failed:12} {found.servers.sent:5} {faults.get('rate_limit', 0):4} "
                f"{faults.get('connection', 0):5}",
                flush=True,
            )


if __name__ == "__main__":
    main()
