"""The store: the durable memory of replies, small values and what each run has spent.

One SQLite file in WAL mode, safe for several processes at once on a local disk (never on a network
file system). A reply is stored with the request that it answers, so that `explain` can show both.
Plain rowid tables: `WITHOUT ROWID` is three times slower with random keys (design.md, section 10).
"""

from __future__ import annotations

import bisect
import contextlib
import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from curate.ask import Reply, Request
from curate.errors import DiskFull, StoppedShort, StoreError
from curate.store.commit import Committer, Operation, T, disk_full, store_error
from curate.store.files import check_place, connected_to_read, neighbour_files, sizes
from curate.store.vectors import SCHEMA as VECTORS_SCHEMA
from curate.store.vectors import EncodedVectors, Vectors, vector_keys
from curate.system.posix import MOUNTS

VERSION = 9
# The version whose vectors were replies like all others.
_VECTORS_AS_JSON = 1
BUSY_SECONDS = 60.0
# SQLite compiled with old defaults takes 999 parameters in one statement.
_LOOKUP = 900
_ROWS = 190
# The finish reason of a stored reply whose checksum says that it is not what was stored.
DAMAGED = "damaged"
# What is damaged may not be text that SQLite would give.
_BYTES = "CAST(reply AS BLOB)"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB NOT NULL, attempt INTEGER NOT NULL, reply TEXT NOT NULL, stored_at INTEGER NOT NULL,
    checksum INTEGER
);
CREATE UNIQUE INDEX IF NOT EXISTS replies_by_key ON replies (key, attempt);
CREATE TABLE IF NOT EXISTS requests (key BLOB NOT NULL UNIQUE, model TEXT, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS small_values (
    kind TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (kind, key)
);
CREATE TABLE IF NOT EXISTS spending (
    run TEXT NOT NULL UNIQUE,
    sent INTEGER NOT NULL DEFAULT 0, replayed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, retried INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS step_spending (
    run TEXT NOT NULL, step TEXT NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0, replayed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, retried INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0, UNIQUE (run, step)
);
CREATE TABLE IF NOT EXISTS bills (
    run TEXT NOT NULL, model TEXT NOT NULL, worst REAL NOT NULL, UNIQUE (run, model)
);
CREATE TABLE IF NOT EXISTS leases (key BLOB NOT NULL UNIQUE, holder TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS senders (
    holder TEXT NOT NULL UNIQUE, until REAL NOT NULL, shares INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_jobs (
    name TEXT NOT NULL UNIQUE, model TEXT NOT NULL, run TEXT NOT NULL, path TEXT NOT NULL,
    made_at REAL NOT NULL, sent_at REAL, file TEXT, remote TEXT
);
CREATE TABLE IF NOT EXISTS batch_followers (
    job TEXT NOT NULL, holder TEXT NOT NULL, UNIQUE (job, holder)
);
CREATE TABLE IF NOT EXISTS batch_history (
    job TEXT NOT NULL UNIQUE, model TEXT NOT NULL, made_at REAL NOT NULL, requests INTEGER NOT NULL,
    ended_at REAL, remote TEXT
);
CREATE TABLE IF NOT EXISTS batch_lines (
    job TEXT NOT NULL, number INTEGER NOT NULL, key BLOB NOT NULL, attempt INTEGER NOT NULL,
    bound INTEGER NOT NULL, content BLOB NOT NULL, step TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS batch_lines_by_key ON batch_lines (key, attempt);
CREATE INDEX IF NOT EXISTS batch_lines_by_job ON batch_lines (job, number);
"""


# What tables of older versions lack: of format 6, and of format 8.
_ADDED_COLUMNS = (("replies", "checksum", "INTEGER"), ("batch_lines", "step", "TEXT"))


class StoredReply(NamedTuple):
    """A reply as the store holds it; `attempt` counts from 0 and grows with `--retry-failed`."""

    attempt: int
    reply: Reply


class StoredRequest(NamedTuple):
    """What was asked: the model's identity, and the request's content as JSON data."""

    model: str
    content: dict[str, Any]


class Exchange(NamedTuple):
    """One request with one of its replies, as `Store.exchanges` lists them."""

    key: str
    attempt: int
    request: StoredRequest
    reply: Reply


class Store:
    """An open store. Use it as a context manager: leaving it commits what is queued."""

    def __init__(self, folder: Path, reader: sqlite3.Connection) -> None:
        """Take an open connection for reading; use `Store.open`."""
        self.folder = folder
        self._reader, self._lock = reader, threading.Lock()
        self._committer: Committer | None = None
        self.vectors = Vectors(folder, self.read)

    @classmethod
    def open(cls, folder: Path, mounts: Path = MOUNTS) -> Store:
        """Open the store in `folder`, making both when they are absent.

        `mounts` is the table of mounted file systems.

        Raises:
            UsageError: the folder is on a network file system.
            StoreError: it cannot be made or read, or holds another database or a later format.
        """
        check_place(folder, mounts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            reader = _connect(folder / "store.db")
        except OSError as error:
            raise StoreError(
                f"the store folder {folder} cannot be made ({error.strerror}); "
                "choose another with --store"
            ) from error
        except sqlite3.Error as error:
            raise store_error(error, folder) from error
        try:
            version = _prepare(reader, folder)
        except BaseException:
            reader.close()
            raise
        store = cls(folder, reader)
        if version == _VECTORS_AS_JSON:
            store.commit_now(store._move_vectors)
        return store

    @classmethod
    def open_to_read(cls, folder: Path) -> Store:
        """Open the store that is in `folder`, also where this user may not write it."""
        reader = connected_to_read(folder, VERSION)
        return cls.open(folder) if reader is None else cls(folder, reader)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is queued and close the file."""
        with self._lock:
            if self._committer is not None:
                self._committer.close()
                self._committer = None
            self._reader.close()
            self.vectors.close()

    def get_many(self, keys: Iterable[str]) -> dict[str, StoredReply]:
        """Return the newest attempt of each key that has a reply."""
        return {key: attempts[-1] for key, attempts in self.attempts(keys).items()}

    def attempts(self, keys: Iterable[str]) -> dict[str, list[StoredReply]]:
        """Return every attempt of each key that has a reply, the newest last."""
        found: dict[str, list[StoredReply]] = {}
        what = f"key, attempt, {_BYTES}, checksum FROM replies"
        for key, attempt, text, checksum in self._select(what, keys):
            one = StoredReply(attempt, _read(key, attempt, text, checksum))
            bisect.insort(found.setdefault(key.hex(), []), one, key=lambda reply: reply.attempt)
        return found

    def requests(self, keys: Iterable[str]) -> dict[str, StoredRequest]:
        """Return what was asked under each key, for those who explain a row."""
        rows = self._select("key, model, content FROM requests", keys)
        return {key.hex(): StoredRequest(model, _unpack(content)) for key, model, content in rows}

    def exchanges(self) -> Iterator[Exchange]:
        """Yield every request with each of its replies, oldest first."""
        last = 0
        sql = (
            f"SELECT replies.rowid, key, attempt, model, content, {_BYTES}, checksum "
            "FROM replies JOIN requests USING (key) "
            "WHERE replies.rowid > ? ORDER BY replies.rowid LIMIT 1000"
        )
        while rows := self.read(sql, (last,)):
            for _, key, attempt, model, content, text, checksum in rows:
                request = StoredRequest(model, _unpack(content))
                reply = _read(key, attempt, text, checksum)
                yield Exchange(key.hex(), attempt, request, reply)
            last = rows[-1][0]

    def value(self, kind: str, key: str) -> str | None:
        """Return the text stored under `kind` and `key`, or `None`."""
        rows = self.read("SELECT text FROM small_values WHERE kind = ? AND key = ?", (kind, key))
        return rows[0][0] if rows else None

    def put_value(self, kind: str, key: str, text: str) -> None:
        """Store a text durably, in place of an older one."""
        sql = "INSERT OR REPLACE INTO small_values (kind, key, text) VALUES (?, ?, ?)"
        self.commit_now(lambda connection: connection.execute(sql, (kind, key, text)).rowcount)

    # -- writing ------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether the disk ran full: replies in flight may still be committed, nothing else."""
        return self._committer is not None and self._committer.full

    def disk_full(self) -> DiskFull:
        """Return the error that tells the user that this store's disk is full."""
        return disk_full(self.folder)

    async def commit(self, operation: Operation[T]) -> T:
        """Run `operation` on the writing connection; return once its transaction is durable."""
        return await self._writer().commit(operation)

    def commit_now(self, operation: Operation[T]) -> T:
        """Do what `commit` does, for callers that are not coroutines."""
        return self._writer().commit_now(operation)

    def compact(self) -> int:
        """Delete replies that a newer attempt replaced, and return how many there were.

        The vectors of each encoder move into one file, without what killed processes left there.
        """
        sql = (
            "DELETE FROM replies WHERE attempt < "
            "(SELECT MAX(attempt) FROM replies AS newer WHERE newer.key = replies.key)"
        )
        deleted = self.commit_now(lambda connection: connection.execute(sql).rowcount)
        for path in self.commit_now(self.vectors.compact):
            path.unlink(missing_ok=True)
        self.read("VACUUM")
        return deleted

    def copy_to(self, folder: Path) -> None:
        """Write a copy of the store, as it is at one instant, into a folder that is not there.

        Runs may write to the store meanwhile, but its files must stay: hold it `used`. What can be
        found again (neighbours) is left out.

        Raises:
            StoreError: the store is damaged.
        """
        folder.mkdir(parents=True)
        try:
            with contextlib.closing(_connect(folder / "store.db")) as copy:
                with self._lock:
                    self._reader.backup(copy)
                # One file without a log beside it, until somebody opens it as a store.
                copy.execute("PRAGMA journal_mode = DELETE")
                clear_leases(copy)
        except sqlite3.Error as error:
            raise store_error(error, self.folder) from error
        # After the database: a line is on the disk before what names it.
        self.vectors.copy_to(folder / self.vectors.folder.name)

    def stats(self) -> dict[str, int]:
        """Return how much the store holds: replies, requests, small values, vectors, all bytes."""
        counts = {
            name: int(self.read(f"SELECT COUNT(*) FROM {table}")[0][0])
            for name, table in (
                ("replies", "replies"),
                ("requests", "requests"),
                ("values", "small_values"),
                ("runs", "spending"),
            )
        }
        files = sum(1 for _ in neighbour_files(self.folder))
        size = sum(sizes(self.folder).values())
        return {**counts, "vectors": self.vectors.count(), "neighbours": files, "bytes": size}

    def _move_vectors(self, connection: sqlite3.Connection) -> None:
        """Move the vectors of the first format, JSON among the replies, to where all others are."""
        for one in list(self.exchanges()):
            texts = one.request.content.get("texts")
            if one.request.content.get("form") != "embed" or not texts:
                continue
            cut = [number in one.reply.cut for number in range(len(texts))]
            keys = vector_keys(one.request.model, texts)
            encoded = EncodedVectors(keys, one.reply.values, cut, one.attempt)
            with contextlib.suppress(StoppedShort):  # What is not a vector is asked for again.
                self.vectors.save(connection, one.request.model, encoded)
        connection.execute(f"PRAGMA user_version = {VERSION}")

    def _writer(self) -> Committer:
        # Made at the first write, so that those who only read need no room on the disk.
        with self._lock:
            if self._committer is None:
                self._committer = Committer(lambda: _connect(self._path), self.folder)
            return self._committer

    @property
    def _path(self) -> Path:
        return self.folder / "store.db"

    # -- reading ------------------------------------------------------------------------------

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        try:
            with self._lock:
                return self._reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise store_error(error, self.folder) from error

    def _select(self, what: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of `what` whose key is among `keys`, many keys to a statement."""
        names = iter(keys)
        while part := [bytes.fromhex(key) for key in islice(names, _LOOKUP)]:
            marks = ",".join("?" * len(part))
            yield from self.read(f"SELECT {what} WHERE key IN ({marks})", part)


class Paid(NamedTuple):
    """A reply on its way into the store, with what was asked and of whom."""

    key: str
    attempt: int
    reply: Reply
    request: Request
    model: str


def save_replies(connection: sqlite3.Connection, paid: Sequence[Paid]) -> list[StoredReply]:
    """Insert replies inside a transaction; where another process was first, return its reply.

    What comes back has been through JSON like every replay, so that a step never sees a tuple now
    and a list the next time.
    """
    now, stored = int(time.time()), list[StoredReply]()
    # One statement for many rows: each costs a wait for the interpreter's lock.
    for part in _parts(paid):
        texts = [one.reply.to_json() for one in part]
        keys = [bytes.fromhex(one.key) for one in part]
        rows = [
            (key, one.attempt, text, now, _checksum(key, one.attempt, text.encode()))
            for key, one, text in zip(keys, part, texts, strict=True)
        ]
        into = "replies (key, attempt, reply, stored_at, checksum)"
        new = _insert(connection, into, rows) == len(part)
        asked = []
        for key, one in zip(keys, part, strict=True):
            text = json.dumps(one.request.content(), ensure_ascii=True, separators=(",", ":"))
            asked.append((key, one.model, zlib.compress(text.encode(), 1)))
        _insert(connection, "requests (key, model, content)", asked)
        older = {} if new else find_replies(connection, {o.key: o.attempt for o in part})
        for one, text in zip(part, texts, strict=True):
            mine = StoredReply(one.attempt, Reply.from_json(text, one.key))
            stored.append(older.get(one.key, mine))
    return stored


def find_replies(
    connection: sqlite3.Connection, at_least: Mapping[str, int]
) -> dict[str, StoredReply]:
    """Return the newest attempt of each key from a given one on, inside a transaction."""
    found: dict[str, StoredReply] = {}
    for part in _parts(list(at_least)):
        marks = ",".join("?" * len(part))
        sql = f"SELECT key, attempt, {_BYTES}, checksum FROM replies WHERE key IN ({marks})"
        rows = connection.execute(f"{sql} ORDER BY attempt", [bytes.fromhex(key) for key in part])
        for blob, attempt, text, checksum in rows:
            key = blob.hex()
            if attempt >= at_least[key]:
                found[key] = StoredReply(attempt, _read(blob, attempt, text, checksum))
    return found


def clear_leases(connection: sqlite3.Connection) -> None:
    """Delete all leases, inside a transaction: nobody else uses the store."""
    connection.execute("DELETE FROM leases")
    connection.execute("DELETE FROM senders")
    connection.execute("DELETE FROM batch_followers")


def _checksum(key: bytes, attempt: int, reply: bytes) -> int:
    """Return what tells that a stored reply is the one that was stored under this key."""
    return zlib.crc32(reply, zlib.crc32(key, attempt))


def _read(key: bytes, attempt: int, reply: bytes, checksum: int | None) -> Reply:
    """Return a stored reply; one that is damaged has that for its finish reason, and no text.

    Those of stores before format 6 have no checksum.
    """
    name = key.hex()
    if checksum is None or checksum == _checksum(key, attempt, reply):
        try:
            return Reply.from_json(reply.decode(), name)
        except (ValueError, TypeError):
            pass
    return Reply(finish_reason=DAMAGED, key=name)


def _insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows in one statement and return how many were new."""
    row = "(" + ",".join("?" * len(rows[0])) + ")"
    sql = f"INSERT OR IGNORE INTO {into} VALUES {','.join([row] * len(rows))}"
    return connection.execute(sql, [value for one in rows for value in one]).rowcount


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _ROWS):
        yield items[start : start + _ROWS]


def _unpack(content: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(zlib.decompress(content))
    return data


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    # FULL: a reply that was paid for outlives a power cut, not only the end of the process.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _add_columns(connection: sqlite3.Connection) -> None:
    """Add the columns that the tables of an older store lack, unless another process did."""
    connection.execute("BEGIN IMMEDIATE")
    for table, column, kind in _ADDED_COLUMNS:
        columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        if columns and column not in columns:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection, folder: Path) -> int:
    """Make the tables, and refuse what is not a store, or one of a later version; return its own.

    A version's number is raised to this one's here, unless something has to be moved first.
    """
    try:
        # In this order: another process may be making the store.
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if names and not (version and "replies" in names):
            raise StoreError(
                f"{folder / 'store.db'} is a database of another program (it holds "
                f"{', '.join(names[:9])}): choose another folder with --store"
            )
        # SQLite's busy time-out does not cover the switch to the write-ahead log.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        if version > VERSION:
            raise StoreError(
                f"the store in {folder} has format {version}, this version of curate reads "
                f"{VERSION}: choose another with --store, or use the curate that made it"
            )
        if version < VERSION:
            # Every version so far added tables, or a column that older rows leave empty.
            _add_columns(connection)
            now = VERSION if version != _VECTORS_AS_JSON else version
            connection.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} {VECTORS_SCHEMA} PRAGMA user_version = {now}; COMMIT;"
            )
        return int(version)
    except sqlite3.Error as error:
        raise store_error(error, folder) from error
