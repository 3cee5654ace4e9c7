"""Files that fill the memory of whoever holds them: each is refused in words, in bounded memory.

Every bomb is read by a process of its own, whose peak of memory and processor time are measured.
"""

from __future__ import annotations

import atexit
import bz2
import functools
import gzip
import json
import lzma
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError
from curate.read.arrow.arrow_messages import messages_of
from curate.read.arrow.parquet_pages import columns_of
from tests.fuzz.seeds import pdf_of
from tests.read.reading import alpaca, lines_of

pytestmark = pytest.mark.slow
MB = 1 << 20
MOST_MB, MOST_SECONDS = 500, 30
GOOD = lines_of(alpaca())
ELEMENT = GOOD.strip()
# One such character, and Python holds each of its text in four bytes.
WIDE = "\U0001f600".encode()
HEADER = b"instruction,output\na,b\n"
FLAN = b"A question of more than forty characters, so that it is none\tan answer\twhy\n"

CHILD = Path(__file__).with_name("bomb_child.py")


@functools.cache
def reader() -> subprocess.Popen[str]:
    """Return the process that reads files, each in a process of its own."""
    command = [sys.executable, str(CHILD)]
    found = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end() -> None:
        found.communicate()

    atexit.register(end)
    return found


def read(path: Path) -> dict[str, Any]:
    """Return the rows, failures and error of a file, once its peak and time are below the most."""
    child = reader()
    assert child.stdin and child.stdout
    child.stdin.write(json.dumps(str(path)) + "\n")
    child.stdin.flush()
    code, answer, complaints = json.loads(child.stdout.readline())
    assert (code, complaints) == (0, "")
    found: dict[str, Any] = json.loads(answer)
    megabytes, seconds = found["used"]
    assert megabytes < MOST_MB
    assert seconds < MOST_SECONDS
    return found


