"""Packed files, Arrow files, folders of `datasets` and of the Hub, pointers, and broken bytes."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError
from curate.read import open_inputs
from curate.read.part import PART_ROWS
from tests.read.reading import alpaca, lines_of, read_all

PACK = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
PACK[".zst"] = lambda data: pa.compress(data, "zstd", asbytes=True)
ROWS = [alpaca(output=f"{n}.") for n in range(3)]
TEXTS = {
    ".jsonl": lines_of(*ROWS),
    ".ndjson": lines_of(*ROWS),
    ".json": json.dumps(ROWS).encode(),
    ".csv": b"instruction,output\n" + b"".join(b"Say.,%d.\n" % n for n in range(3)),
    ".tsv": b"instruction\toutput\n" + b"".join(b"Say.\t%d.\n" % n for n in range(3)),
}


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("ending", TEXTS)
def test_every_text_may_be_packed(ending, packing, tmp_path):
    path = tmp_path / f"rows{ending}{packing}"
    path.write_bytes(PACK[packing](TEXTS[ending]))
    found = read_all(str(path))
    assert [row.response for row in found.rows] == ["0.", "1.", "2."]
    assert not found.failed


@pytest.mark.parametrize("packing", [".gz", ".xz", ".bz2"])
def test_members_behind_each_other_are_one_file(packing, tmp_path):
    path = tmp_path / f"rows.jsonl{packing}"
    path.write_bytes(PACK[packing](lines_of(ROWS[0])) + PACK[packing](lines_of(*ROWS[1:])))
    assert len(read_all(str(path)).rows) == 3


# The smallest blocks that each packing has: a quarter less of the file then holds whole ones.
QUICK = {
    ".gz": lambda data: gzip.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".bz2": lambda data: bz2.compress(data, 1),
}


@pytest.mark.parametrize("packing", QUICK)
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv"])
def test_a_file_that_breaks_off_counts_one_failure(ending, packing, tmp_path):
    many = [alpaca(output=f"{n} {n * 7919 % 1009}.") for n in range(30_000)]
    text = {
        ".jsonl": lines_of(*many),
        ".json": json.dumps(many).encode(),
        ".csv": b"instruction,output\n" + b"".join(b"Say.,%d.\n" % n for n in range(30_000)),
    }[ending]
    path = tmp_path / f"rows{ending}{packing}"
    packed = QUICK[packing](text)
    path.write_bytes(packed[: -len(packed) // 4])
    found = read_all(str(path))
    assert len(found.rows) > PART_ROWS
    assert len(found.failed) == 1
    assert "breaks off" in found.failed[0][2]


def test_arrow_files_and_streams_are_read_in_parts(tmp_path):
    table = pa.Table.from_pylist([alpaca(output=str(n)) for n in range(20_000)])
    for name, make in (("file", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        with (
            pa.OSFile(str(tmp_path / f"{name}.arrow"), "wb") as sink,
            make(sink, table.schema) as out,
        ):
            out.write_table(table, max_chunksize=700)
        opened = open_inputs(str(tmp_path / f"{name}.arrow"))
        assert [part.data.num_rows for part in opened.parts()] == [16_384, 3_616]
        found = read_all(str(tmp_path / f"{name}.arrow"))
        assert [row.response for row in found.rows] == [str(n) for n in range(20_000)]


def test_what_datasets_saved_is_read(tmp_path):
    import datasets

    one = datasets.Dataset.from_list(ROWS)
    one.save_to_disk(tmp_path / "one", num_shards=2)
    assert [row.response for row in read_all(str(tmp_path / "one")).rows] == ["0.", "1.", "2."]
    datasets.DatasetDict(train=one, test=one.select([0])).save_to_disk(tmp_path / "both")
    assert len(read_all(str(tmp_path / "both")).rows) == 3
    assert len(read_all(str(tmp_path / "both" / "test")).rows) == 1
    datasets.DatasetDict(a=one, b=one).save_to_disk(tmp_path / "odd")
    with pytest.raises(InputError, match=r"has the splits a, b; choose one: .*odd/SPLIT"):
        open_inputs(str(tmp_path / "odd"))


def test_a_dictionary_of_splits_gives_its_training_split():
    import datasets

    one = datasets.Dataset.from_list(ROWS)
    assert len(read_all(datasets.DatasetDict(test=one.select([0]), train=one)).rows) == 3
    assert len(read_all(datasets.DatasetDict(test=one.select([0]))).rows) == 1
    with pytest.raises(InputError, match=r"has the splits a, b; choose one: give dataset"):
        open_inputs(datasets.DatasetDict(a=one, b=one))


def test_a_clone_gives_its_training_split(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "dataset_infos.json").write_text("{}")
    for split, rows in (("train", ROWS), ("test", ROWS[:1])):
        (tmp_path / "data").mkdir(exist_ok=True)
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    assert len(read_all(str(tmp_path)).rows) == 3
    assert len(read_all(f"{tmp_path}/data/test-*").rows) == 1
    (tmp_path / "data" / "train-00000-of-00001.parquet").unlink()
    assert len(read_all(str(tmp_path)).rows) == 1


def test_a_bad_byte_in_a_parquet_text_fails_its_row_alone(tmp_path):
    texts = [b"good", b"caf\xe9", b"fine"]
    bad = pa.Array.from_buffers(pa.string(), 3, pa.array(texts, pa.binary()).buffers())
    table = pa.table({"instruction": ["a", "b", "c"], "output": bad, "id": [1, 2, 3]})
    pq.write_table(table, tmp_path / "rows.parquet")
    found = read_all(str(tmp_path / "rows.parquet"))
    assert [row.response for row in found.rows] == ["good", "fine"]
    assert [(ordinal, error) for ordinal, _, error, _ in found.failed] == [
        (1, "invalid UTF-8 (0xe9)")
    ]


@pytest.mark.parametrize("between", [b"\xff,", b"x,", b"\xc3\x28"])
def test_bytes_between_the_elements_of_an_array_are_one_failure(between, tmp_path):
    rows = json.dumps(ROWS).encode().replace(b"}, {", b"}" + between + b"{", 1)
    (tmp_path / "rows.json").write_bytes(rows)
    found = read_all(str(tmp_path / "rows.json"))
    assert len(found.rows) == 1
    assert len(found.failed) == 1
    found.failed[0][2].encode()


@pytest.mark.parametrize(("ending", "between"), [("csv", ","), ("tsv", "\t")])
def test_a_broken_header_names_file_and_line(ending, between, tmp_path):
    path = tmp_path / f"rows.{ending}"
    path.write_text(f'"instruction"x{between}output\na{between}b\n')
    with pytest.raises(InputError, match=rf"rows\.{ending}:1: broken {ending.upper()} header"):
        open_inputs(str(path))


def test_a_pointer_of_git_lfs_is_called_one(tmp_path):
    path = tmp_path / "train.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    for where in (path, tmp_path):
        with pytest.raises(InputError, match=r"Git LFS pointer.*git lfs pull"):
            open_inputs(str(where))


def test_large_whole_numbers_are_exact(tmp_path):
    table = pa.table({"prompt": ["q"], "h": pa.array([2**64 - 1], pa.uint64())})
    pq.write_table(table, tmp_path / "rows.parquet")
    [row] = read_all(str(tmp_path / "rows.parquet")).rows
    assert json.loads(row.extra)["h"] == 2**64 - 1
