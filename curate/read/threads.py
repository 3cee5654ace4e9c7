"""Bring the posts of a StackExchange dump together: each question with its answers.

A question and its answers may stand anywhere in a dump, so that all posts go through a temporary
table, as messages of trees do; only one question is held at a time. Questions come in the order of
their numbers, as in the dump. What is neither a question nor an answer (wikis, nominations), an
answer whose question is missing, and a question without an answer are unreadable records with
their own places.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from curate.read.part import GROUP_BYTES, RAW_BYTES, Read
from curate.read.shapes.people.stack_exchange import ANSWERS
from curate.read.shapes.people.stack_exchange_posts import ANSWER, PARENT, POST, QUESTION, TYPE
from curate.read.shapes.record_fields import dumps
from curate.read.strict_json import check_depth, check_text, describe, parse

_CACHE_KIB = 64 << 10
# What an integer of SQLite holds.
_MOST = (1 << 63) - 1
_TABLE = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE posts (thread INTEGER, answer INTEGER, line INTEGER, data BLOB);
"""


def threads_of(reads: Iterable[Read]) -> Iterator[Read]:
    """Yield a record for each question of the posts `reads`, and each post that is in none.

    Raises:
        OSError: the temporary table has no room.
    """
    # A database without a name lies in memory as far as its cache goes, and is nobody else's.
    with contextlib.closing(sqlite3.connect("", check_same_thread=False)) as table:
        table.executescript(f"PRAGMA cache_size = -{_CACHE_KIB};" + _TABLE)
        try:
            yield from _fill(table, reads)
            table.execute("CREATE INDEX by_thread ON posts (thread, answer, line)")
            rows = table.execute(
                "SELECT thread, answer, line, data FROM posts INDEXED BY by_thread "
                "ORDER BY thread, answer, line"
            )
            for _, own in itertools.groupby(rows, key=lambda row: row[0]):
                question: dict[str, Any] | None = None
                answers, size, first = list[Any](), 0, (0, b"")
                for thread, is_answer, line, data in own:
                    size += len(data)
                    why = None
                    if size > GROUP_BYTES:
                        why = f"its question and answers are larger than {GROUP_BYTES >> 20} MB"
                    elif is_answer and question is None:
                        why = f"its question {thread} is not in the dump"
                    elif is_answer:
                        answers.append(parse(data.decode()))
                    elif question is not None:
                        why = f"the question {thread} is there already"
                    else:
                        question, first = parse(data.decode()), (line, data[:RAW_BYTES])
                    if why is not None:
                        yield Read(None, why, data[:RAW_BYTES], line)
                if question is not None and not answers:
                    yield Read(None, "the question has no answer", first[1], first[0])
                elif question is not None:
                    yield Read({**question, ANSWERS: answers}, None, first[1], first[0], size)
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            where = tempfile.gettempdir()
            raise OSError(errno.ENOSPC, "no room to group posts", where) from error


def _fill(table: sqlite3.Connection, reads: Iterable[Read]) -> Iterator[Read]:
    """Put every post into the table, by the number of its question; yield those that are none."""
    for place, read in enumerate(reads, 1):
        line, post = read.line or place, read.record
        try:
            if read.error is not None:
                raise ValueError(read.error)
            if not isinstance(post, Mapping):
                raise ValueError("a record must be a post, an object")
            if not read.raw:
                check_text(post)
            check_depth(post)
            kind = str(post.get(TYPE))
            if kind not in (QUESTION, ANSWER):
                raise ValueError(
                    f"type {post.get(TYPE)!r:.20} is that of no question (1) and no answer (2)"
                )
            thread = int(post[POST] if kind == QUESTION else post[PARENT])
            if abs(thread) > _MOST:
                raise ValueError(f"the number {thread} of a question is out of range")
            data = dumps(post).encode()
        except (ValueError, TypeError, KeyError, RecursionError) as wrong:
            why = f"no {wrong}" if isinstance(wrong, KeyError) else describe(wrong)
            raw = read.raw or str(post).encode("utf-8", "replace")[:RAW_BYTES]
            yield Read(None, f"not a post: {why}", raw, line)
            continue
        table.execute("INSERT INTO posts VALUES (?, ?, ?, ?)", (thread, kind == ANSWER, line, data))
