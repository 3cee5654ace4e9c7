"""A folder of shards appears whole or not at all, and loads as the same rows as JSON lines do."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.errors import UsageError
from curate.write import check_folder, is_folder, shards, write_rows, write_shards
from tests.write.rows import GOOD, USER, row, table


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["sft", "preference", "ranked", "unpaired"])
def test_shards_load_as_json_lines_do(tmp_path, kind):
    datasets = pytest.importorskip("datasets")
    extras = [{"id": n, **({"late": {"tags": ["a", str(n)]}} if n > 2 else {})} for n in range(5)]
    rows = table(*(row(kind, n, extra=json.dumps(extra)) for n, extra in enumerate(extras)))
    assert write_shards([rows], tmp_path / "data", rows=2) == 5
    write_rows([rows], tmp_path / "rows.jsonl")
    cache = str(tmp_path / "cache")
    files = str(tmp_path / "data" / "*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
    plain = str(tmp_path / "rows.jsonl")
    lines = datasets.load_dataset("json", data_files=plain, split="train", cache_dir=cache)
    assert loaded.to_list() == lines.to_list()
    assert [one["id"] for one in loaded] == list(range(5))
    assert loaded[3]["late"] == {"tags": ["a", "3"]}


def test_each_shard_is_full_but_the_last(tmp_path, monkeypatch):
    """Batches end within shards and shards within batches."""
    monkeypatch.setattr(shards, "_BATCH", 3)
    rows = [row("sft", n, extra=json.dumps({"n": n})) for n in range(10)]
    assert write_shards([table(*rows[:7]), table(*rows[7:])], tmp_path / "d", rows=4) == 10
    assert names(tmp_path / "d") == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    tables = [pq.read_table(path) for path in sorted((tmp_path / "d").iterdir())]
    assert [one.column("n").to_pylist() for one in tables] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len({str(one.schema) for one in tables}) == 1
    assert tables[0].column("messages")[0].as_py()[-1] == {"role": "assistant", "content": "4"}
    assert names(tmp_path) == ["d"]


def test_rows_that_just_fill_a_shard_make_no_empty_one(tmp_path):
    write_shards([table(row("prompt"), row("prompt", 1))], tmp_path / "d", rows=2, split="test")
    assert names(tmp_path / "d") == ["test-00000-of-00001.parquet"]


def test_no_rows_make_one_empty_shard(tmp_path):
    (tmp_path / "d").mkdir()
    assert write_shards([], tmp_path / "d") == 0
    assert names(tmp_path / "d") == ["train-00000-of-00001.parquet"]


def test_a_row_that_does_not_fit_leaves_no_folder(tmp_path):
    long = row("sft", 1, messages=(*USER, *GOOD, *USER, *GOOD))
    with pytest.raises(UsageError, match="one user and one assistant turn"):
        write_shards([table(row("sft", messages=(*USER, *GOOD)), long)], tmp_path / "d", "alpaca")
    assert names(tmp_path) == []


def test_a_stop_between_shards_leaves_no_folder(tmp_path, monkeypatch):
    write, written = shards._write, []

    def stop_at_second(path, *rest):
        if written:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(shards, "_write", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        write_shards([table(row("prompt"), row("prompt", 1))], tmp_path / "d", rows=1)
    assert written == ["train-00000-of-00002.parquet"]
    assert names(tmp_path) == []


def test_what_stands_there_is_not_replaced(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"full is not empty.*choose a new folder"):
        write_shards([table(row("prompt"))], tmp_path / "full")
    assert names(tmp_path / "full") == ["mine.txt"]
    with pytest.raises(UsageError, match=r"mine\.txt is a file"):
        check_folder(tmp_path / "full" / "mine.txt")


def test_a_folder_is_told_from_a_file(tmp_path):
    assert is_folder("data") and is_folder("v1.2/") and is_folder(f"{tmp_path}")
    assert not is_folder("data/rows.parquet")
