"""Collect a batch job: each of its lines gets its reply or its fault, and its bill, exactly once.

Answers come in any order, some twice and some never, and the process may end in between. So a line
is settled in the transaction that removes it: what is removed already belongs to whoever was first.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from curate.ask import Reply
from curate.errors import CeilingReached, ModelError, PermanentFault, TemporaryFault
from curate.requests.batch import jobs
from curate.requests.batch.jobs import BatchJob, BatchJobs, BatchLine
from curate.store import replies as keep
from curate.store.budget import NO_STEP, PICO, Budget
from curate.store.store import Paid, Store, StoredReply

if TYPE_CHECKING:
    from curate.models.model import Model
    from curate.models.providers.openai_batch import Answer, OpenAIBatch, Remote
    from curate.requests.session import InFlight, RequestCounts

# How many answers are committed together.
TOGETHER = 500
MOST_TRIES = 5
# A job may have to be halved sixteen times before it is within an account's allowance.
LIMITED_TRIES = 24
# The status of a job that is given up; no provider says it.
LOST = "lost"
# What the provider says of a job when those that it has fill the account's allowance already.
TOO_MUCH = ("token_limit_exceeded", "rate_limit_exceeded")
# Faults of a line that are not billed: the server refused it, or did not come to it.
# What a line is called, by which its answer names it: a key and an attempt.
_LINE_NAME = re.compile(r"([0-9a-f]{32})-\d+")
UNBILLED = ("rate_limit", "server", "expired", "refused")


class LineOutcome(NamedTuple):
    """What a line came to: a reply as stored with its bill, or a fault; `last` when it is final."""

    line: BatchLine
    outcome: StoredReply | ModelError
    bill: int
    last: bool


class BatchCollector:
    """Settle the jobs of one model."""

    def __init__(
        self,
        store: Store,
        spending: Budget,
        model: Model,
        server: OpenAIBatch,
        counts: RequestCounts,
    ) -> None:
        self._store, self._jobs, self._spending = store, BatchJobs(store), spending
        self._model, self._server, self._counts = model, server, counts

    async def answers(
        self, job: BatchJob, remote: Remote, inflights: dict[str, InFlight]
    ) -> AsyncIterator[list[LineOutcome]]:
        """Yield what the answers of a job came to, once it is durable."""
        for file in remote.files:
            part: list[Answer] = []
            async for answer in self._server.answers(file):
                part.append(answer)
                if len(part) == TOGETHER:
                    yield await self._settle_answers(job, part, inflights)
                    part = []
            if part:
                yield await self._settle_answers(job, part, inflights)

    async def rest(
        self,
        job: BatchJob,
        fault: Callable[[BatchLine], ModelError],
        inflights: dict[str, InFlight],
    ) -> AsyncIterator[list[LineOutcome]]:
        """Settle what no answer came for with the fault that `fault` gives each line."""
        while part := self._jobs.page(job.name, TOGETHER):
            yield await self._settle(job, [(line, fault(line)) for line in part], inflights)

    async def _settle_answers(
        self, job: BatchJob, answers: Sequence[Answer], inflights: dict[str, InFlight]
    ) -> list[LineOutcome]:
        open_lines = self._jobs.find(job.name, {key_in(answer.id) for answer in answers} - {""})
        found: list[tuple[BatchLine, Reply | ModelError]] = []
        for answer in answers:
            if (line := open_lines.pop(answer.id, None)) is not None:
                inflight = inflights.get(line.key)
                request = line.request if inflight is None else inflight.request
                found.append((line, self._server.reply(request, answer)))
        return await self._settle(job, found, inflights)

    async def _settle(
        self,
        job: BatchJob,
        found: Sequence[tuple[BatchLine, Reply | ModelError]],
        inflights: dict[str, InFlight],
    ) -> list[LineOutcome]:
        outcomes = {line.name: outcome for line, outcome in found}
        lines = [line for line, _ in found]
        spending = self._spending.of(job.run)

        def settle(connection: sqlite3.Connection) -> list[LineOutcome]:
            taken = jobs.take(connection, job.name, lines)
            settled_lines = self._keep(connection, spending, taken, outcomes)
            for line in taken:
                if isinstance(fault := outcomes[line.name], ModelError):
                    lost = isinstance(fault, TemporaryFault) and fault.cause not in UNBILLED
                    bill = line.bound if lost else 0
                    inflight = inflights.get(line.key)
                    limited = isinstance(fault, TemporaryFault) and fault.cause == "rate_limit"
                    most = LIMITED_TRIES if limited else MOST_TRIES
                    tried = inflight is not None and inflight.tries >= most
                    last = tried or not isinstance(fault, TemporaryFault)
                    step = line.step or NO_STEP
                    spending.settle(connection, line.bound, bill, step)
                    if last:
                        spending.count(connection, replayed=0, failed=1, step=step)
                    settled_lines.append(LineOutcome(line, fault, bill, last))
            return settled_lines

        settled_lines = await self._store.commit(settle)
        for one in settled_lines:
            outcome, counts = one.outcome, self._counts
            counts.cost_usd += one.bill / PICO
            if isinstance(outcome, ModelError):
                cause = outcome.cause if isinstance(outcome, TemporaryFault) else "permanent"
                counts.causes[cause] = counts.causes.get(cause, 0) + 1
                counts.failed += one.last
            else:
                counts.input_tokens += outcome.reply.input_tokens
                counts.output_tokens += outcome.reply.output_tokens
        return settled_lines

    def _keep(
        self,
        connection: sqlite3.Connection,
        spending: Budget,
        taken: Iterable[BatchLine],
        outcomes: dict[str, Reply | ModelError],
    ) -> list[LineOutcome]:
        """Store the replies among the outcomes and settle their bills."""
        lines, paid, info = list[BatchLine](), list[Paid](), self._model.info
        for line in taken:
            reply = outcomes[line.name]
            if isinstance(reply, Reply):
                lines.append(line)
                paid.append(Paid(line.key, line.attempt, reply, line.request, info.identity))
        if not paid:
            return []
        bills = spending.settle_replies(
            connection,
            [(n.bound, p.reply, p.request, info) for n, p in zip(lines, paid, strict=True)],
            [line.step or NO_STEP for line in lines],
        )
        stored = keep.save(self._store, connection, paid)
        return [
            LineOutcome(line, kept, bill, True)
            for line, kept, bill in zip(lines, stored, bills, strict=True)
        ]

    def overshoot(self, settled_lines: Sequence[LineOutcome]) -> CeilingReached | None:
        """Return the error that ends a run whose provider billed more than was reserved."""
        found = (self._spending.overshoot(o.line.bound, o.bill) for o in settled_lines)
        return next((error for error in found if error is not None), None)


def fault_of_rest(remote: Remote, where: str) -> Callable[[BatchLine], ModelError]:
    """Return what it means for a line that the job ended as it did without an answer for it."""
    said = next((one.message or one.code for one in remote.refused), "it gave no reason")
    if remote.status == "completed":
        missing = f"{where} left the request out of its answers"
        return lambda line: TemporaryFault(missing, cause="missing")
    if remote.status == LOST:
        lost = f"{where} does not have the batch job {remote.id} any more"
        return lambda line: TemporaryFault(lost, cause=LOST)
    if remote.status != "failed":
        late = f"{where} did not come to the request (the batch job {remote.status})"
        return lambda line: TemporaryFault(late, cause="expired")
    refused = said if said.startswith(where) else f"{where} refused the batch job: {said}"
    if too_much(remote) or not remote.refused:
        cause = "rate_limit" if remote.refused else "refused"
        return lambda line: TemporaryFault(refused, cause=cause)
    blamed = {one.line: f"{where} refused the request: {one.message}" for one in remote.refused}
    if None in blamed:
        return lambda line: PermanentFault(refused)
    return lambda line: (
        PermanentFault(blamed[line.number])
        if line.number in blamed
        else TemporaryFault(refused, cause="refused")
    )


def too_much(remote: Remote) -> bool:
    """Tell whether a job was refused because the account's jobs hold too much already."""
    return any(one.code in TOO_MUCH for one in remote.refused)


def key_in(name: str) -> str:
    """Return the key in a line's name, or nothing where it is none of ours."""
    found = _LINE_NAME.fullmatch(name)
    return found[1] if found else ""