def filled(head: bytes, unit: bytes, size: int, tail: bytes) -> Iterator[bytes]:
    """Yield `head`, about `size` bytes of `unit`, and `tail`."""
    block = unit * (MB // len(unit))
    yield head
    for _ in range(size // len(block)):
        yield block
    yield tail


def write(path: Path, pieces: Iterator[bytes]) -> Path:
    """Write pieces, packed as the file's name says."""
    packers: dict[str, Callable[..., Any]] = {
        ".gz": functools.partial(gzip.open, compresslevel=1),
        ".xz": functools.partial(lzma.open, preset=0),
        ".bz2": functools.partial(bz2.open, compresslevel=1),
        ".zst": lambda path, mode: pa.output_stream(str(path), compression="zstd"),
    }
    with packers.get(path.suffix, open)(path, mode="wb") as file:
        for piece in pieces:
            file.write(piece)
    return path


# -- lines of JSON --------------------------------------------------------------------------------


def member(value: bytes, unit: bytes, size: int, end: bytes) -> Iterator[bytes]:
    """Yield a line between two good ones, one member of which is large."""
    head = GOOD + b'{"instruction": "a", "output": "b", "m": ' + value
    return filled(head, unit, size, end + b"}\n" + GOOD)


LINES = {
    "text": (lambda: member(b'"', b"x", 120 * MB, b'"'), "longer than 16 MB"),
    "objects": (lambda: member(b"[", b"{},", 15 * MB, b"{}]"), "more than 1,000,000 values"),
    "numbers": (lambda: member(b"[", b"1,", 15 * MB, b"1]"), "more than 1,000,000 values"),
    "brackets": (lambda: member(b"", b"[", 15 * MB, b""), "more than 1,000,000 values"),
    "digits": (lambda: member(b"", b"1", 15 * MB, b""), "digits"),
}


@pytest.mark.parametrize("name", LINES)
def test_a_large_line_fails_alone(tmp_path, name):
    make, error = LINES[name]
    found = read(write(tmp_path / "rows.jsonl", make()))
    assert found["rows"] == 2
    [(line, said, raw)] = found["failed"]
    assert line == 2
    assert error in said
    assert raw <= 64 << 10


@pytest.mark.slow
@pytest.mark.parametrize("packing", [".gz", ".xz", ".bz2", ".zst"])
def test_a_line_that_unpacks_to_a_gigabyte_fails_alone(tmp_path, packing):
    path = write(tmp_path / f"rows.jsonl{packing}", member(b'"', b"x", 1024 * MB, b'"'))
    assert path.stat().st_size < 8 * MB
    found = read(path)
    assert found["rows"] == 2
    assert [(line, error) for line, error, _ in found["failed"]] == [(2, "longer than 16 MB")]


@pytest.mark.parametrize("unit", [b"x, y ", b"\\n "], ids=["plain", "escaped"])
def test_a_line_just_below_the_limit_is_read(tmp_path, unit):
    path = write(tmp_path / "rows.jsonl", member(b'"' + WIDE, unit, 15 * MB, b'"'))
    found = read(path)
    assert (found["rows"], found["failed"]) == (3, [])


def test_values_are_counted_outside_of_texts(tmp_path):
    commas = '"[{,' * 300_000
    lines = lines_of(alpaca(), alpaca(output=commas), alpaca(notes=[commas, 1]))
    path = write(tmp_path / "rows.jsonl", iter([lines]))
    found = read(path)
    assert (found["rows"], found["failed"]) == (3, [])


def test_a_record_of_a_hundred_thousand_columns_is_read(tmp_path):
    """What a shape leaves unread was looked for once a column, over all columns."""
    record = alpaca() | {f"column {n}": n for n in range(100_000)}
    found = read(write(tmp_path / "rows.jsonl", iter([lines_of(record)])))
    assert (found["rows"], found["failed"]) == (1, [])


def test_few_of_many_large_records_are_held_to_learn_their_shape(tmp_path):
    line = b'{"instruction": "a", "output": "b", "m": [' + b"{}," * 450_000 + b"{}]}\n"
    found = read(write(tmp_path / "rows.jsonl", iter([line] * 25)))
    assert (found["rows"], found["failed"]) == (25, [])


# -- JSON documents -------------------------------------------------------------------------------

ARRAYS = {
    "text": (b'{"output": "', b"x", b'"}', "longer than 16 MB"),
    "wide": (b'{"output": "', WIDE, b'"}', "longer than 16 MB"),
    "objects": (b'{"m": [', b"{},", b"{}]}", "more than 1,000,000 values"),
    "brackets": (b"", b"[", b"", "more than 1,000,000 values"),
    "digits": (b"", b"1", b"", "longer than 16 MB"),
    "quotes": (b'{"output": "', b'\\"', b'"}', "longer than 16 MB"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_large_element_ends_an_array(tmp_path, name):
    head, unit, tail, error = ARRAYS[name]
    head, tail = b"[" + ELEMENT + b",\n" + head, tail + b"]"
    found = read(write(tmp_path / "rows.json.gz", filled(head, unit, 80 * MB, tail)))
    assert found["rows"] == 1
    [(line, said, _)] = found["failed"]
    assert line == 2
    assert error in said
    assert "the file cannot be read beyond it" in said


def test_an_element_just_below_the_limit_is_read(tmp_path):
    head = b"[" + ELEMENT + b',{"instruction": "a", "output": "' + WIDE
    tail = b'"},' + ELEMENT + b"]"
    found = read(write(tmp_path / "rows.json", filled(head, b"x, y ", 15 * MB, tail)))
    assert (found["rows"], found["failed"]) == (3, [])


def test_many_small_elements_behind_a_large_one_are_read(tmp_path):
    large = b'{"instruction": "a", "output": "b", "m": [' + b"0," * 900_000 + b"0]},"
    small = b'{"instruction": "a", "output": "b", "m": [0,0,0,0]},'
    path = write(tmp_path / "rows.json", iter([b"[", large * 4, small * 100_000, ELEMENT, b"]"]))
    found = read(path)
    assert (found["rows"], found["failed"]) == (100_005, [])


# -- tables ---------------------------------------------------------------------------------------

TABLES = {
    "field": (HEADER + b'a,"', b"x", b'"\n', "longer than 16 MB"),
    "bare field": (HEADER + b"a,", b"x", b"\n", "longer than 16 MB"),
    "fields": (HEADER, b"ab,", b"\n", "of over 3,000,000 fields"),
    "empty fields": (HEADER, b",", b"\n", "of over 3,000,000 fields"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_large_record_of_csv_fails_alone(tmp_path, name):
    head, unit, tail, error = TABLES[name]
    path = tmp_path / "rows.csv.gz"
    found = read(write(path, filled(head, unit, 80 * MB, tail + b"c,d\ne\n")))
    assert found["rows"] == 2
    [(line, said, _), after] = found["failed"]
    assert line == 3
    assert error in said
    # The lines behind it have their own numbers.
    assert after[:2] == [5, "1 fields, and the header has 2"]


def test_millions_of_fields_fail_their_line(tmp_path):
    found = read(write(tmp_path / "rows.csv", filled(HEADER, b"ab,", 15 * MB, b"\nc,d\n")))
    assert found["rows"] == 2
    [(line, said, _)] = found["failed"]
    assert line == 3
    assert said == "broken CSV: a record is of over 3,000,000 fields; is a quote not closed?"


def test_a_quote_that_is_never_closed_does_not_take_the_file(tmp_path):
    path = write(tmp_path / "rows.csv", filled(HEADER + b'a,"', b"x,y\n", 17 * MB, b""))
    found = read(path)
    assert "is a quote not closed?" in found["failed"][0][1]
    assert found["failed"][0][0] == 3
    # All but the 16 MB of that record are rows.
    assert found["rows"] > MB // 8


def test_a_header_without_end_is_refused(tmp_path):
    path = write(tmp_path / "rows.csv", filled(b"instruction,output,", b"a,", 80 * MB, b"\na,b\n"))
    said, code = read(path)["said"]
    assert code == 2
    assert f"{path}:1: broken CSV header" in said
    assert "of over 3,000,000 fields" in said


def test_a_large_record_of_csv_just_below_the_limit_is_read(tmp_path):
    head, tail = HEADER + b'a,"' + WIDE, b'"\nc,d\n'
    found = read(write(tmp_path / "rows.csv", filled(head, b"x, y ", 15 * MB, tail)))
    assert (found["rows"], found["failed"]) == (3, [])


def test_a_large_line_of_flan_fails_alone(tmp_path):
    path = write(tmp_path / "rows.tsv.gz", filled(FLAN, b"x", 80 * MB, b"\ta\tb\n" + FLAN))
    found = read(path)
    assert found["rows"] == 2
    assert found["failed"][0][0] == 2
    assert "longer than 16 MB" in found["failed"][0][1]


# -- Parquet and Arrow ----------------------------------------------------------------------------


def same(text: str, count: int) -> pa.DictionaryArray:
    """Return a column of one text, which it holds once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([text]))


def in_ipc(path: Path, table: pa.Table) -> Path:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


def test_a_parquet_row_of_a_gigabyte_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    row = {"instruction": ["a"], "output": ["x" * (1024 * MB)]}
    # To find its least and largest text takes pyarrow 18 s.
    options = {"use_dictionary": False, "write_statistics": False}
    pq.write_table(pa.table(row), path, compression="zstd", **options)
    found = read(path)
    said, code = found["said"]
    assert code == 2
    assert f"{path}: row group 1 holds 1,024 MB in 1 rows, and a row may have 16 MB" in said


NAMED = {
    "dictionary": lambda text, count: same(text, count),
    "runs": lambda text, count: pa.RunEndEncodedArray.from_arrays(
        pa.array([count], pa.int32()), pa.array([text])
    ),
    "views": lambda text, count: pa.Array.from_buffers(
        pa.string_view(),
        count,
        [
            None,
            pa.py_buffer(struct.pack("<i4sii", len(text), text[:4].encode(), 0, 0) * count),
            pa.py_buffer(text.encode()),
        ],
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_an_arrow_file_that_names_large_texts_is_read_in_parts(tmp_path, name):
    column = NAMED[name]("x" * MB, 300)
    table = pa.table({"instruction": column, "output": pa.array(["b"] * 300)})
    path = in_ipc(tmp_path / "rows.arrow", table)
    assert path.stat().st_size < 2 * MB
    found = read(path)
    assert (found["rows"], found["failed"]) == (300, [])


def test_an_arrow_file_whose_lists_share_their_items_is_read_in_parts(tmp_path):
    count, items = 500, pa.array([7] * MB, pa.int8())
    lists = pa.ListViewArray.from_arrays(
        pa.array([0] * count, pa.int32()), pa.array([100_000] * count, pa.int32()), items
    )
    text = pa.array(["a"] * count)
    table = pa.table({"instruction": text, "output": text, "m": lists})
    found = read(in_ipc(tmp_path / "rows.arrow", table))
    assert (found["rows"], found["failed"]) == (count, [])


def parquet(path: Path, columns: Any, **options: Any) -> Path:
    """Write a file whose columns are plain texts to whoever reads it, by dictionaries or not."""
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, path, compression="zstd", store_schema=False, **options)
    assert path.stat().st_size < MB
    return path


@functools.cache
def huge() -> pa.Table:
    return pa.table({"instruction": ["x" * (8 * MB)] * 80, "output": ["b"] * 80})


def listed(values: pa.Array, rows: int) -> pa.ListArray:
    """Return rows of which the first holds all values and the others nothing."""
    offsets = pa.array([0, *[len(values)] * rows], pa.int32())
    return pa.ListArray.from_arrays(offsets, values)


def texts_of(count: int) -> dict[str, Any]:
    return {"instruction": pa.array(["a"] * count), "output": pa.array(["b"] * count)}


def fixed(count: int) -> pa.DictionaryArray:
    wide = pa.array([b"x" * (64 << 10)], pa.binary(64 << 10))
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), wide)


BY_DICTIONARY = {
    "texts": (lambda: texts_of(200_000) | {"output": same("x" * (8 * MB), 200_000)}, "stand for"),
    "one row's texts": (
        lambda: texts_of(50) | {"m": listed(same("x" * MB, 200_000), 50)},
        "once its texts are read, and a row may have 16 MB",
    ),
    "lists of lists": (
        lambda: texts_of(50) | {"m": listed(listed(same("x" * MB, 200_000), 9), 50)[:9]},
        "a row takes",
    ),
    "numbers": (
        lambda: texts_of(50) | {"m": listed(pa.array(np.zeros(40 * MB, np.int8)), 50)},
        "column 'm.list.element' holds 41,943,089 values in lists",
    ),
    "fixed widths": (lambda: texts_of(2_100) | {"m": fixed(2_100)}, "column 'm' unpacks"),
}


@pytest.mark.parametrize("name", BY_DICTIONARY)
def test_a_parquet_file_of_few_bytes_and_terabytes_is_refused(tmp_path, name):
    make, error = BY_DICTIONARY[name]
    columns = make()
    rows = min(map(len, columns.values()))
    path = parquet(tmp_path / "rows.parquet", {n: c[:rows] for n, c in columns.items()})
    said, code = read(path)["said"]
    assert code == 2
    assert str(path) in said
    assert error in said


def test_a_parquet_file_that_names_large_texts_is_read_in_parts(tmp_path):
    columns = texts_of(300) | {"output": same("x" * MB, 300), "m": listed(same("y" * MB, 9), 300)}
    found = read(parquet(tmp_path / "rows.parquet", columns))
    assert (found["rows"], found["failed"]) == (300, [])


@pytest.mark.parametrize("honest", [True, False])
def test_a_parquet_page_of_gigabytes_is_refused(tmp_path, honest):
    options = {"use_dictionary": False, "write_statistics": False}
    path = parquet(tmp_path / "rows.parquet", huge(), **options)
    if not honest:
        # What the file's end says of the column's size is nothing that readers check.
        size = pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
        data = path.read_bytes()
        at = data.rindex(varint(2 * size))
        assert len(varint(2 * size)) == 5
        path.write_bytes(data[:at] + b"\x82\x80\x80\x80\x00" + data[at + 5 :])
        assert pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size == 1
    said, code = read(path)["said"]
    assert code == 2
    assert "row group 1 unpacks" in said
    assert "to 640 MB at once; at most 128 MB may be" in said


def varint(number: int) -> bytes:
    digits = []
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def test_a_parquet_file_of_a_billion_rows_without_values_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pa.table({"instruction": pa.nulls(4 * MB, pa.string())})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(20):
            writer.write_table(table, row_group_size=4 * MB)
    said, code = read(path)["said"]
    assert code == 2
    assert "stand for 83,886,080 rows" in said


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}])
@pytest.mark.parametrize("packing", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
def test_a_dictionary_in_any_packing_shows_its_longest_text(tmp_path, packing, options):
    texts = ["a", "x" * 5000, "é" * 700, ""] * 50
    path = tmp_path / "rows.parquet"
    options = {"write_statistics": False, "compression": packing, **options}
    pq.write_table(pa.table({"m": texts}), path, **options)
    metadata = pq.ParquetFile(path).metadata
    [[column]] = columns_of(path, metadata)
    assert column.values == 200
    assert column.named == (0 if "use_dictionary" in options else 200 * 5000)
    # The file's own sizes count the headers, too.
    assert 0 < metadata.row_group(0).column(0).total_compressed_size - column.packed < 100


# In place of the kind of a page: a list of 2^60 flags, a map, a flag, and a page of no kind.
HEADERS = (b"\x19\xf1" + varint(1 << 60), b"\x1b\x01\x55", b"\x11", b"\x15\x01")


@pytest.mark.parametrize("header", HEADERS)
def test_a_page_whose_header_cannot_be_read_is_refused(tmp_path, header):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"m": ["text"] * 9}), path, use_dictionary=False, compression="none")
    metadata = pq.ParquetFile(path).metadata
    at = metadata.row_group(0).column(0).data_page_offset
    assert columns_of(path, metadata)[0][0].values == 9
    data = path.read_bytes()
    path.write_bytes(data[:at] + header + data[at + len(header) :])
    with pytest.raises(InputError, match=rf"of the column 'm', at byte {at}, cannot be read"):
        columns_of(path, metadata)


# -- compressed batches of Arrow ------------------------------------------------------------------


def packed_ipc(path: Path, table: pa.Table, packing: str, stream: bool = False) -> Path:
    options = pa.ipc.IpcWriteOptions(compression=packing)
    kind = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, kind(file, table.schema, options=options) as writer:
        writer.write_table(table)
    return path


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("packing", ["lz4", "zstd"])
def test_a_batch_of_gigabytes_is_refused(tmp_path, packing, stream):
    path = packed_ipc(tmp_path / "rows.arrow", huge(), packing, stream)
    assert path.stat().st_size < 8 * MB
    said, code = read(path)["said"]
    assert code == 2
    assert f"{path}: batch 1 unpacks" in said
    assert "to 640 MB at once; at most 128 MB may be" in said


@pytest.mark.parametrize("packing", ["lz4", "zstd"])
def test_a_batch_that_texts_fill_is_read(tmp_path, packing):
    path = packed_ipc(tmp_path / "rows.arrow", pa.table(texts_of(300)), packing)
    found = read(path)
    assert (found["rows"], found["failed"]) == (300, [])
    [message] = messages_of(path)
    assert message.unpacked > message.packed > 0
    assert not message.is_dictionary


def test_dictionaries_of_gigabytes_are_refused(tmp_path):
    columns = {f"column {n}": same("x" * (100 * MB), 5) for n in range(3)}
    path = packed_ipc(tmp_path / "rows.arrow", pa.table(texts_of(5) | columns), "zstd")
    said, code = read(path)["said"]
    assert code == 2
    assert f"{path}: all its dictionaries unpacks" in said


def test_a_saved_dataset_of_gigabytes_is_refused(tmp_path):
    packed_ipc(tmp_path / "data-00000-of-00001.arrow", huge(), "zstd", stream=True)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    (tmp_path / "dataset_info.json").write_text("{}")
    said, code = read(tmp_path)["said"]
    assert code == 2
    assert "data-00000-of-00001.arrow: batch 1 unpacks" in said


ROWS_OF_NOTHING = {
    "nulls": lambda count: pa.nulls(count),
    "runs": lambda count: pa.RunEndEncodedArray.from_arrays(
        pa.array([count], pa.int64()), pa.array(["a"])
    ),
}


@pytest.mark.parametrize("name", ROWS_OF_NOTHING)
def test_a_batch_of_a_billion_rows_that_hold_nothing_is_refused(tmp_path, name):
    column = ROWS_OF_NOTHING[name](1_000_000_000)
    path = in_ipc(tmp_path / "rows.arrow", pa.table({"instruction": column}))
    said, code = read(path)["said"]
    assert code == 2
    assert "stand for 1,000,000,000 rows" in said


def test_one_row_that_names_terabytes_is_refused(tmp_path):
    table = pa.table(texts_of(50) | {"m": listed(same("x" * MB, 200_000), 50)})
    said, code = read(in_ipc(tmp_path / "rows.arrow", table))["said"]
    assert code == 2
    assert "a row takes 200,006 MB" in said


# -- documents ------------------------------------------------------------------------------------


def pdf(content: bytes, filters: bytes = b"/FlateDecode") -> bytes:
    """Return a PDF of one page whose content is packed by `filters`."""
    return pdf_of(content, filters)


def deflated(pieces: Iterator[bytes]) -> bytes:
    packer = zlib.compressobj(1)
    return b"".join(map(packer.compress, pieces)) + packer.flush()


PDFS = {
    "text": lambda: pdf(deflated(filled(b"BT /F1 9 Tf (", b"x", 120 * MB, b") Tj ET"))),
    "twice": lambda: pdf(
        deflated(iter([deflated(filled(b"BT /F1 9 Tf (", b"x", 120 * MB, b") Tj ET"))])),
        b"[/FlateDecode/FlateDecode]",
    ),
    "operators": lambda: pdf(deflated(filled(b"BT /F1 9 Tf ", b"(a) Tj ", 60 * MB, b"ET"))),
    "brackets": lambda: pdf(deflated(filled(b"", b"[", 60 * MB, b""))),
}


@pytest.mark.parametrize("name", PDFS)
def test_a_pdf_that_unpacks_hugely_is_a_failed_row(tmp_path, name):
    pytest.importorskip("pypdf")
    (tmp_path / "a.pdf").write_bytes(PDFS[name]())
    (tmp_path / "b.txt").write_text("Prose.")
    found = read(tmp_path)
    assert found["rows"] == 1
    assert len(found["failed"]) == 1


PAGES = {
    "deep": (b"", b"<div>"),
    "angles": (b"", b"<"),
    "references": (b"", b"&#"),
    "attributes": (b"<p>Hi</p><a ", b"a "),
    "attributes with values": (b"<p>Hi</p><a ", b"a=b c='d' "),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_nothing_but_tags_is_done_with_in_seconds(tmp_path, name):
    head, unit = PAGES[name]
    write(tmp_path / "a.html", filled(head, unit, 4 * MB, b">"))
    write(tmp_path / "b.txt", iter([b"Prose."]))
    found = read(tmp_path)
    assert found["rows"] + len(found["failed"]) == 2


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_a_document_without_end_is_a_failed_row(tmp_path, name):
    write(tmp_path / name, filled(b"# ", b"word ", 120 * MB, b""))
    write(tmp_path / "b.txt", iter([b"Prose."]))
    found = read(tmp_path)
    assert found["rows"] == 1
    assert "longer than 16 MB: split it" in found["failed"][0][1]
