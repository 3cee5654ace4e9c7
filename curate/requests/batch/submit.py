"""Submit a batch job exactly once, whenever and however often the process ends meanwhile.

Each thing that may have an effect elsewhere is written down before it is done, and what came of it
after. Where only the first was written, the provider is asked first: for the file by its name, for
the job by the name in its metadata. A job takes a moment to appear in the provider's list, and a
request that was on its way when the process died may still arrive; so for a while after it was sent
a job that is not listed is waited for, and only then made again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from curate.errors import StoppedShort, TemporaryFault
from curate.models.providers.openai_batch import Remote
from curate.requests.batch.jobs import BatchJob, BatchJobs
from curate.store.commit import disk_full
from curate.store.store import Store
from curate.system.posix import FileLock, no_room

if TYPE_CHECKING:
    from curate.models.providers.openai_batch import OpenAIBatch

# How long after it was asked for a job may still turn up in the provider's list.
LISTED_SECONDS = 30.0
LOOK_SECONDS = 1.0
LOCK_SECONDS = 0.1
MOST_TRIES = 8
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# Faults after which it is certain that the server did nothing.
NOTHING_DONE = ("rate_limit", "connect")


class BatchSubmitter:
    """Submit the jobs of one model."""

    def __init__(self, store: Store, jobs: BatchJobs, server: OpenAIBatch) -> None:
        self._store, self._jobs, self._server = store, jobs, server

    async def submitted(self, name: str, *, fresh: bool) -> Remote | None:
        """Return the job at the provider, made if need be; `None` when it is settled already.

        `fresh` says that this process wrote the job down, so that nothing of it can be there yet.
        """
        job, failed = self._jobs.read(name), 0
        if job is not None and job.remote is None:
            async with self._alone():
                job = self._jobs.read(name)
                while job is not None and job.remote is None:
                    try:
                        return await self._try(job, sure=fresh and not failed)
                    except TemporaryFault as fault:
                        failed += 1
                        if failed >= MOST_TRIES:
                            raise StoppedShort(
                                f"the batch job {name} could not be submitted: {fault}. Nothing of "
                                "it is lost: run the same command again when the server is back"
                            ) from None
                        pause = FIRST_PAUSE_SECONDS * 2 ** (failed - 1)
                        pause = max(pause, fault.retry_after or 0)
                        await asyncio.sleep(min(pause, LONGEST_PAUSE_SECONDS))
                    job = self._jobs.read(name) or job
        return None if job is None or job.remote is None else Remote(job.remote, "submitted")

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep other processes on this store from submitting meanwhile."""
        lock = FileLock(self._store.folder / "batches.lock")
        while not lock.take():
            await asyncio.sleep(LOCK_SECONDS)
        try:
            yield
        finally:
            lock.release()

    async def _try(self, job: BatchJob, sure: bool) -> Remote:
        """Take a job from where it stands to the provider; `sure` where no trace of it is there."""
        if job.sent_at is not None:
            # It may have been made: look for it as long as it may still turn up in the list.
            deadline, last = min(job.sent_at, time.time()) + LISTED_SECONDS, False
            while not last:
                last = time.time() >= deadline
                if listed := await self._server.find(job.name, job.made_at):
                    await self._jobs.note(job.name, remote=listed.id)
                    return listed
                if not last:
                    await asyncio.sleep(LOOK_SECONDS)
        file = job.file
        if file is None:
            file = None if sure else await self._server.find_file(_file_name(job), job.made_at)
            file = file or await self._uploaded(job)
            await self._jobs.note(job.name, file=file)
        await self._jobs.note(job.name, sent_at=time.time())
        try:
            remote = await self._server.create(job.name, file, job.path)
        except TemporaryFault as fault:
            if fault.cause in NOTHING_DONE:
                await self._jobs.note(job.name, sent_at=None)
            raise
        await self._jobs.note(job.name, remote=remote.id)
        return remote

    async def _uploaded(self, job: BatchJob) -> str:
        folder = self._store.folder / "batches"
        path = folder / _file_name(job)
        try:
            await asyncio.to_thread(self._write, job, path)
            return await self._server.upload(path)
        except OSError as error:
            if no_room(error):
                raise disk_full(self._store.folder) from None
            raise
        finally:
            path.unlink(missing_ok=True)

    def _write(self, job: BatchJob, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            for line in self._jobs.lines(job.name):
                file.write(self._server.line(line.request, line.name))


def _file_name(job: BatchJob) -> str:
    return f"{job.name}.jsonl"
