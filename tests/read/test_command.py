"""Broken input through the real command: exit code, message, places and counts."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from tests.read.reading import alpaca, lines_of

GOOD = lines_of(alpaca())
DEEP = b"[" * 20_000 + b"]" * 20_000
HEADER = b"instruction,input,output\n"


def with_output(raw: bytes) -> bytes:
    """Return a line whose output is `raw` JSON."""
    return b'{"instruction": "a", "input": "", "output": ' + raw + b"}\n"


# name of the file: content, rows read, lines that fail
READ = {
    "broken.jsonl": (GOOD * 3 + b'{"instruction": \n' + GOOD, 5, [4]),
    "types.jsonl": (GOOD + with_output(b"[1]") + b"7\nnull\n" + GOOD, 5, [2, 3, 4]),
    "late.jsonl": (GOOD * 30_001 + with_output(b"7") + GOOD, 30_003, [30_002]),
    "utf8.jsonl": (GOOD + with_output(b'"\xff"') + GOOD, 3, [2]),
    "nul.jsonl": (GOOD + b"\x00\x00\n" + GOOD, 3, [2]),
    "bom.jsonl": (b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") * 3, 3, []),
    "surrogate.jsonl": (GOOD + with_output(rb'"\ud800"') + GOOD, 3, [2]),
    "nan.jsonl": (GOOD + with_output(b"NaN") + with_output(b"-Infinity") + GOOD, 4, [2, 3]),
    "twice.jsonl": (GOOD + b'{"output": "a", "output": "b"}\n' + GOOD, 3, [2]),
    "deep_known.jsonl": (GOOD + with_output(DEEP) + GOOD, 3, [2]),
    "deep_unknown.jsonl": (GOOD + with_output(b'"b", "z": ' + DEEP) + GOOD, 3, [2]),
    "deep_first.jsonl": (b'{"z": ' + DEEP + b"}\n" + GOOD, 2, [1]),
    "deep_open.jsonl": (GOOD + b"[" * 20_000 + b"\n" + GOOD, 3, [2]),
    "broken.json": (b"[" + GOOD + b', {"instruction": , ' + GOOD + b"]", 2, [2]),
    "widths.csv": (HEADER + b"a,b,c d\na,b\na,b,c,d\nz,,\xff\nlast,,one\n", 5, [3, 4, 5]),
}
REFUSED = {
    "empty.jsonl": (b"", "the file is empty"),
    "rows.parquet": (GOOD, "its name says .parquet"),
    "rows.jsonl.gz": (GOOD, "its name says .jsonl.gz"),
    "rows.csv": (b"PAR1\x00\xff\x00", "its content is .parquet"),
    "cut.parquet": (b"PAR1" + bytes(100) + b"PAR1", "not a readable Parquet file"),
    "rows.xyz": (GOOD, "cannot tell its format; allowed endings"),
}


WORDS = ["length:min=1", "-o", "out.jsonl", "--run", "run"]


def keep_all(folder, name, content):
    """Run `curate filter` over a file; return how it ended and its report, if it wrote one."""
    (folder / name).write_bytes(content)
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, ["filter", name, *WORDS], prog_name="curate")
    assert isinstance(done.exception, SystemExit | None), "no traceback"
    report = folder / "run" / "report.json"
    return done, json.loads(report.read_text()) if report.exists() else None


@pytest.mark.parametrize("name", READ)
def test_bad_lines_fail_with_their_place_and_cost_no_other_row(tmp_path, name):
    content, rows, failed = READ[name]
    done, report = keep_all(tmp_path, name, content)
    assert done.exit_code == (1 if failed else 0), done.stderr
    assert [place["line"] for place in report["unreadable"]] == failed
    assert all(place["file"].endswith(name) for place in report["unreadable"])
    assert (report["in"], report["failed"]) == (rows, len(failed))
    assert report["kept"] == rows - len(failed)
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == report["kept"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_a_readable_row_is_refused(tmp_path, name):
    content, message = REFUSED[name]
    done, report = keep_all(tmp_path, name, content)
    assert (done.exit_code, report) == (2, None)
    assert message in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_a_truncated_gzip_keeps_the_rows_before_the_break(tmp_path):
    """Through a process of its own, as a user runs it."""
    lines = b"".join(lines_of(alpaca(output=f"number {i * 7919 % 104_729}")) for i in range(3000))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines)[:-200])
    command = [str(Path(sys.executable).with_name("curate")), "filter", "rows.jsonl.gz", *WORDS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["failed"] == 1
    assert 0 < report["kept"] < 3000
    assert report["unreadable"][0]["line"] == report["kept"] + 1
