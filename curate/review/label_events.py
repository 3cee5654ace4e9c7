"""The labels that people give, kept as events in a file that a kill at any instant leaves whole.

Nothing is ever changed: a label, another label in its place and an undo are each an event. An event
carries a number that its page drew once (a nonce), so one that is sent again, because its reply got
lost, is there once.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from curate.errors import DiskFull, StoreError, UsageError
from curate.system.posix import MOUNTS, no_room, refuse_network_disk

# How `reviewed` calls what was decided.
DECISIONS = ("keep", "drop", "chosen", "ranks", "rating")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    n INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, item TEXT NOT NULL,
    decision TEXT, value TEXT, comment TEXT, shown TEXT, seconds REAL, nonce TEXT NOT NULL UNIQUE
);
CREATE INDEX IF NOT EXISTS event_by_item ON event (item, who);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_LAST = """
SELECT item, who, decision, value, comment, at FROM event
WHERE n IN (SELECT MAX(n) FROM event GROUP BY item, who) AND decision IS NOT NULL
"""


class Label(NamedTuple):
    """What one person said of one row, last; `decision` is `None` where it was taken back.

    `shown` is the order in which the sides of a pair or the candidates stood on the screen,
    `seconds` how long the person looked. The `value` of ranks is the rank of each candidate as the
    data lists them, as in `2,1,3`.
    """

    item: str
    who: str
    decision: str | None
    value: str | None = None
    comment: str | None = None
    shown: str | None = None
    seconds: float | None = None
    at: float = 0.0


def ranks_in(value: str | float | None) -> list[int]:
    """Return the ranks that a label's value holds, by candidate."""
    return [int(rank) for rank in str(value).split(",")]


class Labels:
    """The events of one file; a label is on the disk when `add` returns."""

    def __init__(self, path: Path, mounts: Path = MOUNTS) -> None:
        """Open the file, or make it; `mounts` is the table of mounted file systems.

        Raises:
            UsageError: another kind of file is there, or it is on a network file system.
        """
        instead = (
            "name a file on a disk of this machine with --labels FILE (for --templates, copy their "
            "folder to such a disk)"
        )
        if path.is_file():
            instead += ", after copying this one there, with its -wal file if there is one"
        refuse_network_disk(path, instead, mounts)
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # One thread at a time uses it: the server's own.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # FULL: a commit survives a power cut, not only the process.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{path} holds no labels ({error}); name another file") from None

    def add(self, label: Label, nonce: str) -> bool:
        """Append a label, or what takes one back; `False` where this event is there already.

        Raises:
            DiskFull: it could not be written.
            StoreError: the file cannot be written to.
        """
        values = (
            time.time(),
            label.who,
            label.item,
            label.decision,
            label.value,
            label.comment,
            label.shown,
            label.seconds,
            nonce,
        )
        try:
            added = self._db.execute(
                "INSERT OR IGNORE INTO event"
                " (at, who, item, decision, value, comment, shown, seconds, nonce)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        except sqlite3.OperationalError as error:
            kind = DiskFull if no_room(error) else StoreError
            raise kind(f"{self.path}: the label was not saved: {error}") from error
        return added.rowcount == 1

    def last(self) -> Iterator[Label]:
        """Yield what each person said of each row last, in the order of rows and names."""
        for item, who, decision, value, comment, at in self._db.execute(_LAST + "ORDER BY 1, 2"):
            yield Label(item, who, decision, value, comment, at=at)

    def latest_of(self, who: str) -> Label | None:
        """Return the label that a person gave last and has not taken back."""
        found = self._db.execute(_LAST + "AND who = ? ORDER BY n DESC LIMIT 1", (who,)).fetchone()
        if found is None:
            return None
        item, name, decision, value, comment, at = found
        return Label(item, name, decision, value, comment, at=at)

    def decisions(self) -> Iterator[dict[str, Any]]:
        """Yield the labels as `reviewed` reads them."""
        from datetime import UTC, datetime

        for one in self.last():
            when = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds")
            found: dict[str, Any] = {
                "row": one.item,
                "annotator": one.who,
                "decision": one.decision,
                "value": one.value,
                "time": when,
                "comment": one.comment,
            }
            if one.decision == "rating":
                found["value"] = float(one.value or 0)
            elif one.decision == "ranks":
                found["value"] = ranks_in(one.value)
            yield {name: value for name, value in found.items() if value is not None}

    def setting(self, name: str) -> str:
        """Return a secret of this file by its name, drawn when it is asked for first."""
        self._db.execute(
            "INSERT OR IGNORE INTO setting VALUES (?, ?)", (name, secrets.token_urlsafe(24))
        )
        value = self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()[0]
        return str(value)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()
