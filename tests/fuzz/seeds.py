"""The small real files that are mutated: this tree's own fixtures, and ../shared/cases."""

from __future__ import annotations

import functools
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.read.shapes.test_known import TABLE
from tests.read.shapes.test_traces import CLAUDE, CODEX, PI

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT.parent / "shared" / "cases"
PEOPLE = ROOT / "tests" / "read" / "shapes" / "people" / "data"
_MOST_BYTES = 8_000
_CHAT = [{"role": "user", "content": "Name a tree."}, {"role": "assistant", "content": "An elm."}]
RECORDS: dict[str, list[dict[str, Any]]] = {
    "messages": [{"messages": _CHAT, "tools": [{"type": "function", "function": {"name": "f"}}]}]
    * 2,
    "alpaca": [{"instruction": "Say.", "input": "", "output": f"{n}.", "n": n} for n in range(3)],
    "preference": [{"prompt": "a", "chosen": "b c", "rejected": "d", "margin": 0.5}] * 2,
    "unpaired": [{"prompt": "a", "completion": "b c", "label": True}] * 2,
    "ranked": [
        {"prompt": "a", "candidates": [{"messages": _CHAT[1:], "score": n, "model": "m"}]}
        for n in (1, 2)
    ],
    "hh": [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}]
    * 2,
    "oasst": [
        {
            "message_id": "a",
            "parent_id": None,
            "message_tree_id": "a",
            "text": "q",
            "role": "prompter",
        },
        {
            "message_id": "b",
            "parent_id": "a",
            "message_tree_id": "a",
            "text": "r",
            "role": "assistant",
        },
    ],
    "claude": CLAUDE,
    "codex": CODEX,
    "pi": PI,
    **{name: [record for record, _ in rows] for name, (_, rows) in TABLE.items()},
}


@functools.cache
def record_lists() -> list[list[dict[str, Any]]]:
    """Return lists of records, one for each form in which they are found in the wild."""
    found = list(RECORDS.values())
    for path in sorted(CASES.glob("*.jsonl")):
        try:
            records = [json.loads(line) for line in path.read_bytes().splitlines()[:4]]
        except ValueError:
            continue
        if path.stat().st_size < 20 * _MOST_BYTES and all(isinstance(r, dict) for r in records):
            found.append(records)
    for path in sorted(PEOPLE.glob("*.json")):
        if isinstance(records := json.loads(path.read_bytes()), list):
            found.append(records[:4])
    return found


def lines_of(records: list[Any]) -> bytes:
    """Return records as JSON lines."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@functools.cache
def files(*endings: str) -> list[bytes]:
    """Return the bytes of small files whose names end so."""
    folders = (CASES, PEOPLE, ROOT / "pipelines" / "data", ROOT / "tests")
    paths = [p for folder in folders if folder.is_dir() for p in sorted(folder.rglob("*"))]
    found = [p.read_bytes() for p in paths if p.is_file() and p.name.endswith(endings)]
    return [data[:_MOST_BYTES] for data in found]


@functools.cache
def tables() -> list[pa.Table]:
    """Return tables whose columns are those of records."""
    found = []
    for records in record_lists():
        try:
            table = pa.Table.from_pylist(records)
            parquet(table)
            found.append(table)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
    return found + [pq.read_table(path) for path in sorted(CASES.glob("V_*.parquet"))]


def parquet(table: pa.Table, compression: str = "zstd") -> bytes:
    """Return a table as a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table, out, compression=compression)
    return out.getvalue()


def arrow(table: pa.Table, is_file: bool) -> bytes:
    """Return a table as one of Arrow's files, or its stream."""
    out = io.BytesIO()
    opened = pa.ipc.new_file if is_file else pa.ipc.new_stream
    with opened(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def pdf(text: str) -> bytes:
    """Return a PDF of one page that shows a text."""
    return pdf_of(f"BT /F1 12 Tf 9 9 Td ({text}) Tj ET".encode())


def pdf_of(stream: bytes, filters: bytes = b"") -> bytes:
    """Return a PDF of one page whose content is `stream`, packed by `filters`, if any."""
    packed = b"/Filter %s" % filters if filters else b""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<<%s/Length %d>>stream\n%s\nendstream" % (packed, len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
    return out + end % (table, len(out))


@functools.cache
def finished_run() -> dict[str, bytes]:
    """Return the files of a finished run by their names."""
    from curate import Pipeline
    from curate.steps import Length

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        rows = RECORDS["alpaca"]
        Pipeline([Length(max=9, on="whole")]).run(rows, run=run, store=Path(folder) / "store")
        paths = sorted(path for path in run.rglob("*") if path.is_file())
        return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}
