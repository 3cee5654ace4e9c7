"""Commit writes to the store in groups, from one thread, and survive a full disk.

Every write of a process goes through one queue: whatever piled up while the last commit was being
flushed becomes the next transaction, so that many small writes share one flush without anyone
waiting on a timer. A caller is answered only after its transaction is durable.
"""

from __future__ import annotations

import asyncio
import os
import queue
import shutil
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, TypeVar

from curate.errors import DiskFull, StoreError
from curate.system.posix import no_room

T = TypeVar("T")
Item = TypeVar("Item")
Operation = Callable[[sqlite3.Connection], T]

# Room for the replies of several hundred requests in flight, a few pages of the log each.
BALLAST_BYTES = 4 << 20
MAX_GROUP = 1024
# With less room than this an input/output error is taken for a full disk.
_NO_ROOM = 256 << 10


class Ballast:
    """A file that takes up room, so that there is some to free when the disk is full."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ballast"

    def lay(self) -> None:
        """Write the file, or raise `DiskFull` when there is no room for it."""
        if self.path.exists() and self.path.stat().st_size >= BALLAST_BYTES:
            return
        try:
            # Random bytes: a compressing file system would store zeros for nothing.
            with self.path.open("wb") as file:
                file.write(os.urandom(BALLAST_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.free()
            raise disk_full(self.path.parent) from error

    def free(self) -> None:
        """Give the room back."""
        self.path.unlink(missing_ok=True)


def disk_full(folder: Path) -> DiskFull:
    """Return the error that tells the user about a full disk."""
    return DiskFull(
        f"no room left for the store in {folder}: replies that had arrived are kept, nothing more "
        "is sent. Free some space (or choose another disk with --store) and run the same command "
        "again"
    )


class _Write:
    """One queued operation and whoever waits for it: a coroutine (`loop`) or a thread."""

    __slots__ = ("error", "future", "loop", "operation", "result")

    def __init__(
        self,
        operation: Operation[Any],
        future: asyncio.Future[Any] | Future[Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.operation, self.future, self.loop = operation, future, loop
        self.result: Any = None
        self.error: BaseException | None = None

    def answer(self) -> None:
        """Hand the outcome over; whoever was cancelled meanwhile is not told."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Committer:
    """Run operations on one connection, in groups, each group one durable transaction."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], folder: Path) -> None:
        """Lay the ballast and start the thread; `connect` opens its connection."""
        self._folder, self._ballast = folder, Ballast(folder)
        self._ballast.lay()
        self._connect = connect
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self.full = False
        self._thread = threading.Thread(target=self._work, name="curate-store", daemon=True)
        self._thread.start()

    async def commit(self, operation: Operation[T]) -> T:
        """Run `operation` inside the next transaction and return its result once it is durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Write(operation, future, loop))
        return await future

    def commit_now(self, operation: Operation[T]) -> T:
        """Do what `commit` does, for callers that are not coroutines."""
        future: Future[T] = Future()
        self._queue.put(_Write(operation, future, None))
        return future.result()

    def close(self) -> None:
        """Commit what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        connection, last = self._connect(), False
        try:
            while not last:
                # Whatever is queued by now becomes one transaction.
                writes: list[_Write] = []
                while (write := self._queue.get()) is not None:
                    writes.append(write)
                    if len(writes) == MAX_GROUP or self._queue.empty():
                        break
                last = write is None
                if writes:
                    self._apply(connection, writes)
                    _deliver(writes)
        finally:
            connection.close()

    def _apply(self, connection: sqlite3.Connection, writes: list[_Write]) -> None:
        """Carry writes out together; on a full disk with the ballast's room, else one by one."""
        try:
            self._transact(connection, writes)
            return
        except Exception as error:
            full = self._is_full(error)
            if not full and len(writes) == 1:
                writes[0].error = store_error(error, self._folder)
                return
        if not full:
            # One bad operation must not take its neighbours' paid replies with it.
            for write in writes:
                self._apply(connection, [write])
            return
        self.full = True
        self._ballast.free()
        try:
            self._transact(connection, writes)
        except Exception as error:
            full = self._is_full(error)
            failure = disk_full(self._folder) if full else store_error(error, self._folder)
            for write in writes:
                write.error = failure

    def _transact(self, connection: sqlite3.Connection, writes: list[_Write]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for write in writes:
                write.result = write.operation(connection)
            connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _is_full(self, error: Exception) -> bool:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or no_room(error):
            return True
        return (
            code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
            and shutil.disk_usage(self._folder).free < _NO_ROOM
        )


def store_error(error: Exception, folder: Path) -> Exception:
    """Return what the user is told about an error of SQLite; other errors pass unchanged."""
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return disk_full(folder)
    advice = {
        sqlite3.SQLITE_BUSY: "another process holds it: wait for it to end, then run again",
        sqlite3.SQLITE_READONLY: "it is read-only: make it writable or choose another --store",
        sqlite3.SQLITE_NOTADB: "it is not a store: move it away or choose another --store",
        sqlite3.SQLITE_CORRUPT: "it is damaged: move it away (its replies will be asked again)",
    }.get(code, "check the disk and the folder's permissions, then run the same command again")
    return StoreError(f"the store {folder / 'store.db'} cannot be used ({error}); {advice}")


def _deliver(writes: list[_Write]) -> None:
    """Answer every caller: threads one by one, each event loop with a single wake-up."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
    for write in writes:
        if write.loop is None:
            write.answer()
        else:
            by_loop.setdefault(write.loop, []).append(write)
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(list, map(_Write.answer, mine))
        except RuntimeError:
            # The loop was closed by an interrupt: the writes are durable, nobody waits any more.
            continue


class GroupCommit(Generic[Item, T]):
    """Hand what piles up during one commit to the next one, as a single operation on a list."""

    def __init__(
        self,
        commit: Callable[[Operation[list[T]]], Awaitable[list[T]]],
        operation: Callable[[sqlite3.Connection, list[Item]], list[T]],
    ) -> None:
        """Take the store's `commit`, and the operation on items that returns a result for each."""
        self._commit, self._operation = commit, operation
        self._waiting: list[tuple[Item, asyncio.Future[T]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> T:
        """Return the result of one item once it is durable."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            if not await self._try(taken, alone=len(taken) == 1):
                # One bad item must not take its neighbours' paid replies with it.
                for one in taken:
                    await self._try([one], alone=True)
        self._task = None

    async def _try(self, taken: list[tuple[Item, asyncio.Future[T]]], *, alone: bool) -> bool:
        items = [item for item, _ in taken]
        try:
            results = await self._commit(lambda connection: self._operation(connection, items))
        except Exception as error:
            if alone and not taken[0][1].done():
                taken[0][1].set_exception(error)
            return alone
        for (_, future), result in zip(taken, results, strict=True):
            if not future.done():
                future.set_result(result)
        return True
