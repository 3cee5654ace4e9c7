"""Broken input of every kind: a clear message, the right line, no row lost, memory in bounds."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import textwrap

import pyarrow as pa
import pytest

from curate.errors import InputError
from curate.read import part as part_module
from tests.read.reading import alpaca, lines_of, read_all

GOOD = lines_of(alpaca())
BAD_LINES = {
    "broken": (b'{"instruction": "a", "output": \n', "broken JSON at column"),
    "two objects": (GOOD.strip() + GOOD, "broken JSON at column"),
    "wrong type": (lines_of(alpaca(output=["x"])), "'output' must be a string, found a list"),
    "number": (lines_of(alpaca(output=7)), "'output' must be a string, found the number 7"),
    "null": (lines_of(alpaca(output=None)), "'output' must be a string, found nothing"),
    "missing": (b'{"instruction": "a"}\n', "'output' is missing"),
    "not an object": (b"[1, 2]\n", "must be a JSON object, not a list"),
    "null line": (b"null\n", "must be a JSON object, not null"),
    "UTF-8": (b'{"instruction": "\xff", "output": "b"}\n', "invalid UTF-8 at byte 18 (0xff)"),
    "UTF-8 surrogate": (b'{"instruction": "\xed\xa0\x80", "output": "b"}\n', "invalid UTF-8"),
    "NUL": (b"\x00\x00\x00\n", "broken JSON at column 1"),
    "NUL in a text": (b'{"instruction": "a\x00", "output": "b"}\n', "Invalid control character"),
    "lone high": (b'{"instruction": "\\ud800", "output": "b"}\n', "lone surrogate (\\ud800)"),
    "lone low": (b'{"instruction": "a", "output": "\\uDC01"}\n', "lone surrogate (\\udc01)"),
    "NaN": (b'{"instruction": "a", "output": "b", "score": NaN}\n', "NaN is not a JSON number"),
    "Infinity": (b'{"instruction": "a", "output": "b", "s": -Infinity}\n', "-Infinity is not a"),
    "overflow": (b'{"instruction": "a", "output": "b", "s": 1e999}\n', "1e999 is out of range"),
    "twice": (b'{"instruction": "a", "output": "b", "output": "c"}\n', "key 'output' stands twice"),
    "twice inside": (b'{"instruction": "a", "output": "b", "m": {"k": 1, "k": 2}}\n', "key 'k'"),
    "deep": (
        b'{"instruction": "a", "output": "b", "m": ' + b"[" * 20_000 + b"]" * 20_000 + b"}\n",
        "nested deeper than 200 levels",
    ),
    "rather deep": (
        b'{"instruction": "a", "output": "b", "m": ' + b"[" * 250 + b"]" * 250 + b"}\n",
        "nested deeper than 200 levels",
    ),
    "deep and open": (b"[" * 20_000 + b"\n", "nested deeper than 200 levels"),
    "own name": (lines_of(alpaca(input_chars=3)), "column 'input_chars' has a name"),
}


@pytest.mark.parametrize("name", BAD_LINES)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_bad_line_fails_alone(tmp_path, name, where):
    bad, message = BAD_LINES[name]
    before = {"first": 0, "middle": 3, "last": 6}[where]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD * before + bad + GOOD * (6 - before))
    found = read_all(str(path))
    assert len(found.rows) == 6
    assert found.records == 7
    [(ordinal, line, error, raw)] = found.failed
    assert (ordinal, line) == (before, before + 1)
    assert message in error
    assert raw == bad.rstrip(b"\n")[: part_module.RAW_BYTES]


def test_an_object_over_two_lines_is_two_unreadable_lines(tmp_path):
    """Arrow would read two rows here: one across the lines, one behind it."""
    turn = b'{"role": "user", "content": "a"}'
    whole = b'{"messages": [' + turn + b"]}"
    path = tmp_path / "rows.jsonl"
    split = b'{"messages": [\n' + turn + b"]}" + whole + b"\n"
    path.write_bytes(whole + b"\n" + split)
    found = read_all(str(path))
    assert [f[1] for f in found.failed] == [2, 3]
    assert len(found.rows) == 1


def test_types_that_change_late(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD * 30_001 + lines_of(alpaca(output={"text": "x"})) + GOOD)
    found = read_all(str(path))
    assert [(f[0], f[1]) for f in found.failed] == [(30_001, 30_002)]
    assert "found an object" in found.failed[0][2]
    assert len(found.rows) == 30_002


def test_bom_crlf_and_blank_lines_are_no_records(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") + b"\r\n  \n\n" + b"oops\n" + GOOD.strip()
    )
    found = read_all(str(path))
    assert (found.records, len(found.rows)) == (3, 2)
    assert [(f[0], f[1]) for f in found.failed] == [(1, 5)]


@pytest.mark.parametrize("content", [b"", b"\n\n \n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.jsonl.gz"])
def test_an_empty_file_is_refused(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, mtime=0) if name.endswith("gz") else content)
    with pytest.raises(InputError, match=r"empty|not one readable row"):
        read_all(str(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", gzip.compress(GOOD, mtime=0), "content is .jsonl.gz; rename the file"),
        ("a.json", b"PAR1 and more", "content is .parquet"),
        ("a.parquet", b"<!DOCTYPE html><html>", "says .parquet, but its content is not"),
        ("a.jsonl.gz", GOOD, "says .jsonl.gz, but its content is not"),
        ("a.jsonl", b"<!DOCTYPE html>\n<html>\n", "not one readable row; line 1: broken JSON"),
        ("a.json", b"<!DOCTYPE html>\n<html>\n", "not one readable row; line 1"),
        ("a.parquet", b"PAR1 but no table", "not a readable Parquet file"),
        ("a.jsonl", "{}\n".encode("utf-16"), "UTF-16"),
        ("a.doc", GOOD, "allowed endings"),
        ("a.jsonl", b'{"title": "x", "body": "y"}\n', "its columns .title, body. fit no shape"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Exception, match=message) as caught:
        read_all(str(path))
    assert caught.value.exit_code == 2


def test_json_lines_called_json_and_an_array_called_jsonl_are_read(tmp_path):
    (tmp_path / "lines.json").write_bytes(GOOD * 3)
    (tmp_path / "array.jsonl").write_bytes(b"[" + GOOD.strip() + b",\n" + GOOD.strip() + b"]")
    assert len(read_all(str(tmp_path / "lines.json")).rows) == 3
    assert len(read_all(str(tmp_path / "array.jsonl")).rows) == 2


def test_json_lines_called_txt_are_no_prose(tmp_path):
    (tmp_path / "a.txt").write_bytes(GOOD * 3)
    read = read_all(str(tmp_path / "a.txt"))
    assert not read.rows
    assert [error for _, _, error, _ in read.failed] == [
        "it holds JSON objects, a line each, and would be read as prose; give it the ending .jsonl"
    ]


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "alpaca.jsonl").write_bytes(GOOD)
    with pytest.raises(InputError, match=r"did you mean .*alpaca\.jsonl"):
        read_all(str(tmp_path / "alpacca.jsonl"))


def test_a_column_that_fits_two_shapes_says_how_to_choose(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of({**alpaca(), "messages": [{"role": "user", "content": "a"}]}))
    with pytest.raises(InputError, match=r"fit several shapes: alpaca, messages; .*--shape"):
        read_all(str(path))
    assert read_all(str(path), shape="alpaca").rows[0].instruction == "Say hello."


def test_a_truncated_gzip_keeps_what_came_before(tmp_path):
    records = [alpaca(output=f"answer {n} " + "x" * (n % 97)) for n in range(40_000)]
    packed = gzip.compress(lines_of(*records), mtime=0)
    for cut in (len(packed) // 2, len(packed) - 4):
        path = tmp_path / "rows.jsonl.gz"
        path.write_bytes(packed[:cut])
        found = read_all(str(path))
        assert len(found.failed) == 1
        assert "the file breaks off here" in found.failed[0][2]
        assert found.failed[0][0] == len(found.rows) == found.records - 1
        assert found.rows[-1].response == records[len(found.rows) - 1]["output"]
    # Only the last bytes are missing: all rows were there.
    assert len(found.rows) == 40_000


def test_a_damaged_gzip_breaks_off(tmp_path):
    packed = bytearray(gzip.compress(lines_of(*(alpaca(output=str(n)) for n in range(50_000)))))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(packed)
    found = read_all(str(path))
    assert "breaks off" in found.failed[-1][2]
    assert len(found.rows) > 1_000


def test_a_gzip_of_many_members_and_padding(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD * 2) + gzip.compress(GOOD, mtime=0) + b"\0" * 512)
    assert len(read_all(str(path)).rows) == 3


def test_a_truncated_zstd_breaks_off(tmp_path):
    path = tmp_path / "rows.jsonl.zst"
    with pa.output_stream(str(path), compression="zstd") as file:
        for n in range(40_000):
            file.write(lines_of(alpaca(output=f"answer {n}")))
    whole = path.read_bytes()
    assert len(read_all(str(path)).rows) == 40_000
    path.write_bytes(whole[: len(whole) // 2])
    found = read_all(str(path))
    assert len(found.failed) == 1
    assert "breaks off" in found.failed[0][2]


def test_an_array_that_breaks_off_counts_one(tmp_path):
    text = json.dumps([alpaca(output=str(n)) for n in range(500)])
    path = tmp_path / "rows.json"
    path.write_text(text[: len(text) // 2])
    found = read_all(str(path))
    assert len(found.failed) == 1
    assert found.records == len(found.rows) + 1 > 200


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"instruction": "a", "output": NaN}', "NaN is not a JSON number"),
        ('{"instruction": "a", "output": "b", "output": "c"}', "stands twice"),
        ('{"instruction": "a", "output": "\\ud800"}', "lone surrogate"),
        ('{"instruction": "a\n", "output": "b"}', "Invalid control character"),
        ('{"instruction": "a", "output": "b",, }', "broken JSON"),
        ('{"m": ' + "[" * 20_000 + "]" * 20_000 + "}", "nested deeper"),
        ("7", "must be a JSON object"),
        ('{"instruction": "a"}', "'output' is missing"),
    ],
)
def test_a_bad_element_of_an_array_fails_alone(tmp_path, bad, message):
    good = json.dumps(alpaca(), indent=2)
    path = tmp_path / "rows.json"
    path.write_text(f"[{good},\n{bad},\n{good}]")
    found = read_all(str(path))
    assert len(found.rows) == 2
    [(ordinal, line, error, raw)] = found.failed
    assert (ordinal, line) == (1, 6)
    assert message in error
    assert raw == bad.encode()[: part_module.RAW_BYTES]


@pytest.mark.parametrize("bad", ['{"m": [1, 2}', '{"m": "a}', '{"m": {"n": 1}'])
def test_an_element_that_is_never_closed_counts_one(tmp_path, bad):
    good = json.dumps(alpaca())
    path = tmp_path / "rows.json"
    path.write_text(f"[{good},\n{bad},\n{good}]")
    found = read_all(str(path))
    assert len(found.rows) == 1
    [(ordinal, line, _, _)] = found.failed
    assert (ordinal, line) == (1, 2)


def test_invalid_utf8_in_an_array_fails_its_element(tmp_path):
    path = tmp_path / "rows.json"
    good = json.dumps(alpaca()).encode()
    path.write_bytes(b"[" + good + b',{"instruction": "\xff", "output": "b"},' + good + b"]")
    found = read_all(str(path))
    assert len(found.rows) == 2
    assert found.failed[0][2] == "invalid UTF-8 (0xff)"
    assert b"\xff" in found.failed[0][3]


def test_broken_csv_rows_fail_alone(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b'instruction,output\r\n"a\nb",c\r\nonly one\r\nx,\xff\r\ny,"unclosed\r\nz,w\r\n'
    )
    found = read_all(str(path))
    assert [row.instruction for row in found.rows] == ["a\nb"]
    assert [(f[1], f[2].split(" ")[0]) for f in found.failed] == [
        (4, "1"),
        (5, "invalid"),
        (6, "broken"),
    ]


def test_a_csv_with_a_column_twice_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("instruction,output,output\na,b,c\n")
    with pytest.raises(InputError, match="two columns are called 'output'"):
        read_all(str(tmp_path / "rows.csv"))


def test_a_line_beyond_the_bound_takes_no_other_row_with_it(tmp_path, monkeypatch):
    from curate.read import lines
    from curate.read import strict_json as strict

    for module in (lines, strict):
        monkeypatch.setattr(module, "LINE_BYTES", 5 << 20)
    monkeypatch.setattr(lines, "PART_BYTES", 2 << 20)
    giant = lines_of(alpaca(output="x" * (9 << 20)))
    for name, pack in (("rows.jsonl", bytes), ("rows.jsonl.gz", gzip.compress)):
        for end in (GOOD * 2, b""):
            path = tmp_path / name
            path.write_bytes(pack(GOOD * 3 + giant + end))
            found = read_all(str(path))
            assert len(found.rows) == 3 + end.count(b"\n")
            [(ordinal, line, error, raw)] = found.failed
            assert (ordinal, line) == (3, 4)
            assert "longer than" in error
            assert raw == giant[: part_module.RAW_BYTES]


MEASURE = """
import re, resource, sys
from pathlib import Path
from tests.read.reading import read_all
from curate.read import open_inputs, read_part
import pyarrow

