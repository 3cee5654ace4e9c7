"""Batch jobs as the store remembers them, so that none is lost and none is submitted twice.

A job and its lines are written down, and its cost is reserved, before anything of it leaves this
machine. A line goes when its reply is stored or it has failed, in the same transaction that settles
its bill; a job goes with its last line. What is still there is at the provider, or on the way: the
index over (key, attempt) keeps a second job from asking the same. Of a settled job a line is kept,
with the provider's name for it, for whoever compares bills.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from curate.ask import Ask, Choose, Embed, Likelihood, Request, Reward, TurnLikelihood
from curate.row import Message
from curate.store.store import Store

_LOOKUP = 900
_PAGE = 1000
_FORMS = {form.form: form for form in (Ask, Choose, Embed, Likelihood, TurnLikelihood, Reward)}


class BatchJob(NamedTuple):
    """A job: whose it is, and how far it is known to have come.

    `file` and `remote` are the provider's names for its file and itself, once they were noted;
    `sent_at` is when it was first asked for, which may have had an effect that nobody noted.
    """

    name: str
    model: str
    run: str
    path: str
    made_at: float
    sent_at: float | None = None
    file: str | None = None
    remote: str | None = None


class BatchLine(NamedTuple):
    """One request of a job: its place in the file, what was reserved for it, and which step asks.

    Lines of older versions have no step.
    """

    number: int
    key: str
    attempt: int
    bound: int
    content: bytes
    step: str | None = None

    @property
    def name(self) -> str:
        """What the request is called in the job's file."""
        return f"{self.key}-{self.attempt}"

    @property
    def request(self) -> Request:
        """The request itself."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in json.loads(zlib.decompress(self.content)).items()
        }
        form: type[Request] = _FORMS[fields.pop("form")]
        if fields.get("messages") is not None:
            fields["messages"] = tuple(Message(*turn) for turn in fields["messages"])
        return form(**fields)


def packed(request: Request) -> bytes:
    """Return `request` as a line keeps it."""
    text = json.dumps(request.content(), ensure_ascii=True, separators=(",", ":"))
    return zlib.compress(text.encode(), 1)


class JobStatus(NamedTuple):
    """A job as its owner is told of it: `left` of its `requests` are not settled."""

    name: str
    model: str
    state: str
    remote: str | None
    made_at: float
    ended_at: float | None
    requests: int
    left: int


class BatchJobs:
    """The jobs in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, name: str) -> BatchJob | None:
        """Return a job, or `None` when it is settled."""
        columns = ", ".join(BatchJob._fields)
        rows = self._store.read(f"SELECT {columns} FROM batch_jobs WHERE name = ?", (name,))
        return BatchJob(*rows[0]) if rows else None

    def job_statuses(self) -> list[JobStatus]:
        """Return all jobs there are and were, the oldest first."""
        sql = (
            "SELECT name, jobs.model, file, sent_at, jobs.remote, jobs.made_at, requests, "
            "(SELECT COUNT(*) FROM batch_lines WHERE job = name) "
            "FROM batch_jobs AS jobs LEFT JOIN batch_history ON job = name"
        )
        found = []
        for name, model, file, sent, remote, made, requests, left in self._store.read(sql):
            state = "written down" if file is None else "uploaded"
            state = "being made" if sent is not None else state
            state = "at the provider" if remote is not None else state
            found.append(JobStatus(name, model, state, remote, made, None, requests or left, left))
        sql = (
            "SELECT job, model, 'settled', remote, made_at, ended_at, requests, 0 "
            "FROM batch_history WHERE ended_at IS NOT NULL"
        )
        found += [JobStatus(*row) for row in self._store.read(sql)]
        return sorted(found, key=lambda one: (one.made_at, one.name))

    def lines(self, name: str) -> Iterator[BatchLine]:
        """Yield the lines of a job that are not settled, in the order of its file."""
        last = 0
        while lines := self.page(name, _PAGE, after=last):
            yield from lines
            last = lines[-1].number

    def page(self, name: str, count: int, *, after: int = 0) -> list[BatchLine]:
        """Return the first lines of a job that are not settled and come after a number."""
        sql = (
            "SELECT number, key, attempt, bound, content, step FROM batch_lines "
            "WHERE job = ? AND number > ? ORDER BY number LIMIT ?"
        )
        rows = self._store.read(sql, (name, after, count))
        return [BatchLine(n, key.hex(), *rest) for n, key, *rest in rows]

    def find(self, name: str, keys: Iterable[str]) -> dict[str, BatchLine]:
        """Return those lines of a job that are not settled, by their names in its file."""
        found = list[BatchLine]()
        for part in _parts(keys):
            sql = (
                "SELECT number, key, attempt, bound, content, step FROM batch_lines "
                f"WHERE job = ? AND key IN ({','.join('?' * len(part))})"
            )
            rows = self._store.read(sql, (name, *part))
            found += [BatchLine(n, key.hex(), *rest) for n, key, *rest in rows]
        return {line.name: line for line in found}

    def count(self, name: str) -> int:
        """Return how many lines of a job are not settled."""
        sql = "SELECT COUNT(*) FROM batch_lines WHERE job = ?"
        return int(self._store.read(sql, (name,))[0][0])

    async def note(self, name: str, **known: Any) -> None:
        """Write down what is known of a job: `sent_at`, `file` or `remote`."""
        changes = ", ".join(f"{column} = ?" for column in known)
        sql = f"UPDATE batch_jobs SET {changes} WHERE name = ?"
        values = (*known.values(), name)
        await self._store.commit(lambda connection: connection.execute(sql, values).rowcount)


