"""Inputs of every kind: files, folders, patterns, names, addresses and rows in memory."""

from __future__ import annotations

import asyncio
import datetime
import functools
import gzip
import io
import json
import pickle
import re
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pytest
from fsspec.asyn import AsyncFileSystem

from curate.errors import InputError, UsageError
from curate.read import open_inputs, read_part, remote
from tests.read.reading import alpaca, lines_of, read_all

CHAT = {"messages": [{"role": "user", "content": "a"}]}


def write(path, *records):
    path.write_bytes(lines_of(*records))
    return path


def test_folders_and_patterns_go_by_the_bytes_of_their_names(tmp_path):
    for name in ("b", "a", "Z", "\u00e9"):
        write(tmp_path / f"{name}.jsonl", alpaca(output=name))
    (tmp_path / "notes.txt").write_text("not read")
    wanted = ["Z", "a", "b", "\u00e9"]
    assert [row.response for row in read_all(str(tmp_path)).rows] == wanted
    assert [row.response for row in read_all(str(tmp_path / "*.jsonl")).rows] == wanted
    with pytest.raises(InputError, match="no file matches"):
        open_inputs(str(tmp_path / "*.csv"))


def test_named_inputs_keep_their_source_and_order(tmp_path):
    one = write(tmp_path / "one.jsonl", alpaca(output="1"))
    two = write(tmp_path / "two.jsonl", {**alpaca(output="2"), **CHAT})
    opened = open_inputs({"second": str(one), "first": {"path": str(two), "shape": "alpaca"}})
    assert opened.count == 2
    assert [(p.input_index, p.source) for p in opened.parts()] == [(0, "second"), (1, "first")]
    rows = [read_part(part).table for part in opened.parts()]
    assert [t.column("source").to_pylist() for t in rows] == [["second"], ["first"]]


def test_kinds_and_fingerprint_are_known_before_running(tmp_path):
    one = write(tmp_path / "one.jsonl", alpaca())
    two = write(tmp_path / "two.jsonl", {"prompt": "a", "chosen": "b", "rejected": "c"})
    opened = open_inputs({"a": str(one), "b": str(two)})
    assert opened.kinds() == {"sft", "preference"}
    assert opened.total_bytes == one.stat().st_size + two.stat().st_size
    before = opened.fingerprint()
    assert [(e["input"], e["shape"], len(e["digest"])) for e in before] == [
        ("a", "alpaca", 32),
        ("b", "preference", 32),
    ]
    write(one, alpaca(output="Hello?"))
    after = open_inputs({"a": str(one), "b": str(two)}).fingerprint()
    assert after[0]["digest"] != before[0]["digest"]
    assert after[1] == before[1]


def test_parts_travel_to_other_processes(tmp_path):
    path = write(tmp_path / "rows.jsonl", alpaca())
    [part] = open_inputs(str(path)).parts()
    assert len(pickle.dumps(part)) < 1000
    assert read_part(pickle.loads(pickle.dumps(part))).table.equals(read_part(part).table)


