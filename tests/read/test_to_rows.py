"""Rows and the lines they came as; parts; every format alike."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.read import open_inputs, raw_lines, read_part
from tests.read.reading import alpaca, lines_of, read_all


def test_rows_and_their_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [lines_of(alpaca(output=str(n))) for n in range(4)]
    path.write_bytes(b"\xef\xbb\xbf" + lines[0] + b"  \n" + lines[1] + b"bad\n" + lines[2].strip())
    [part] = open_inputs(str(path)).parts()
    found = read_part(part)
    assert found.ordinals.tolist() == [0, 1, 3]
    assert raw_lines(part, found.ordinals).to_pylist() == lines[:3]
    assert raw_lines(part, np.array([1])).to_pylist() == [lines[1]]


def test_parts_are_cut_by_rows_and_bytes_alone(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of(*(alpaca(output="x" * (n % 300)) for n in range(40_000))))
    cuts = [(p.offset, p.length) for p in open_inputs(str(path)).parts()]
    assert len(cuts) == 3
    from curate.read import lines as cutting

    monkeypatch.setattr(cutting, "_BLOCK", 999)
    assert [(p.offset, p.length) for p in open_inputs(str(path)).parts()] == cuts
    assert sum(length for _, length in cuts) == path.stat().st_size
    monkeypatch.setattr(cutting, "PART_BYTES", 100_000)
    small = [p.length for p in open_inputs(str(path)).parts()]
    assert max(small) <= 100_000
    assert sum(small) == path.stat().st_size


@pytest.mark.parametrize("ending", ["jsonl.gz", "jsonl.zst", "json", "parquet", "csv", "tsv"])
def test_every_format_gives_the_same_rows(tmp_path, ending):
    from curate.write import write_rows

    records = [
        alpaca(
            input="x\ny" * (n % 3), output=f'"{n}",\t\\ "\u4f60\U0001f600', instruction=f"do {n}"
        )
        for n in range(100)
    ]
    table = read_all(records).table
    whole = table.append_column("id", pa.array([b"0" * 16] * 100, pa.binary(16)))
    whole = whole.append_column("seq", pa.array([[0, 0, i] for i in range(100)]))
    assert write_rows([whole], tmp_path / f"rows.{ending}", "alpaca") == 100
    assert read_all(str(tmp_path / f"rows.{ending}")).table.equals(table)
