"""Files without rows beside files with rows, in a whole run."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from curate.errors import InputError
from curate.steps import Length

from .conftest import assert_conserved, run

ROW = json.dumps({"instruction": "Say hello.", "output": "Hello to you."}) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.jsonl", b""),
        ("b.jsonl", b"\n\n"),
        ("b.jsonl", b"\xef\xbb\xbf"),
        ("b.jsonl", b"\xef\xbb\xbf\n \n"),
        # More than the first bytes, by which the form of a file is told.
        ("b.jsonl", b"\n" * 5000),
        ("b.json", b"[]"),
        ("b.csv", b"\n\n"),
        ("b.csv", b"instruction,output\n"),
        ("b.jsonl.gz", gzip.compress(b"")),
    ],
)
def test_a_file_without_rows_does_not_stop_a_run(tmp_path: Path, name: str, content: bytes) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_bytes(content)
    with pytest.raises(InputError, match=r"the file is empty|it holds no rows"):
        run([Length(min=1)], str(data), tmp_path / "alone")
    for full in ("a", "c"):
        (data / f"{full}.jsonl").write_text(ROW, encoding="utf-8")
    result = run([Length(min=1)], str(data), tmp_path)
    assert_conserved(result)
    assert (result.summary["in"], result.summary["kept"]) == (2, 2)


def test_a_file_of_broken_lines_stops_a_run_also_beside_one_with_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(ROW * 300 + "\n", encoding="utf-8")
    given = {"all": {"path": f"{tmp_path}/[ab].jsonl", "shape": "alpaca"}}
    assert run([Length(min=1)], given, tmp_path).summary["in"] == 301
    (tmp_path / "b.jsonl").write_text("{'no': json}\n\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.jsonl: not one readable row; .*line 1"):
        run([Length(min=1)], given, tmp_path / "again")
