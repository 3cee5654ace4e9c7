"""Secrets planted in tests: the forms in which one may come back, and a search through every file.

The search knows nothing of how the package masks: it spells each form out and looks for it in what
a folder holds, in the bytes as they lie there and in what packed files, tables and databases hold.
"""

from __future__ import annotations

import functools
import gzip
import re
import shutil
import sqlite3
import tempfile
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq


def forms(key: str) -> dict[str, str]:
    """Return the forms in which `key` may come back, by what they are called."""
    return {
        "plain": key,
        "small letters": key.lower(),
        "JSON escapes": "".join(f"\\u{ord(c):04X}" for c in key),
        "bytes as escapes": "".join(f"\\x{ord(c):02x}" for c in key),
        "percent": quote(key, safe=""),
        "percent of a path": quote(key),
        "HTML": "".join(f"&#{ord(c)};" for c in key),
        "over lines": "\n".join((key[:9], key[9:])),
        "over escaped lines": "\\n".join(key),
        **{f"base64 {n}": b64encode(b"Bearer "[:n] + key.encode()).decode() for n in range(1, 8)},
        "base64 of URLs": urlsafe_b64encode(key.encode()).decode(),
    }


class Searched:
    """A text, made ready to be searched for several keys.

    A file of JSON doubles backslashes, and writes a line break as one; base64 is cut at will.
    """

    def __init__(self, text: str) -> None:
        self._flat = re.sub(r"\\{2,}", r"\\", text) if "\\\\" in text else text
        self._joined = re.sub(r"\\n|\s", "", self._flat)

    def form_of(self, key: str) -> str | None:
        """Return the form in which `key` stands here, or `None`."""
        return next((name for name, form in _searched(key) if form in self._joined), None)


@functools.cache
def _searched(key: str) -> list[tuple[str, str]]:
    found = []
    for name, form in forms(key).items():
        if name.startswith("base64"):
            # Where the key begins and ends within three bytes, a letter depends on what is beside.
            form = form.rstrip("=")[3:-2]
        found.append((name, re.sub(r"\\n|\s", "", form)))
    return found


def found_in(text: str, key: str) -> str | None:
    """Return the form in which `key` stands in `text`, or `None`."""
    return Searched(text).form_of(key)


def search(place: Path, keys: dict[str, str]) -> list[str]:
    """Return where a key stands in the files below `place`: file, whose key, in which form."""
    found = list[str]()
    for path in sorted(one for one in place.rglob("*") if one.is_file() and not one.is_symlink()):
        for where, text in [("name", path.name), *_texts(path)]:
            searched = Searched(text)
            found += [
                f"{path.relative_to(place)} ({where}): {name}, {form}"
                for name, key in keys.items()
                if (form := searched.form_of(key)) is not None
            ]
    return found


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    data = path.read_bytes()
    yield "bytes", data.decode("utf-8", "surrogateescape")
    if data.startswith(b"\x1f\x8b"):
        yield "unpacked", gzip.decompress(data).decode("utf-8", "replace")
    elif data.startswith(b"PAR1"):
        yield "table", _said(pq.read_table(path).to_pylist())
        yield "schema", _said(pq.read_schema(path).metadata)
    elif data.startswith(b"ARROW1"):
        yield "table", _said(pa.ipc.open_file(path).read_all().to_pylist())
    elif data.startswith(b"SQLite format 3"):
        # A copy: whoever opens the database itself may empty the log beside it.
        with tempfile.TemporaryDirectory() as folder:
            for ending in ("", "-wal"):
                if (beside := path.with_name(path.name + ending)).exists():
                    shutil.copy(beside, Path(folder) / f"copy{ending}")
            database = sqlite3.connect(Path(folder) / "copy")
            sql = "SELECT name FROM sqlite_master WHERE type = 'table'"
            for (table,) in database.execute(sql).fetchall():
                rows = database.execute(f"SELECT * FROM {table}").fetchall()
                yield table, "\0".join(_value(value) for row in rows for value in row)
            database.close()


def _value(value: object) -> str:
    if isinstance(value, bytes):
        try:
            return zlib.decompress(value).decode("utf-8", "replace")
        except zlib.error:
            return value.decode("utf-8", "replace")
    return str(value)


def _said(value: object) -> str:
    """Return all texts in a value, unescaped."""
    if isinstance(value, dict):
        return "\0".join(f"{_said(name)}\0{_said(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return "\0".join(map(_said, value))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
