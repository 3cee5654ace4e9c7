"""Group flat messages by their trees: a file whose records are single messages (OpenAssistant).

The messages of a tree may stand anywhere in a file, answers before what they answer. So all of them
go through a temporary table, which SQLite holds in memory up to 64 MB and in a file beyond; only
one tree is built at a time. Trees come in the order of their first messages. A message that can
be hung nowhere is an unreadable record with its own place, and so is what hangs below it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from curate.read.part import GROUP_BYTES, RAW_BYTES, Read
from curate.read.shapes.record_fields import dumps, text_of
from curate.read.strict_json import check_depth, check_text, describe, parse
from curate.rows.trees import MESSAGE_ID, PARENT_ID, ROLES, TREE, TREE_ID

_CACHE_KIB = 64 << 10
_AT_ONCE = 1000
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE trees (number INTEGER PRIMARY KEY, id TEXT UNIQUE);
CREATE TABLE messages (tree INTEGER, place INTEGER, line INTEGER, error TEXT, data BLOB);
CREATE INDEX by_tree ON messages (tree, place);
"""


class _Message(NamedTuple):
    """A message (`record`), or why it is none; `line` is its place in the file."""

    line: int
    error: str | None
    raw: bytes
    record: dict[str, Any]
    size: int = 0

    @property
    def parent(self) -> str | None:
        """The id of the message that it answers."""
        return self.record.get(PARENT_ID) or None


def trees_of(reads: Iterable[Read]) -> Iterator[Read]:
    """Yield a record for each tree of the messages `reads`, and each message that is in none.

    Raises:
        OSError: the temporary table has no room.
    """
    # A database without a name lies in memory as far as its cache goes, and is nobody else's.
    with contextlib.closing(sqlite3.connect("", check_same_thread=False)) as table:
        table.executescript(f"PRAGMA cache_size = -{_CACHE_KIB};" + _TABLES)
        try:
            _fill(table, reads)
            rows = table.execute(
                "SELECT tree, line, error, data FROM messages ORDER BY tree, place"
            )
            for _, found in itertools.groupby(rows, key=lambda row: row[0]):
                yield from _tree(_messages(found))
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            where = tempfile.gettempdir()
            raise OSError(errno.ENOSPC, "no room to group messages", where) from error


def _fill(table: sqlite3.Connection, reads: Iterable[Read]) -> None:
    """Put every message into the table, under the number of its tree."""
    number = "SELECT number FROM trees WHERE id = ?"
    put = "INSERT INTO messages VALUES (?, ?, ?, ?, ?)"
    waiting: list[tuple[int | None, int, int, str | None, bytes]] = []
    size = 0
    for place, read in enumerate(reads):
        error, data = read.error, read.raw
        tree = None
        if error is None:
            try:
                tree = _checked(read.record, known=bool(read.raw))
                data = dumps(read.record).encode()
            except (ValueError, TypeError, RecursionError) as wrong:
                error = describe(wrong)
                data = read.raw or str(read.record).encode("utf-8", "replace")[:RAW_BYTES]
        # What is not a message stands alone: equal ids of nothing make no tree.
        found = table.execute(number, (tree,)).fetchone() if tree is not None else None
        own = found[0] if found else None
        if own is None:
            own = table.execute("INSERT INTO trees (id) VALUES (?)", (tree,)).lastrowid
        waiting.append((own, place, read.line or place + 1, error, data))
        size += len(data)
        if len(waiting) == _AT_ONCE or size > _CACHE_KIB << 8:
            table.executemany(put, waiting)
            waiting, size = [], 0
    table.executemany(put, waiting)


def _checked(record: Any, *, known: bool) -> str:
    """Return the id of a message's tree; raise where it is not a message.

    What was read from text is `known` to be text that files can hold.
    """
    if not isinstance(record, Mapping):
        raise ValueError("a record must be a message, an object")
    if not known:
        check_text(record)
    check_depth(record)
    text_of(record, "text")
    text_of(record, MESSAGE_ID)
    if record.get("role") not in ROLES:
        raise ValueError(
            f"a message's role must be prompter or assistant: {record.get('role')!r:.40}"
        )
    if record.get(PARENT_ID) is not None:
        text_of(record, PARENT_ID)
    if "replies" in record:
        raise ValueError("column 'replies' is where a tree has the answers to a message; rename it")
    return text_of(record, TREE_ID)


def _messages(rows: Iterable[tuple[int, int, str | None, bytes]]) -> list[_Message]:
    """Return the messages of a tree; of one that is too large, their places alone."""
    found, size = list[_Message](), 0
    for _, line, error, data in rows:
        size += len(data)
        if size > GROUP_BYTES:
            why = f"its tree is larger than {GROUP_BYTES >> 20} MB"
            found = [m._replace(error=m.error or why, record={}) for m in found]
            found.append(_Message(line, error or why, data[:RAW_BYTES], {}))
        else:
            record = {} if error else parse(data.decode())
            found.append(_Message(line, error, data[:RAW_BYTES], record, len(data)))
    return found


def _tree(messages: list[_Message]) -> Iterator[Read]:
    """Yield the tree that the messages make, then those that are not in it."""
    failed = [m for m in messages if m.error]
    good: dict[str, _Message] = {}
    for message in messages:
        if message.error is None:
            first = good.setdefault(message.record[MESSAGE_ID], message)
            if first is not message:
                why = f"message '{message.record[MESSAGE_ID]}' stands at {first.line} already"
                failed.append(message._replace(error=why))
    answers: dict[str | None, list[str]] = {}
    for own, message in good.items():
        answers.setdefault(message.parent, []).append(own)
    root, *others = answers.get(None, [""])
    hung: set[str] = set()
    if root:
        nodes = {own: {**m.record, "replies": []} for own, m in good.items()}
        waiting = [root]
        while waiting:
            own = waiting.pop()
            hung.add(own)
            below = answers.get(own, [])
            nodes[own]["replies"] += [nodes[answer] for answer in below]
            waiting += below
            del nodes[own][TREE_ID]
        first = good[root]
        record = {TREE_ID: first.record[TREE_ID], TREE: nodes[root]}
        try:
            check_depth(record)
        except ValueError as error:
            yield Read(None, f"the tree is {error}", first.raw, first.line)
        else:
            size = sum(good[own].size for own in hung)
            yield Read(record, None, first.raw, first.line, size)
    for own, message in good.items():
        if own not in hung:
            failed.append(message._replace(error=_why_lost(own, good, others, root)))
    for message in sorted(failed, key=lambda m: m.line):
        yield Read(None, message.error, message.raw, message.line)


def _why_lost(own: str, good: Mapping[str, _Message], others: list[str], root: str) -> str:
    """Say why a message is not in its tree."""
    above, seen = own, set[str]()
    while (parent := good[above].parent) in good and above not in seen:
        seen.add(above)
        above = parent or ""
    whose = "its" if above == own else f"message '{above}', which it hangs below, has a"
    tree = good[own].record[TREE_ID]
    if above in seen:
        return f"its parents lead back to itself: message '{above}' answers one of its answers"
    if above in others:
        begins = "it begins" if above == own else f"message '{above}', above it, begins"
        return f"{begins} the tree '{tree}', which message '{root}' has begun already"
    missing = f"{whose} parent '{parent}'"
    return f"{missing}, which is not among the messages of the tree '{tree}'"
