"""The search for planted secrets finds each form in each kind of file: it could fail."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.system.planted import forms, search

KEY = "sk-Zq8/Yw+3nT7=vB2kLm9"


def in_database(path: Path, text: str) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE replies (text, content BLOB)")
    packed = zlib.compress(json.dumps({"said": text}).encode())
    database.execute("INSERT INTO replies VALUES ('', ?)", (packed,))
    database.commit()
    database.close()


def in_table(path: Path, text: str) -> None:
    rows = [{"messages": [{"role": "assistant", "content": f"so: {text}"}]}]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")


PLACES: dict[str, Callable[[Path, str], object]] = {
    "text": lambda path, text: path.write_text(f"so: {text} end"),
    "JSON": lambda path, text: path.write_text(json.dumps([json.dumps({"a": text})])),
    "packed": lambda path, text: path.write_bytes(gzip.compress(text.encode())),
    "table": in_table,
    "database": in_database,
}


@pytest.mark.parametrize("place", PLACES)
def test_each_form_is_found_in_each_kind_of_file(place: str, tmp_path: Path) -> None:
    for number, (name, form) in enumerate(forms(KEY).items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        PLACES[place](folder / "file", form)
        assert search(folder, {"the key": KEY}), (place, name)


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    for name, put in PLACES.items():
        put(tmp_path / name, "*** and sk-0000000000000000000")
    assert search(tmp_path, {"the key": KEY}) == []
    (tmp_path / f"a {KEY[:3]}").write_text("its name")
    (tmp_path / KEY.replace("/", "")).write_text("its name")
    assert search(tmp_path, {"the key": KEY.replace("/", "")})
