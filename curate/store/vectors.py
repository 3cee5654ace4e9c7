"""Vectors: lines of float32 in files that are mapped, found by encoder and text.

A process appends to segments of its own, one for each encoder, so that two of them never write one
file. A line is on the disk before the transaction that names it is committed: what a killed process
leaves behind the last named line is never read, and `curate store gc` cuts it off. A line of a
thousand numbers takes four thousand bytes; as JSON in SQLite it took five times that, and a
thousand times as long to read.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
import os
import secrets
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from curate.errors import StoppedShort, StoreError
from curate.system.posix import sync

Rows = list[tuple[Any, ...]]
Execute = Callable[[str, Sequence[Any]], Rows]
# A place is a segment, a line in it, and whether the encoder read only the beginning of the text.
# Zero stands for no vector yet, -1 and below for an encoder's answers that were none.
MISSING = 0
_SEGMENT, _LINE = 33, 1
_LINES = (1 << (_SEGMENT - _LINE)) - 1
_SEGMENTS = (1 << 30) - 1
# SQLite compiled with old defaults takes 999 parameters in one statement.
_LOOKUP, _ROWS = 900, 400
_ALL_SEGMENTS = "SELECT id, encoder, width FROM segments"
# So many lines are gathered at a time, and the pages that were read for them given back.
_BLOCK = 16_384
SCHEMA = """
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY, encoder TEXT NOT NULL, width INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS vectors (key BLOB NOT NULL UNIQUE, place INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS partly_read (place INTEGER PRIMARY KEY, tokens INTEGER NOT NULL);
"""


class VectorSegment(NamedTuple):
    """A file of lines, each of `width` numbers."""

    number: int
    encoder: str
    width: int

    def path(self, folder: Path) -> Path:
        """Return its file: in a folder for the encoder, which has a short name of its own."""
        return folder / _salt(self.encoder).hex()[:16] / f"{self.number}.f32"


class EncoderRoom(NamedTuple):
    """How many vectors of one encoder there are, and how many numbers each has."""

    encoder: str
    width: int
    vectors: int

    @property
    def bytes(self) -> int:
        """What they take."""
        return 4 * self.width * self.vectors


class EncodedVectors(NamedTuple):
    """What an encoder made of texts: a vector for each, and whether it read the whole text.

    `read` holds, by the number of a text that was not read in whole, a hash of what was read.
    """

    keys: Sequence[bytes]
    vectors: Sequence[Any]
    cut: Sequence[bool]
    attempt: int
    read: Mapping[int, int] = MappingProxyType({})


def vector_keys(encoder: str, texts: Sequence[str]) -> list[bytes]:
    """Return the keys of texts: 16 bytes over the encoder's identity and the text."""
    salt, hashed = _salt(encoder), hashlib.blake2b
    return [
        hashed(text.encode("utf-8", "surrogatepass"), digest_size=16, salt=salt).digest()
        for text in texts
    ]


@functools.cache
def _salt(encoder: str) -> bytes:
    return hashlib.blake2b(encoder.encode(), digest_size=16).digest()


def is_cut(places: np.ndarray) -> np.ndarray:
    """Tell which places hold vectors of texts that were too long for the encoder."""
    return np.asarray((places > 0) & (places & 1 == 1))


class Vectors:
    """The vectors of one store. Reading is for all threads, writing inside its transactions."""

    def __init__(self, folder: Path, execute: Execute) -> None:
        """Take the store's folder and its reading connection; nothing is opened yet."""
        self.folder, self._execute = folder / "vectors", execute
        self._lock = threading.Lock()
        self._known: dict[int, VectorSegment] = {}
        self._maps: dict[int, tuple[mmap.mmap, np.ndarray]] = {}
        self._own: dict[str, _Writer] = {}

    def close(self) -> None:
        """Close the files that are written."""
        for writer in self._own.values():
            writer.close()
        self._own.clear()
        self._maps.clear()

    # -- reading ----------------------------------------------------------------------------------

    def find(
        self, keys: Sequence[bytes], connection: sqlite3.Connection | None = None
    ) -> np.ndarray:
        """Return the place of each key, `MISSING` where there is none."""
        execute = self._reader(connection)
        found: dict[bytes, int] = {}
        for part in _parts(keys, _LOOKUP):
            marks = ",".join("?" * len(part))
            found.update(execute(f"SELECT key, place FROM vectors WHERE key IN ({marks})", part))
        return np.fromiter((found.get(key, MISSING) for key in keys), np.int64, len(keys))

    def _reader(self, connection: sqlite3.Connection | None) -> Execute:
        """Return what reads: inside a transaction, where one is given."""
        if connection is None:
            return self._execute
        return lambda sql, parameters: connection.execute(sql, parameters).fetchall()

    def width(self, places: np.ndarray) -> int:
        """Return the dimension of the vectors at `places`; 1 where there are none."""
        there = places[places > 0]
        return self._segment(int(there[0] >> _SEGMENT)).width if len(there) else 1

    def read(self, places: np.ndarray, width: int | None = None) -> np.ndarray:
        """Return the vectors at `places` as a matrix; a line of zeros where there is none."""
        out = np.zeros((len(places), width or self.width(places)), np.float32)
        for number in np.unique(places[places > 0] >> _SEGMENT).tolist():
            mine = np.flatnonzero(places >> _SEGMENT == number)
            lines = (places[mine] >> _LINE) & _LINES
            out[mine] = self._mapped(number, int(lines.max()) + 1)[lines]
        return out

    def tokens_read(
        self, places: np.ndarray, connection: sqlite3.Connection | None = None
    ) -> np.ndarray:
        """Return a hash of what was read of each text that was not read in whole, else 0."""
        execute = self._reader(connection)
        sql, known = "SELECT place, tokens FROM partly_read", dict[int, int]()
        if len(places) > _LOOKUP:
            known.update(execute(sql, ()))
        else:
            marks = ",".join("?" * len(places))
            known.update(execute(f"{sql} WHERE place IN ({marks})", places.tolist()))
        out = np.zeros(len(places), np.int64)
        if known:
            hit = np.flatnonzero(np.isin(places, np.fromiter(known, np.int64, len(known))))
            out[hit] = [known[place] for place in places[hit].tolist()]
        return out

    def blocks(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the lines of `read` in blocks, and give the pages of the files back in between."""
        width = self.width(places)
        for start in range(0, len(places), _BLOCK):
            yield self.read(places[start : start + _BLOCK], width)
            if hasattr(mmap, "MADV_DONTNEED"):
                with self._lock:
                    for data, _ in self._maps.values():
                        data.madvise(mmap.MADV_DONTNEED)

    def _segment(self, number: int) -> VectorSegment:
        if number not in self._known:
            sql = "SELECT id, encoder, width FROM segments WHERE id = ?"
            (row,) = self._execute(sql, (number,))
            self._known[number] = VectorSegment(*row)
        return self._known[number]

    def _mapped(self, number: int, lines: int) -> np.ndarray:
        """Return a segment as a matrix with at least so many lines; it may have grown."""
        with self._lock:
            found = self._maps.get(number)
            if found is None or len(found[1]) < lines:
                segment = self._segment(number)
                try:
                    with segment.path(self.folder).open("rb") as file:
                        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                except (OSError, ValueError) as error:
                    raise self._damaged(number, f"cannot be read ({error})") from error
                there = len(data) // (4 * segment.width)
                flat = np.frombuffer(data, np.float32, there * segment.width)
                found = self._maps[number] = data, flat.reshape(there, segment.width)
            matrix = found[1]
            if len(matrix) < lines:
                raise self._damaged(number, f"has {len(matrix)} lines where {lines} were written")
            return matrix

    def _damaged(self, number: int, what: str) -> StoreError:
        path = self._segment(number).path(self.folder)
        return StoreError(
            f"{path} {what}; if 'curate store gc' ran meanwhile, run the same command again, else "
            f"choose another store with --store, or delete {self.folder} and run 'curate store gc' "
            "(its texts will be encoded again)"
        )

    # -- writing ----------------------------------------------------------------------------------

    def save(
        self, connection: sqlite3.Connection, encoder: str, encoded: EncodedVectors
    ) -> np.ndarray:
        """Store vectors inside a transaction; return the places of the keys from now on.

        Where another process was first, its vector stays, unless it was none.
        """
        matrix = _matrix(encoder, encoded.vectors, len(encoded.keys))
        places = self.find(encoded.keys, connection)
        # The last of equal keys stands for all of them.
        new = {encoded.keys[i]: i for i in np.flatnonzero(places <= 0).tolist()}
        sound = [i for i in new.values() if np.isfinite(matrix[i]).all()]
        named = {key: -1 - encoded.attempt for key in new}
        if sound:
            writer = self._writer(connection, encoder, matrix.shape[1])
            first = writer.append(matrix[sound])
            for line, i in enumerate(sound, first):
                head = writer.segment.number << _SEGMENT | line << _LINE
                named[encoded.keys[i]] = head | bool(encoded.cut[i])
            partly = [(named[encoded.keys[i]], encoded.read[i]) for i in sound if i in encoded.read]
            connection.executemany("INSERT OR REPLACE INTO partly_read VALUES (?, ?)", partly)
        for part in _parts(list(named.items()), _ROWS):
            rows = ",".join(["(?,?)"] * len(part))
            connection.execute(
                f"INSERT INTO vectors (key, place) VALUES {rows} "
                "ON CONFLICT (key) DO UPDATE SET place = excluded.place WHERE place <= 0",
                [value for one in part for value in one],
            )
        return self.find(encoded.keys, connection)

    def _writer(self, connection: sqlite3.Connection, encoder: str, width: int) -> _Writer:
        """Return this process's segment for `encoder`, made in this transaction if need be."""
        sql = "SELECT width FROM segments WHERE encoder = ? LIMIT 1"
        row = connection.execute(sql, (encoder,)).fetchone()
        if row is not None and row[0] != width:
            raise StoppedShort(
                f"encoder {encoder} gave vectors of {width} numbers, but those in the store have "
                f"{row[0]}: another model answers under its name. Give it an 'identity: NAME' of "
                "its own in the recipe's encoders, and run again"
            )
        writer = self._own.get(encoder)
        if writer is not None and writer.is_known(connection):
            return writer
        if writer is not None:
            writer.close()
        # By chance, not counted: after a rollback two processes would have the same number.
        segment = VectorSegment(1 + secrets.randbelow(_SEGMENTS), encoder, width)
        connection.execute("INSERT INTO segments (id, encoder, width) VALUES (?, ?, ?)", segment)
        self._own[encoder] = _Writer(segment, self.folder)
        # The reading connection does not see it before the commit.
        self._known[segment.number] = segment
        return self._own[encoder]

    # -- looking after them -----------------------------------------------------------------------

    def compact(self, connection: sqlite3.Connection) -> list[Path]:
        """Put the vectors of each encoder into one segment; return the files to delete after it.

        No other process can be writing meanwhile: it waits for this transaction.
        """
        by_encoder: dict[tuple[str, int], list[VectorSegment]] = {}
        for segment in _segments(connection):
            if segment.path(self.folder).is_file():
                by_encoder.setdefault(segment[1:], []).append(segment)
            else:
                _forget(connection, segment)
        for segments in by_encoder.values():
            self._merge(connection, segments)
        named = {segment.path(self.folder) for segment in _segments(connection)}
        return [path for path in self.folder.glob("*/*.f32") if path not in named]

    def _merge(self, connection: sqlite3.Connection, segments: Sequence[VectorSegment]) -> None:
        _, encoder, width = segments[0]
        marks = ",".join(str(segment.number) for segment in segments)
        sql = f"SELECT key, place FROM vectors WHERE place >> {_SEGMENT} IN ({marks}) ORDER BY 2"
        rows = connection.execute(sql).fetchall()
        size = sum(segment.path(self.folder).stat().st_size for segment in segments)
        if rows and len(segments) == 1 and size == 4 * width * len(rows):
            return
        connection.execute(f"DELETE FROM segments WHERE id IN ({marks})")
        if writer := self._own.pop(encoder, None):
            writer.close()
        places, line = np.array([place for _, place in rows], np.int64), 0
        for block in self.blocks(places) if rows else ():
            writer = self._writer(connection, encoder, width)
            first = writer.segment.number << _SEGMENT
            line = writer.append(block)
            moved = [
                (first | (line + n) << _LINE | (place & 1), key)
                for n, (key, place) in enumerate(rows[line : line + len(block)])
            ]
            connection.executemany("UPDATE vectors SET place = ? WHERE key = ?", moved)
            old = (place for _, place in rows[line : line + len(block)])
            now = (place for place, _ in moved)
            connection.executemany(
                "UPDATE partly_read SET place = ? WHERE place = ?", zip(now, old, strict=True)
            )

    def copy_to(self, folder: Path) -> None:
        """Copy the files of all vectors; more lines than were named may be at their ends."""
        for segment in map(VectorSegment._make, self._execute(_ALL_SEGMENTS, ())):
            path, copy = segment.path(self.folder), segment.path(folder)
            if path.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)

    def forget(self, connection: sqlite3.Connection, encoder: str) -> list[Path]:
        """Let go of all vectors of `encoder`; return the files to delete after the transaction."""
        segments = [one for one in _segments(connection) if one.encoder == encoder]
        if writer := self._own.pop(encoder, None):
            writer.close()
        for segment in segments:
            _forget(connection, segment)
        return [segment.path(self.folder) for segment in segments]

    def count(self) -> int:
        """Return how many vectors there are."""
        return int(self._execute("SELECT COUNT(*) FROM vectors WHERE place > 0", ())[0][0])

    def by_encoder(self) -> list[EncoderRoom]:
        """Return what the vectors of each encoder take, in the order of the encoders' names."""
        counts = f"SELECT place >> {_SEGMENT}, COUNT(*) FROM vectors WHERE place > 0 GROUP BY 1"
        in_segment: dict[int, int] = dict(self._execute(counts, ()))
        found = Counter[tuple[str, int]]()
        for segment in map(VectorSegment._make, self._execute(_ALL_SEGMENTS, ())):
            found[segment[1:]] += in_segment.get(segment.number, 0)
        return [EncoderRoom(*key, count) for key, count in sorted(found.items()) if count]


class _Writer:
    """A segment that this process appends to."""

    def __init__(self, segment: VectorSegment, folder: Path) -> None:
        self.segment, self._lines = segment, 0
        path = segment.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        for place in (path.parent, folder, folder.parent):
            sync(place)

    def append(self, matrix: np.ndarray) -> int:
        """Write lines, durably; return the number of the first one."""
        first, data = self._lines, memoryview(matrix.tobytes())
        at = first * 4 * self.segment.width
        while data:
            written = os.pwrite(self._file, data, at)
            at, data = at + written, data[written:]
        os.fsync(self._file)
        self._lines = first + len(matrix)
        return first

    def is_known(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the transaction that made the segment was committed, or is this one."""
        sql = "SELECT 1 FROM segments WHERE id = ? AND encoder = ?"
        found = connection.execute(sql, (self.segment.number, self.segment.encoder))
        return found.fetchone() is not None

    def close(self) -> None:
        os.close(self._file)


def _matrix(encoder: str, vectors: Sequence[Any], count: int) -> np.ndarray:
    """Return vectors as a matrix, or raise when they are not one for each text, of one length."""
    if len(vectors) != count or not all(isinstance(one, Sized) for one in vectors):
        found = f"{len(vectors)} values" if len(vectors) != count else "values that are not vectors"
        raise StoppedShort(
            f"encoder {encoder} gave {found} for {count} texts; it must give a list of numbers for "
            "each. Check which server answers there, and run the same command again"
        )
    widths = sorted({len(vector) for vector in vectors})
    if len(widths) != 1 or not widths[0]:
        found = " and ".join(map(str, widths)) or "no"
        raise StoppedShort(
            f"encoder {encoder} gave vectors of {found} numbers; they must have one length. Check "
            "which server answers there, and run the same command again"
        )
    return np.array(list(vectors), np.float32).reshape(len(vectors), widths[0])


def _segments(connection: sqlite3.Connection) -> list[VectorSegment]:
    return [VectorSegment._make(row) for row in connection.execute(_ALL_SEGMENTS).fetchall()]


def _forget(connection: sqlite3.Connection, segment: VectorSegment) -> None:
    """Let the texts of a segment whose file is gone be encoded again."""
    number = (segment.number,)
    for table in ("vectors", "partly_read"):
        connection.execute(f"DELETE FROM {table} WHERE place >> {_SEGMENT} = ?", number)
    connection.execute("DELETE FROM segments WHERE id = ?", number)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