def peak_mb():
    # Linux hands the caller's ru_maxrss on through exec, which hides growth; VmHWM starts afresh.
    if sys.platform == "linux":
        return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20

base = peak_mb()
rows = failed = 0
for part in open_inputs(sys.argv[1]).parts():
    read = read_part(part)
    rows, failed = rows + len(read.table), failed + len(read.unreadable)
    del read
print(rows, failed, peak_mb() - base)
"""


def measure(path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows, failed, megabytes = map(int, done.stdout.split())
    return rows, failed, megabytes


def test_a_line_of_15_mb_is_read_within_memory(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD + lines_of(alpaca(output="x" * (15 << 20))) + GOOD)
    rows, failed, megabytes = measure(path)
    assert (rows, failed) == (3, 0)
    assert megabytes < 400


@pytest.mark.slow
def test_a_gzip_that_expands_a_thousandfold_streams(tmp_path):
    """Half a gigabyte in half a megabyte: one record more than a thousand times its size."""
    path = tmp_path / "rows.jsonl.gz"
    line = lines_of(alpaca(output="x" * (1 << 20)))
    with gzip.open(path, "wb", 9) as file:
        for _ in range(512):
            file.write(line)
    assert path.stat().st_size * 900 < 512 << 20
    rows, failed, megabytes = measure(path)
    assert (rows, failed) == (512, 0)
    assert megabytes < 600


@pytest.mark.slow
def test_an_endless_line_in_a_gzip_is_not_held(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb", 9) as file:
        file.write(GOOD + b'{"instruction": "a", "output": "')
        for _ in range(1024):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + GOOD)
    rows, failed, megabytes = measure(path)
    assert (rows, failed) == (2, 1)
    assert megabytes < 500


def test_in_an_array_on_one_line_a_record_has_its_number_for_a_line(tmp_path):
    path = tmp_path / "rows.json"
    good, bad = json.dumps(alpaca()), json.dumps(alpaca(output=7))
    path.write_text(f"[{good}, {bad}, 3, {good}]")
    places = [(ordinal, line) for ordinal, line, *_ in read_all(str(path)).failed]
    assert places == [(1, None), (2, None)]
    path.write_text(f"[\n{good},\n{bad}, 3,\n{bad}]")
    places = [(ordinal, line) for ordinal, line, *_ in read_all(str(path)).failed]
    assert places == [(1, 3), (2, None), (3, 4)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "instruction;output\na b;c\n", "separated by semicolons, and this ending means"),
        ("a.csv", '"instruction";"output"\n"a b";"c, d"\n', "separated by semicolons"),
        ("a.csv", "instruction\toutput\na b\tc\n", "separated by tabs, .* give it the ending .tsv"),
        ("a.tsv", "instruction,output\na b,c\n", "separated by commas, .* give it the ending .csv"),
        ("a.jsonl", '{"q": "a", "a": "b"}\n', "--columns instruction=q,response=a, or"),
        ("a.json", "[]", "a.json: it holds no rows$"),
        ("a.csv", "instruction,output\nah,\u00e9\n", r"\(0xe9\); convert the file: iconv -f"),
        ("a.jsonl", '{"prompt": "\u00e9", "completion": "a"}\n', "convert the file: iconv -f"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_says_what_to_do(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        read_all(str(path))