# -- inside a transaction -------------------------------------------------------------------------


def where(connection: sqlite3.Connection, keys: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Return, by key, the newest attempt that is in a job, and the job's name."""
    found: dict[str, tuple[int, str]] = {}
    for part in _parts(keys):
        marks = ",".join("?" * len(part))
        sql = f"SELECT key, attempt, job FROM batch_lines WHERE key IN ({marks}) ORDER BY attempt"
        found |= {key.hex(): (attempt, job) for key, attempt, job in connection.execute(sql, part)}
    return found


def add(
    connection: sqlite3.Connection, model: str, run: str, path: str, lines: Sequence[BatchLine]
) -> str:
    """Write a new job down and return its name."""
    name = f"curate-{secrets.token_hex(12)}"
    sql = "INSERT INTO batch_jobs (name, model, run, path, made_at) VALUES (?, ?, ?, ?, ?)"
    now = time.time()
    connection.execute(sql, (name, model, run, path, now))
    sql = "INSERT INTO batch_history (job, model, made_at, requests) VALUES (?, ?, ?, ?)"
    connection.execute(sql, (name, model, now, len(lines)))
    connection.executemany(
        # By name: a later version may have added a column while this process runs.
        "INSERT INTO batch_lines (job, number, key, attempt, bound, content, step) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (name, n.number, bytes.fromhex(n.key), n.attempt, n.bound, n.content, n.step)
            for n in lines
        ],
    )
    return name


def take(connection: sqlite3.Connection, name: str, lines: Iterable[BatchLine]) -> list[BatchLine]:
    """Remove lines, and the job with its last one; return those that nobody else had settled."""
    sql = "DELETE FROM batch_lines WHERE job = ? AND key = ? AND attempt = ?"
    taken = [
        line
        for line in lines
        if connection.execute(sql, (name, bytes.fromhex(line.key), line.attempt)).rowcount
    ]
    if connection.execute("SELECT 1 FROM batch_lines WHERE job = ?", (name,)).fetchone() is None:
        sql = (
            "UPDATE batch_history SET ended_at = ?, "
            "remote = (SELECT remote FROM batch_jobs WHERE name = job) "
            "WHERE job = ? AND ended_at IS NULL"
        )
        connection.execute(sql, (time.time(), name))
        connection.execute("DELETE FROM batch_jobs WHERE name = ?", (name,))
        connection.execute("DELETE FROM batch_followers WHERE job = ?", (name,))
    return taken


def _parts(keys: Iterable[str]) -> Iterator[list[bytes]]:
    names = iter(keys)
    while part := [bytes.fromhex(key) for key in islice(names, _LOOKUP)]:
        yield part