def test_a_file_that_is_not_there_is_answered_with_a_like_one_only(tmp_path):
    write(tmp_path / "ShareGPT.jsonl", alpaca())
    found = {}
    for name in ("sharegtp.jsonl", "other.jsonl", "no/rows.jsonl"):
        with pytest.raises(InputError) as caught:
            open_inputs(str(tmp_path / name))
        found[name] = str(caught.value).partition(": no such file")[2]
    assert found == {
        "sharegtp.jsonl": f"; did you mean {tmp_path / 'ShareGPT.jsonl'}?",
        "other.jsonl": "",
        "no/rows.jsonl": f"; there is no folder {tmp_path / 'no'}",
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "no input"),
        ({}, "no input"),
        ("", "path is empty"),
        (7, "input 'input' is of type int"),
        ({"a": {"shape": "alpaca"}}, "input 'a' has no path"),
        ("rows.jsonl", "no such file"),
        ([1, 2], "holds no record .a row must be a dict, not int.; give a path, a list of dicts"),
        ([], "holds no record .it is empty."),
        (pd.Series(["a"]), "holds no record .a row must be a dict, not str."),
        ("https://user:secret@example.com/rows.jsonl", "must not hold credentials"),
        ("https://example.com/rows.jsonl?X-Amz-Signature=secret", "must not hold credentials"),
        ("hub://a@b@c:d", "cannot be loaded|is hub://org/name"),
    ],
)
def test_wrong_inputs_are_refused(given, message, monkeypatch):
    import datasets

    def refuse(*_, **__):
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(UsageError, match=message) as caught:
        open_inputs(given)
    assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match=r"folder.jsonl: cannot be read: Is a directory"):
        open_inputs(f"{tmp_path}/*.jsonl")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.jsonl", b""),
        ("b.jsonl", b"\xef\xbb\xbf\n \n"),
        ("b.jsonl", b"\n\n"),
        ("b.jsonl", b"\n" * 5000),
        ("b.json", b"[]"),
        ("b.json", b""),
        ("b.csv", b""),
        ("b.csv", b"instruction,output\n"),
        ("b.jsonl.gz", gzip.compress(b"")),
    ],
)
def test_a_file_without_rows_is_none_among_others(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for alone in (tmp_path / name, tmp_path):
        with pytest.raises(InputError, match=r"the file is empty|it holds no rows"):
            open_inputs(str(alone))
    write(tmp_path / "a.jsonl", alpaca(output="1"))
    write(tmp_path / "c.jsonl", alpaca(output="2"))
    inputs = open_inputs(str(tmp_path))
    # It stays an input: with rows in it the run is another.
    assert [Path(entry["file"]).name for entry in inputs.fingerprint()] == [
        "a.jsonl", name, "c.jsonl",
    ]  # fmt: skip
    rows = read_all(str(tmp_path)).rows
    assert [row.response for row in rows] == ["1", "2"]


@pytest.mark.parametrize("name", ["b.jsonl.gz", "b.jsonl.zst", "b.parquet"])
def test_a_file_that_lost_what_even_an_empty_one_has_is_refused(tmp_path, name):
    write(tmp_path / "a.jsonl", alpaca(output="1"))
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{name}: the file is empty"):
        open_inputs(str(tmp_path))


def test_an_unknown_shape_is_refused(tmp_path):
    path = write(tmp_path / "rows.jsonl", alpaca())
    with pytest.raises(UsageError, match=r"unknown shape 'alpacca'; did you mean 'alpaca'\?"):
        open_inputs(str(path), shape="alpacca")


def test_the_shape_is_what_most_first_rows_have(tmp_path):
    path = write(tmp_path / "rows.jsonl", {"odd": 1}, alpaca(), alpaca())
    found = read_all(str(path))
    assert len(found.rows) == 2
    assert "'instruction' is missing" in found.failed[0][2]


def test_a_list_of_dicts():
    day = datetime.date(2026, 1, 2)
    found = read_all([alpaca(day=day, n=float("nan")), "text", {"instruction": "a", "output": 1}])
    assert json.loads(found.rows[0].extra) == {"day": "2026-01-02", "n": None}
    assert [f[2] for f in found.failed] == [
        "a row must be a dict, not str",
        "column 'output' must be a string, found the number 1",
    ]
    assert found.failed[0][1] is None


def test_a_record_nested_without_end_fails_alone():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    found = read_all([alpaca(), alpaca(deep=deep)])
    assert [f[2] for f in found.failed] == ["nested deeper than 200 levels"]


def test_a_lone_surrogate_in_memory_fails_alone():
    found = read_all([alpaca(), alpaca(output="\ud800")])
    assert "lone surrogate" in found.failed[0][2]
    assert len(found.rows) == 1


def test_a_data_frame(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([alpaca(score=1), {"instruction": "b", "output": "c"}])
    rows = read_all(frame).rows
    assert [row.instruction for row in rows] == ["Say hello.", "b"]
    assert [json.loads(row.extra) for row in rows] == [{"score": 1.0}, {"score": None}]
    # Lists come back from Parquet as arrays.
    pandas.DataFrame([CHAT]).to_parquet(tmp_path / "chat.parquet")
    [row] = read_all(pandas.read_parquet(tmp_path / "chat.parquet")).rows
    assert row.messages[0].content == "a"


def test_a_dataset_is_read_in_its_own_order():
    datasets = pytest.importorskip("datasets")
    records = [alpaca(output=str(n)) for n in range(50)]
    dataset = datasets.Dataset.from_list(records).shuffle(seed=1).select(range(10))
    rows = read_all(dataset).rows
    assert [row.response for row in rows] == dataset["output"]
    same = open_inputs(dataset).fingerprint()[0]
    assert same["digest"] == open_inputs(dataset).fingerprint()[0]["digest"]
    other = datasets.Dataset.from_list(records)
    assert open_inputs(other).fingerprint()[0]["digest"] != same["digest"]


def test_the_hub_goes_through_datasets(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []
    data = datasets.Dataset.from_list([alpaca()])

    def load(name, config, split):
        asked.append((name, config, split))
        return data if split else datasets.DatasetDict(train=data, test=data)

    monkeypatch.setattr(datasets, "load_dataset", load)
    opened = open_inputs("hub://org/name:part@test[:10]")
    assert opened.fingerprint()[0]["file"] == "hub://org/name:part@test[:10]"
    assert len(read_all("hub://org/name").rows) == 1
    assert asked == [("org/name", "part", "test[:10]"), ("org/name", None, None)]
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict(a=data, b=data)
    )
    with pytest.raises(InputError, match="has the splits a, b; choose one"):
        open_inputs("hub://org/name")


def test_an_fsspec_address():
    system = fsspec.filesystem("memory")
    system.pipe(
        {"/data/b.jsonl": lines_of(alpaca(output="b")), "/data/a.jsonl": lines_of(alpaca())}
    )
    for where in ("memory:///data/*.jsonl", "memory:///data"):
        opened = open_inputs(where)
        assert [file.name for file in opened.files] == [
            "memory:///data/a.jsonl",
            "memory:///data/b.jsonl",
        ]
        assert [row.response for row in read_all(where).rows] == ["Hello.", "b"]
    # A pattern takes files, and a folder where it is the only match.
    system.pipe_file("/data/more/c.jsonl", lines_of(alpaca(output="c")))
    assert len(read_all("memory:///data/*").rows) == 2
    assert [row.response for row in read_all("memory:///data/m*").rows] == ["c"]
    with pytest.raises(InputError, match="no such file"):
        open_inputs("memory:///data/c.jsonl")
    with pytest.raises(UsageError, match="nothing"):
        open_inputs("nothing://x/a.jsonl")


def test_an_address_of_the_web_with_a_query(tmp_path):
    write(tmp_path / "rows.jsonl", alpaca())
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            where = f"http://127.0.0.1:{server.server_port}/rows.jsonl?version=1"
            assert [row.response for row in read_all(where).rows] == ["Hello."]
            assert open_inputs(where).files[0].name == where
        finally:
            server.shutdown()
            thread.join()


def test_files_of_an_address_are_fetched_together():
    class Slow(AsyncFileSystem):
        """A bucket of two files, neither of which comes before both are asked for."""

        protocol = "slow"
        asked = 0

        async def _ls(self, path, detail=True, **_):
            names = [f"b/{name}.jsonl" for name in "ab"]
            return [{"name": n, "size": 1, "type": "file"} for n in names] if detail else names

        async def _info(self, path, **_):
            kind = "directory" if path == "b" else "file"
            return {"name": path, "size": 1, "type": kind}

        async def _get_file(self, rpath, lpath, **_):
            type(self).asked += 1
            for _ in range(500):
                if self.asked == 2:
                    Path(lpath).write_bytes(lines_of(alpaca(output=rpath)))
                    return
                await asyncio.sleep(0.01)
            raise TimeoutError("fetched one after the other")

    fsspec.register_implementation("slow", Slow, clobber=True)
    assert [row.response for row in read_all("slow://b").rows] == ["b/a.jsonl", "b/b.jsonl"]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json", "csv", "parquet"])
def test_a_file_address_gives_what_its_path_gives(tmp_path, ending):
    pytest.importorskip("fsspec")
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name in "ba":
        records = [alpaca(output=f"{name}{n}") for n in range(3)]
        if ending == "parquet":
            pd.DataFrame(records).to_parquet(folder / f"{name}.{ending}")
        elif ending == "csv":
            pd.DataFrame(records).to_csv(folder / f"{name}.{ending}", index=False)
        else:
            text = json.dumps(records).encode() if ending == "json" else lines_of(*records)
            packed = gzip.compress(text) if ending.endswith("gz") else text
            (folder / f"{name}.{ending}").write_bytes(packed)
    want = read_all(str(folder)).table
    assert want.num_rows == 6
    for where in (f"file://{folder}", f"file://{folder}/*.{ending}"):
        assert read_all(where).table.equals(want)


def test_many_files_are_one_input(tmp_path):
    for number in range(300):
        write(tmp_path / f"{number}.jsonl", alpaca(instruction=f"do {number}"))
    found = read_all(str(tmp_path / "*.jsonl"))
    by_bytes = sorted(map(str, range(300)), key=lambda name: f"{name}.jsonl".encode())
    assert [row.instruction for row in found.rows] == [f"do {name}" for name in by_bytes]
    parts = open_inputs(str(tmp_path / "*.jsonl")).parts()
    assert [part.file_index for part in parts] == list(range(300))


def test_a_dataset_in_a_folder_is_read_as_one_of_the_hub(tmp_path, monkeypatch):
    """No name is patched here: `datasets` itself loads a folder of files, offline."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", *(alpaca(output=f"train {n}") for n in range(20)))
    write(folder / "test.jsonl", *(alpaca(output=f"test {n}") for n in range(5)))
    address = f"hub://{folder}"
    assert [row.response for row in read_all(address).rows] == [f"train {n}" for n in range(20)]
    assert [row.response for row in read_all(f"{address}@test").rows][-1] == "test 4"
    assert len(read_all(f"{address}@train[:7]").rows) == 7
    with pytest.raises(InputError, match="cannot be loaded"):
        open_inputs(f"{address}@dev")


HEADER, CELLS = b"instruction,output\n", b'Say hello.,"Hello, you"\n'
BEGUN = b"2026-01-02 12:00:00 INFO started\n"


@pytest.mark.parametrize(
    ("given", "ending", "count"),
    [
        (lines_of(alpaca()) * 3, ".jsonl", 3),
        (BEGUN + lines_of(alpaca()), ".jsonl", 1),
        (gzip.compress(lines_of(alpaca()) * 3, mtime=0), ".jsonl.gz", 3),
        (json.dumps([alpaca()] * 3, indent=1).encode(), ".jsonl", 3),
        (HEADER + CELLS * 3, ".csv", 3),
        (HEADER + b'Say hello.,"{\n[1]\n{""a"": 2}\n"\n', ".csv", 1),
        (b"\xef\xbb\xbf" + HEADER.replace(b",", b"\t") + b"Say hello.\tHello.\n", ".tsv", 1),
        (b"Q, of more than forty characters, as here?\tA\tbecause\\nso\n" * 2, ".tsv", 2),
    ],
)
def test_standard_input_tells_its_format(given, ending, count, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    found = read_all("-")
    assert len(found.rows) == count
    assert remote._ending(given) == ending


def test_parquet_comes_through_standard_input(tmp_path, monkeypatch):
    pd.DataFrame([alpaca()]).to_parquet(tmp_path / "rows.parquet")
    given = io.BytesIO((tmp_path / "rows.parquet").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
    assert len(read_all("-").rows) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "-: standard input is empty; it may hold JSON lines"),
        (b" \n\n", "-: standard input is empty"),
        (b"hello\n", r"-: standard input begins with 'hello'; it may hold .* TSV with a header"),
        (b"a,a\n1,2\n", r"^-: two columns are called 'a'"),
        (b"PAR1 or not\n", r"^-: not a readable Parquet file"),
        (b"a,b\n1,2\n", r"-: its columns \(a, b\) fit no shape"),
    ],
)
def test_standard_input_without_rows_says_what_it_may_hold(given, message, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    with pytest.raises(InputError, match=message):
        open_inputs("-")


def test_parquet_with_large_rows_is_cut_smaller(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.read.arrow import arrow_tables

    path = tmp_path / "rows.parquet"
    table = pa.Table.from_pylist([alpaca(output=f"{n}" * 100) for n in range(1000)])
    pq.write_table(table, path, row_group_size=300)
    assert [len(p.data) for p in open_inputs(str(path)).parts()] == [1000]
    monkeypatch.setattr(arrow_tables, "PART_BYTES", 10_000)
    sizes = [len(p.data) for p in open_inputs(str(path)).parts()]
    assert sum(sizes) == 1000
    assert len(set(sizes[:-1])) == 1
    assert len(sizes) > 5
    assert [r.response for r in read_all(str(path)).rows] == table.column("output").to_pylist()


def test_a_file_without_rows_is_called_as_its_user_calls_it(tmp_path):
    (tmp_path / "rows.jsonl").write_text("no row\n")
    address = f"file://{tmp_path}/rows.jsonl"
    with pytest.raises(InputError, match=rf"^{re.escape(address)}: not one readable row"):
        open_inputs(address)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": {"path": "a.jsonl", "colums": {}}}, "input 'x' has an unknown key 'colums'"),
        ({"path": "a.jsonl", "shpe": "alpaca"}, "unknown key 'shpe'; allowed: path, shape"),
        ({"count": 3}, r"as in \{blank: \{count: N\}\}"),
    ],
)
def test_a_key_that_nobody_reads_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_inputs(given)


def test_hidden_files_of_a_folder_are_not_data(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n')
    for name in (".rows.jsonl", "._rows.jsonl"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    assert [Path(file.name).name for file in open_inputs(str(tmp_path)).files] == ["rows.jsonl"]


def test_a_link_to_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").symlink_to("gone.jsonl")
    with pytest.raises(InputError, match=r"rows\.jsonl: a link to gone\.jsonl, where there is no"):
        open_inputs(str(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize(
    ("rows", "unreadable"),
    [
        ([["bad \ud83d half", "fine"], ["a question", "an answer"]], ["a lone surrogate"]),
        (
            [{"message_id": "a", "message_tree_id": "a", "role": ["prompter"], "text": "x"}],
            [],
        ),
    ],
)
def test_rows_in_memory_that_no_file_could_hold_fail_alone(rows, unreadable):
    [part] = open_inputs(rows).parts()
    found = read_part(part)
    assert found.records == len(rows)
    assert [one.error[: len(unreadable[0])] for one in found.unreadable] == unreadable
