"""Where a reply is kept, and who is asking for it.

Vectors are lines of mapped files, everything else is JSON in SQLite.

A vector belongs to its text, not to the request that asked for it: requests for several texts at
once are answered when the store has each of them, whoever asked.

A lease is a row of the store, taken in the transaction that reserves the attempt and given back in
the one that keeps its reply. Alone with the store a sender takes none, which would cost a sixth of
all that a request costs here; it looks twice a second for others. Who joins waits until those that
are there lease what they have under way. Leases end with their holder: it says so, is found
silent, or the next process that is alone with the store clears them.

Of a batch job it is noted who follows it, which leases all its keys: without a row for each.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from curate.ask import Embed, Reply, Request
from curate.store.store import (
    Paid,
    Store,
    StoredReply,
    find_replies,
    save_replies,
)
from curate.store.vectors import MISSING, EncodedVectors, is_cut, vector_keys

# The finish reason of an `Embed` for which something came that is not a vector.
NO_VECTOR = "no vector"
# A vector is never asked for again; what was none has the number of its attempt.
_FOR_GOOD = 1 << 30
# How long a holder may be silent, how often it tells that it lives, and looks for others.
LEASE_SECONDS, RENEWED_SECONDS, LOOK_SECONDS = 20.0, 5.0, 0.5
# How long who joins waits for the others' leases; one whose own code blocks it is not waited for.
JOIN_SECONDS = 3.0
# Parameters of one statement: SQLite compiled with old defaults takes 999.
_KEYS = 400
# Who has told of itself, by a clock that all processes of a machine share and that nobody sets; not
# who did so before the machine was started anew, where that clock began anew.
_LIVES = "until BETWEEN ? AND ?"


class Wanted(NamedTuple):
    """A request whose reply is looked for: of which model, and from which attempt on."""

    request: Request
    model: str
    least: int = 0


def find(
    store: Store, wanted: Mapping[str, Wanted], connection: sqlite3.Connection | None = None
) -> dict[str, StoredReply]:
    """Return the newest reply to each request, by key; inside a transaction where one is given."""
    texts = {key: one for key, one in wanted.items() if not isinstance(one.request, Embed)}
    if connection is None:
        found = store.get_many(texts)
        found = {key: one for key, one in found.items() if one.attempt >= texts[key].least}
    else:
        found = find_replies(connection, {key: one.least for key, one in texts.items()})
    for key, one in wanted.items():
        if isinstance(one.request, Embed):
            places = store.vectors.find(vector_keys(one.model, one.request.texts), connection)
            reply = _reply(store, places, key, connection) if (places != MISSING).all() else None
            if reply is not None and reply.attempt >= one.least:
                found[key] = reply
    return found


def save(store: Store, connection: sqlite3.Connection, paid: Sequence[Paid]) -> list[StoredReply]:
    """Store replies inside a transaction; where another process was first, return its reply."""
    texts = [one for one in paid if not isinstance(one.request, Embed)]
    stored = dict(zip((one.key for one in texts), save_replies(connection, texts), strict=True))
    for one in paid:
        if isinstance(one.request, Embed):
            reply = one.reply
            cut = [number in reply.cut for number in range(len(one.request.texts))]
            encoded = EncodedVectors(
                vector_keys(one.model, one.request.texts),
                reply.values,
                cut,
                one.attempt,
                dict(reply.read),
            )
            places = store.vectors.save(connection, one.model, encoded)
            found = _reply(store, places, one.key, connection)
            counted = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
            stored[one.key] = found._replace(reply=Reply(**{**vars(found.reply), **counted}))
    return [stored[one.key] for one in paid]


def _reply(
    store: Store, places: np.ndarray, key: str, connection: sqlite3.Connection | None = None
) -> StoredReply:
    """Return what was stored as steps see it: lists of floats, none where one is not a vector."""
    attempts = -1 - places[places < 0]
    if len(attempts):
        return StoredReply(int(attempts.min()), Reply(finish_reason=NO_VECTOR, key=key))
    lines, cut = store.vectors.read(places).tolist(), np.flatnonzero(is_cut(places)).tolist()
    read = enumerate(store.vectors.tokens_read(places, connection).tolist())
    partly = tuple((number, tokens) for number, tokens in read if tokens)
    return StoredReply(_FOR_GOOD, Reply(values=tuple(lines), cut=tuple(cut), read=partly, key=key))


class Leases:
    """The leases of one sender; other senders, of this process or others, have their own.

    `shared` is whether there has been another one beside it; `granted` are the keys under way, and
    `followed` the batch jobs whose answers it collects.
    """

    def __init__(self) -> None:
        self.holder, self.shared, self.granted = uuid.uuid4().hex, False, set[str]()
        self.followed: set[str] = set()

    def join(self, connection: sqlite3.Connection) -> bool:
        """Note this sender in the store, inside a transaction; return whether there are others."""
        silent = f"SELECT holder FROM senders WHERE NOT {_LIVES}"
        for table in ("leases", "batch_followers"):
            connection.execute(f"DELETE FROM {table} WHERE holder IN ({silent})", _lives())
        connection.execute(f"DELETE FROM senders WHERE NOT {_LIVES}", _lives())
        others = connection.execute("SELECT 1 FROM senders LIMIT 1").fetchone() is not None
        self.shared = self.shared or others
        values = (self.holder, time.monotonic() + LEASE_SECONDS, self.shared)
        connection.execute("INSERT INTO senders VALUES (?, ?, ?)", values)
        return others

    def beside(self, store: Store) -> list[bool]:
        """Return of each other sender whether it leases what it has under way."""
        sql = f"SELECT shares FROM senders WHERE holder != ? AND {_LIVES}"
        return [bool(shares) for (shares,) in store.read(sql, (self.holder, *_lives()))]

    def share(self, connection: sqlite3.Connection) -> None:
        """Lease all that is under way, inside a transaction, because there is another sender."""
        self.shared = True
        self.take(connection, list(self.granted))
        sql = "UPDATE senders SET shares = 1 WHERE holder = ?"
        connection.execute(sql, (self.holder,))

    def of_others(self, connection: sqlite3.Connection, keys: Sequence[str]) -> set[str]:
        """Return which of `keys` another sender asks for at present, inside a transaction.

        That is one by one, or in a batch job that it follows.
        """
        found = set[str]()
        for part in _key_parts(keys):
            marks = ",".join("?" * len(part))
            sql = (
                f"SELECT key FROM (SELECT key, holder FROM leases WHERE key IN ({marks}) UNION ALL "
                "SELECT key, holder FROM batch_lines JOIN batch_followers USING (job) "
                f"WHERE key IN ({marks})) JOIN senders USING (holder) "
                f"WHERE holder != ? AND {_LIVES}"
            )
            rows = connection.execute(sql, (*part, *part, self.holder, *_lives()))
            found.update(key.hex() for (key,) in rows)
        return found

    def take(self, connection: sqlite3.Connection, keys: Sequence[str]) -> None:
        """Lease `keys`, inside a transaction."""
        for part in _key_parts(keys):
            rows = ",".join(["(?,?)"] * len(part))
            values = [value for key in part for value in (key, self.holder)]
            connection.execute(f"INSERT OR REPLACE INTO leases VALUES {rows}", values)

    def follow(self, connection: sqlite3.Connection, jobs: Iterable[str]) -> None:
        """Lease all keys of batch jobs, inside a transaction, for as long as the jobs are open."""
        self.followed.update(jobs)
        rows = [(job, self.holder) for job in jobs]
        connection.executemany("INSERT OR IGNORE INTO batch_followers VALUES (?, ?)", rows)

    def give(self, connection: sqlite3.Connection, keys: Sequence[str]) -> None:
        """Give leases back, inside a transaction."""
        for part in _key_parts(keys if self.shared else ()):
            marks = ",".join("?" * len(part))
            sql = f"DELETE FROM leases WHERE holder = ? AND key IN ({marks})"
            connection.execute(sql, (self.holder, *part))

    def renew(self, connection: sqlite3.Connection) -> None:
        """Tell that the holder lives, inside a transaction."""
        sql = "UPDATE senders SET until = ? WHERE holder = ?"
        if not connection.execute(sql, (time.monotonic() + LEASE_SECONDS, self.holder)).rowcount:
            # Found silent, as after the machine slept: who joined meanwhile ended its leases.
            self.join(connection)
            if self.shared:
                self.take(connection, list(self.granted))
            self.follow(connection, list(self.followed))

    def end(self, connection: sqlite3.Connection) -> None:
        """Give all leases back and leave, inside a transaction."""
        for table in ("leases", "batch_followers", "senders"):
            connection.execute(f"DELETE FROM {table} WHERE holder = ?", (self.holder,))


def _lives() -> tuple[float, float]:
    now = time.monotonic()
    return now, now + 2 * LEASE_SECONDS


def _key_parts(keys: Iterable[str]) -> list[list[bytes]]:
    blobs = [bytes.fromhex(key) for key in keys]
    return [blobs[start : start + _KEYS] for start in range(0, len(blobs), _KEYS)]
