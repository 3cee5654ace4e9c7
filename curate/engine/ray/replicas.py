"""Models on the nodes of a Ray cluster: requests go to the replica that has least to do.

The command keeps what a reply depends on and what it costs: keys, store, limits and retries are
where they are without a cluster; only the computation is on nodes. So a replica holds nothing that
is not on its way. When it dies another one is started, and what it had not answered is asked again:
the scheduler sees neither, and a row is not charged with an attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import random
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from curate.ask import Reply, Request
from curate.engine.ray.joining import join
from curate.engine.ray.places import Need, Node, Place, Places
from curate.engine.ray.replica import ModelTask, Replica, Share
from curate.engine.ray.task import versions
from curate.errors import MissingExtra, PermanentFault, StoppedShort
from curate.models.model import Model, ModelInfo, open_model, parse_spec, provider_of
from curate.requests.rate_limit import expected_tokens

# How long a node may take to start a replica's process, before any weights are read.
PLACED_SECONDS = 180.0
# Deaths of a replica in a row, without a reply between them, that end the run.
DEATHS = 4
# How often a request may be lost while others are answered: then it may be what kills replicas.
LOSSES = 4
# What was lost is asked again about this much later, times its losses, and not all at one moment:
# others go first, and are answered before what kills replicas comes again.
LOST_SECONDS = 0.5
# What a request costs a replica besides its tokens, in tokens.
CALL_TOKENS = 32
# How long replicas may take to end in their own way.
CLOSE_SECONDS = 2.0

_log = logging.getLogger(__name__)


class _Seat:
    """The place of one replica: who has it now, and what that one has to do."""

    def __init__(self, place: Place | None) -> None:
        self.place = place
        # Started, where it is, and ready for requests.
        self.actor: Any = None
        self.where: str | None = None
        self.ready = False
        self.tokens = self.deaths = 0
        # How many requests had been answered, by whichever replica, when this one died.
        self.heard = 0


class Replicas:
    """A model that computes on nodes of the cluster that this process has joined."""

    def __init__(
        self,
        name: str,
        task: ModelTask,
        seats: Sequence[Place],
        places: Places,
        patience: float = PLACED_SECONDS,
    ) -> None:
        """Start nothing yet: replicas are started with the first request.

        Args:
            name: what the recipe calls the model.
            task: the model.
            seats: the place of each replica, taken from `places`.
            places: the nodes of the cluster.
            patience: how many seconds a node may take to start a replica's process.
        """
        import ray

        self._ray, self._name, self._task, self._places = ray, name, task, places
        self._patience = patience
        self._gpus = seats[0].gpus
        self._seats = [_Seat(place) for place in seats]
        most = task.info.max_concurrency * len(seats)
        self.info = dataclasses.replace(task.info, max_concurrency=most)
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._opened, self._answers = False, 0
        self._starting = set[asyncio.Task[None]]()

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return a replica's reply; one that was lost with its replica is asked for again."""
        from ray.exceptions import RayError

        tokens = expected_tokens(request) + CALL_TOKENS
        losses = heard = 0
        while losses < LOSSES:
            seat = await self._least_busy()
            if losses:
                await asyncio.sleep(LOST_SECONDS * losses * random.uniform(0, 2))
                seat = await self._least_busy()
            actor = seat.actor
            seat.tokens += tokens
            try:
                answer = await actor.answer.remote(request, key, attempt)
            except RayError as error:
                if seat.actor is actor:
                    self._died(seat, error)
                # Where nobody is answered it is the replicas that are wrong.
                losses += not losses or self._answers > heard
                heard = self._answers
                continue
            finally:
                seat.tokens -= tokens
            self._answers += 1
            if isinstance(answer, Exception):
                raise answer
            reply: Reply = answer
            return reply
        raise PermanentFault(
            f"{LOSSES} times a replica died that had this request, which may be what kills it: "
            "filter long rows (length)"
        )

    async def close(self) -> None:
        """End the replicas, and with them what they compute."""
        for task in self._starting:
            task.cancel()
        if not self._ray.is_initialized():
            return  # The cluster was left, and ended them.
        actors = [seat.actor for seat in self._seats if seat.actor is not None]
        closing = [_future(s.actor.close.remote()) for s in self._seats if s.actor and s.where]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        for actor in actors:
            self._ray.kill(actor)
        for one in closing:
            one.cancel()

    async def _least_busy(self) -> _Seat:
        """Return the replica with least to do, once there is one.

        The first request waits for all of them, or they would find the others' requests gone.
        """
        if not self._opened:
            self._opened = True
            for seat in self._seats:
                self._begin(self._start(seat))
        while self._failure is None and not self._changed.is_set():
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        return min((one for one in self._seats if one.ready), key=lambda one: one.tokens)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, seat: _Seat) -> None:
        """Start a replica and let it open the model."""
        from ray.exceptions import RayError

        try:
            seat.actor = self._actor(seat)
            seat.where = await self._placed(_future(seat.actor.node.remote()))
            if all(one.where for one in self._seats):
                count = Counter(str(one.where) for one in self._seats)
                told = ", ".join(f"{number} on {where}" for where, number in sorted(count.items()))
                each = f", of {self._gpus} GPU{'s' * (self._gpus > 1)} each" if self._gpus else ""
                _log.warning(
                    "%s: loading %d replica%s (%s)%s",
                    self._name, len(self._seats), "s" * (len(self._seats) > 1), told, each,
                )  # fmt: skip
            if refusal := await seat.actor.open.remote():
                raise refusal
        except RayError as error:
            self._died(seat, error)
        except Exception as error:
            self._failure = error
            self._changed.set()
        else:
            seat.ready = True
            if self._changed.is_set() or all(one.ready or one.deaths for one in self._seats):
                self._changed.set()

    async def _placed(self, where: asyncio.Future[str]) -> str:
        """Wait until a replica has its place; once others answer, as long as it takes."""
        while True:
            await asyncio.wait([where], timeout=self._patience)
            if where.done():
                return where.result()
            if not self._changed.is_set():
                placed = sum(one.where is not None for one in self._seats)
                raise StoppedShort(
                    f"{placed} of {len(self._seats)} replicas of model '{self._name}' were placed "
                    f"within {self._patience:.0f} s; other work may have the GPUs of the Ray "
                    "cluster (ray status): wait for it, or name fewer 'replicas' in the model's "
                    "mapping, and run the same command again"
                )

    def _actor(self, seat: _Seat) -> Any:
        """Return a new replica on the seat's node, or wherever there is room if that is gone."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place, share = seat.place, None
        if place is not None and not self._gpus:
            share = Share(place.share, self._places.shares(place.node), place.node.cpus)
        options: dict[str, Any] = {
            "num_cpus": 0,
            "num_gpus": self._gpus,
            "max_restarts": 0,
            # A single one may be left.
            "max_concurrency": self.info.max_concurrency + len(self._seats),
        }
        if place is not None:
            # Soft: it may be gone by now.
            chosen = NodeAffinitySchedulingStrategy(place.node.id, soft=True)
            options["scheduling_strategy"] = chosen
        return self._ray.remote(**options)(Replica).remote(self._task, share)

    def _died(self, seat: _Seat, error: Exception) -> None:
        """Start another replica in the place of one that died, unless that is of no use."""
        where, seat.where, seat.ready = seat.where, None, False
        self._ray.kill(seat.actor)
        seat.actor = None
        seat.deaths = seat.deaths + 1 if self._answers == seat.heard else 1
        seat.heard = self._answers
        said = " ".join(str(error).split())[:300]
        if seat.deaths >= DEATHS:
            self._failure = StoppedShort(
                f"a replica of model '{self._name}' died {DEATHS} times without a reply between "
                f"them, the last time on {where or 'no node'} ({type(error).__name__}: {said}); "
                "memory may have run out, or a node lacks what the model needs. Nothing that was "
                "answered is lost: run the same command again when that is fixed"
            )
            self._changed.set()
            return
        if not any(one.ready for one in self._seats):
            self._changed.clear()
        _log.warning(
            "%s: a replica on %s died (%s); another one takes its place, and is asked what it had "
            "not answered", self._name, where or "no node", type(error).__name__,
        )  # fmt: skip
        if seat.place is not None:
            self._places.give(seat.place)
        seat.place = self._places.take(self._gpus)
        self._begin(self._start(seat))


class ModelsOnNodes:
    """Open the models of a recipe: those of this process on nodes, all others here."""

    def __init__(self, specs: Mapping[str, Any], address: str | None, stack: ExitStack) -> None:
        """Join the cluster if a model computes in this process; `stack` leaves it.

        Raises:
            UsageError: there is no cluster, or the replicas do not fit on it.
            StoppedShort: the cluster cannot be joined.
        """
        self._specs, self._here = specs, Path.cwd()
        parsed = {name: parse_spec(spec, name=name) for name, spec in specs.items()}
        self._parsed = {n: s for n, s in parsed.items() if provider_of(s.prefix).IN_PROCESS}
        self._infos: dict[str, ModelInfo] = {
            name: provider_of(spec.prefix).describe(spec, self._here)
            for name, spec in self._parsed.items()
        }
        if not self._parsed:
            return
        stack.callback(join(address))
        self._places = Places(living_nodes)
        self._nodes = self._places.allot(
            [
                Need(name, self._infos[name].gpus, spec.replicas)
                for name, spec in self._parsed.items()
            ]
        )

    def open(self, name: str) -> Model:
        """Return the model called `name`."""
        if name not in self._parsed:
            return open_model(self._specs[name], name=name)
        spec = self._parsed[name]
        # Options are checked here, with the recipe's line; what it runs on only nodes need.
        with contextlib.suppress(MissingExtra):
            provider_of(spec.prefix).open_spec(spec, self._here)
        task = ModelTask(spec, self._here, self._infos[name], versions())
        return Replicas(name, task, self._nodes[name], self._places)


def living_nodes() -> list[Node]:
    """Return the nodes that live, in the order of their ids."""
    import ray

    found = [
        Node(
            one["NodeID"],
            one["NodeManagerHostname"],
            int(one["Resources"].get("CPU", 0)),
            int(one["Resources"].get("GPU", 0)),
        )
        for one in ray.nodes()
        if one["Alive"]
    ]
    return sorted(found)


def _future(reference: Any) -> asyncio.Future[Any]:
    return asyncio.wrap_future(reference.future())
