"""Run segments on a Ray cluster: a task for each part, and everything else where the run is.

The process that was started reads, numbers rows, asks models, decides what needs all rows, and
writes, as the local engine does; nodes get a part's rows and give back what became of them. So a
node holds nothing that is not on its way: when it dies, with its folder, Ray gives its parts to
other nodes, and the bytes that come back are the same. What waits for a decision lies in the run
folder; replies and the ceiling are where they are without a cluster, and no node can lose them.
Models of this process compute on nodes, too (`replicas`), for the driver that is here.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from pickle import PicklingError
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from curate.engine.local import Local, ordered_map
from curate.engine.ray.backups import Backups
from curate.engine.ray.joining import cpus, join
from curate.engine.ray.task import SegmentTask, carry_out, digests_of, shift, versions
from curate.engine.segment import Segment, asks
from curate.engine.state import (
    Held,
    PartitionState,
    Settings,
    WholeDecision,
    Workspace,
    load,
    release,
    total,
)
from curate.errors import CurateError, StoppedShort, UsageError
from curate.step import Gather, Whole

if TYPE_CHECKING:
    from curate.requests.driver import Driver

# How often a part is begun, where the worker that has it goes.
TRIES = 6
# Parts on their way for each CPU: one at work and one that comes.
AHEAD = 2
# How often it is looked whether there are nodes left, while a part is waited for.
_LOOK_SECONDS = 10.0
# And how often, what is late.
_LATE_SECONDS = 1.0
Work: TypeAlias = Callable[[PartitionState], PartitionState]


class OnRay:
    """Run segments on the cluster at `address`, but for what asks models: that runs here."""

    def __init__(
        self,
        settings: Settings,
        workspace: Workspace,
        driver: Driver | None,
        workers: int | None,
        address: str | None,
    ) -> None:
        """Join the cluster; `close` leaves it."""
        self.settings, self.workspace = settings, workspace
        self._leave = join(address)
        self._here = Local(settings, workspace, driver, workers)
        self.workers = self._here.workers

        import ray

        self._ray = ray

    @property
    def threads(self) -> Executor:
        """The threads of this machine."""
        return self._here.threads

    def close(self) -> None:
        """Stop the threads and leave the cluster; parts under way are given up."""
        try:
            self._here.close()
            # Also after Ctrl-C: files under way are encoded from memory that goes with the cluster.
            self._here.threads.shutdown(wait=True, cancel_futures=True)
        finally:
            self._leave()

    def run(
        self,
        segment: Segment,
        states: Iterable[PartitionState],
        parts: Callable[[], int],
        *,
        spill: bool,
    ) -> Iterator[PartitionState]:
        """Yield each part's state after `segment`, in order.

        What a later segment reads goes to files, however little it is: the tables that come back
        lie in the cluster's object store, which is small.
        """
        stream = iter(states)
        pieces = pieces_of(segment)
        for piece, here in pieces:
            waits = piece is pieces[-1].segment and segment.cut is not None
            if here:
                stream = self._here.run(piece, stream, parts, spill=waits)
                continue
            steps = [*piece.steps, *([] if piece.cut is None else [piece.cut])]
            for step in steps:
                if step.address:
                    # Such a step is in no module that a node could import: its code goes along.
                    module = sys.modules[type(step).__module__]
                    self._ray.cloudpickle.register_pickle_by_value(module)
            digests = digests_of(steps)
            task = SegmentTask(uuid.uuid4().hex, piece, self.settings, versions(), digests)
            nodes = _Nodes(self._ray, task, self.workspace if waits else None)
            work = partial(carry_out, task)
            stream = ordered_map(work, stream, nodes, max(1, cpus()) * AHEAD)
        return stream


class _Nodes:
    """The nodes of a cluster as a pool: each part is a task."""

    def __init__(self, ray: Any, task: SegmentTask, workspace: Workspace | None) -> None:
        self.ray, self.workspace, self._backups = ray, workspace, Backups[_Part]()
        # Spread: by default Ray fills one node half before it uses the next.
        options = {"num_cpus": 1, "max_retries": TRIES - 1, "scheduling_strategy": "SPREAD"}
        self._carry_out = ray.remote(**options)(carry_out)
        try:
            # Once for all parts: a segment may hold large tables.
            self._task = ray.put(task)
        except (TypeError, PicklingError) as error:
            raise UsageError(
                f"a step cannot be sent to nodes ({error.__cause__ or error}); it may hold what "
                "cannot be copied, as an open file, a lock or a connection: open it in the step's "
                "own method"
            ) from error
        self._away: dict[Any, _Part] = {}
        self._looked = time.monotonic()

    def submit(self, work: Work, state: PartitionState, /) -> _Part:
        """Send a part to whichever node has a CPU free; `work` is to carry out the task."""
        part = _Part(self, state)
        self._backups.sent(part, time.monotonic())
        self.send(part)
        return part

    def send(self, part: _Part) -> None:
        """Send a part, once more where it was sent before."""
        before, decision = part.before, part.before.decision
        if isinstance(decision, WholeDecision) and decision.partners is not None:
            # A slice would take all other parts' partners, which lie in the same array, along.
            own = pa.array(np.arange(len(decision.partners)))
            decision = dataclasses.replace(decision, partners=decision.partners.take(own))
        sent = PartitionState(before.number, load(before.rows), decision)
        part.copies.append(self._carry_out.remote(self._task, sent))
        self._away[part.copies[-1]] = part

    def wait_for(self, part: _Part) -> Any:
        """Wait for a copy of a part, as long as there are nodes, and send what is late again."""
        while not (ready := self.ray.wait(part.copies, timeout=_LATE_SECONDS)[0]):
            now, away = time.monotonic(), list(self._away)
            for one in self.ray.wait(away, num_returns=len(away), timeout=0)[0]:
                self._backups.back(self._away.pop(one), now)
            for late in self._backups.late(now):
                self.send(late)
            if now - self._looked > _LOOK_SECONDS:
                self._looked = now
                if not cpus():
                    raise StoppedShort(
                        "no node of the Ray cluster is left; start nodes and run the same command "
                        "again"
                    )
        return ready[0]

    def forget(self, part: _Part) -> None:
        """Wait for no copy of a part any longer.

        A late one runs to its end for nothing: `ray.cancel` on a task that ends at that moment ends
        the whole process (seen with Ray 2.60: "Tried to complete task that was not pending").
        """
        self._backups.back(part, time.monotonic())
        for copy in part.copies:
            self._away.pop(copy, None)
        part.copies.clear()


class _Part:
    """A part that is on a node, or on two of them."""

    def __init__(self, nodes: _Nodes, before: PartitionState) -> None:
        self.nodes, self.before = nodes, before
        self.copies: list[Any] = []

    def cancel(self) -> None:
        """Wait for it no longer; nodes drop what they have when the run leaves the cluster."""
        self.nodes.forget(self)

    def result(self) -> PartitionState:
        """Return the copy that is back first, joined to what stayed here.

        One that is lost matters where there is no other.
        """
        from ray.exceptions import RayError, RaySystemError, RayTaskError

        out: PartitionState | None = None
        while out is None:
            copy = self.nodes.wait_for(self)
            try:
                out = self.nodes.ray.get(copy)
            except RayTaskError as error:
                if isinstance(error.cause, CurateError | OSError):
                    raise error.cause from None
                if isinstance(error.cause, RaySystemError):
                    last = str(error.cause).strip().splitlines()[-1]
                    raise StoppedShort(
                        f"a node cannot load the steps that it is sent ({last}); install what they "
                        "import on every node, then run the same command again"
                    ) from error
                raise
            except RayError as error:
                self.copies.remove(copy)
                if not self.copies:
                    raise StoppedShort(
                        f"a part was lost {TRIES} times with the worker that had it "
                        f"({type(error).__name__}), which happens when the memory of nodes runs "
                        "out; start larger nodes, or fewer tasks on each (ray start --num-cpus), "
                        "and run the same command again"
                    ) from error
        before, workspace = self.before, self.nodes.workspace
        self.nodes.forget(self)
        release(before.rows)

        def kept(held: Held) -> Held:
            return held if workspace is None else workspace.spill(load(held))

        shift(out.tallies, time.perf_counter() - time.time())
        return PartitionState(
            number=before.number,
            rows=kept(out.rows),
            sketches=None if out.sketches is None else kept(out.sketches),
            gone=[*before.gone, *(kept(held) for held in out.gone)],
            ledger=[*before.ledger, *out.ledger],
            tallies=total([before.tallies, out.tallies]),
        )


class SegmentPiece(NamedTuple):
    """Steps of a segment that run in one place: `here`, or on nodes."""

    segment: Segment
    here: bool


def pieces_of(segment: Segment) -> list[SegmentPiece]:
    """Return a segment in pieces: what asks models is apart from what does not.

    A piece that only carries out what was decided before is not worth the way to a node.
    """
    pieces = [
        SegmentPiece(Segment(tuple(steps), None), here)
        for here, steps in itertools.groupby(segment.steps, asks)
    ]
    sketched = isinstance(segment.cut, Whole | Gather)
    here = not sketched or (isinstance(segment.cut, Whole) and asks(segment.cut))
    if not pieces or (sketched and pieces[-1].here != here):
        return [*pieces, SegmentPiece(Segment((), segment.cut), here)]
    last = pieces[-1]
    return [*pieces[:-1], SegmentPiece(Segment(last.segment.steps, segment.cut), last.here)]
