from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from curate.errors import InputError, StoppedShort, UsageError
from curate.publish.remote_copy import RemoteTarget
from curate.read.inputs import open_inputs
from curate.system.remote_manifest import MANIFEST
from tests.read.reading import read_all


class Bucket(MemoryFileSystem):
    """An object store in memory that breaks off at a given upload."""

    protocol = ("broken", "s3")
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    fails_at: ClassVar[int | None] = None
    sent: ClassVar[Iterator[int]] = itertools.count()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("broken://").strip("/")

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        """Upload a file, or lose the connection."""
        if next(self.sent) == self.fails_at:
            raise ConnectionResetError("reset by peer")
        super().put_file(lpath, rpath, **options)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    fsspec.register_implementation("broken", Bucket, clobber=True)
    Bucket.store.clear()
    Bucket.fails_at, Bucket.sent = None, itertools.count()
    yield fsspec.filesystem("broken")
    Bucket.store.clear()


def shards(folder: Path, *texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        line = f'{{"instruction": "Say", "output": "{text}"}}\n'
        (folder / f"train-{number:05d}-of-{len(texts):05d}.jsonl").write_text(line)
    return folder


def answers(where: str) -> list[str]:
    return [row.response for row in read_all(where).rows]


def test_a_folder_arrives_and_is_replaced_with_nothing_of_before(
    bucket: Bucket, tmp_path: Path
) -> None:
    where = "broken://b/data"
    first = RemoteTarget(where + "/", folder=True).send_folder(shards(tmp_path / "1", *"abc"))
    assert first == where
    assert answers(where) == ["a", "b", "c"]
    with pytest.raises(UsageError, match="holds what an export wrote; --replace"):
        RemoteTarget(where, folder=True)
    RemoteTarget(where, folder=True, replace=True).send_folder(shards(tmp_path / "2", *"de"))
    assert answers(where) == ["d", "e"]
    names = {path.rpartition("/")[2] for path in bucket.ls("/b/data", detail=False)}
    assert names == {"train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", MANIFEST}


@pytest.mark.parametrize("upload", range(5))
def test_a_folder_that_breaks_off_is_never_read_and_can_be_sent_again(
    bucket: Bucket, tmp_path: Path, upload: int
) -> None:
    where = "broken://b/data"
    RemoteTarget(where, folder=True).send_folder(shards(tmp_path / "1", *"abcd"))
    Bucket.sent, Bucket.fails_at = itertools.count(), upload
    with pytest.raises(StoppedShort, match=r"cannot be written: ConnectionResetError"):
        RemoteTarget(where, folder=True, replace=True).send_folder(shards(tmp_path / "2", *"efg"))
    Bucket.fails_at = None
    if upload == 0:
        # Nothing was changed yet.
        assert answers(where) == ["a", "b", "c", "d"]
    else:
        with pytest.raises(InputError, match="broke off"):
            open_inputs(where)
    RemoteTarget(where, folder=True, replace=True).send_folder(shards(tmp_path / "3", *"h"))
    assert answers(where) == ["h"]
    assert len(bucket.ls("/b/data")) == 2


def test_what_others_wrote_is_not_replaced(bucket: Bucket, tmp_path: Path) -> None:
    bucket.pipe({"/b/data/mine.parquet": b"x", "/b/rows.jsonl": b"x"})
    with pytest.raises(UsageError, match=r"no export wrote mine\.parquet in it"):
        RemoteTarget("broken://b/data", folder=True, replace=True)
    with pytest.raises(UsageError, match="is there; --replace replaces it"):
        RemoteTarget("broken://b/rows.jsonl", folder=False)
    with pytest.raises(UsageError, match="is a folder; name a file"):
        RemoteTarget("broken://b/data", folder=False)
    file = shards(tmp_path / "1", "a") / "train-00000-of-00001.jsonl"
    RemoteTarget("broken://b/rows.jsonl", folder=False, replace=True).send_file(file)
    assert answers("broken://b/rows.jsonl") == ["a"]


def test_a_file_cut_off_on_its_way_is_noticed(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shards(tmp_path / "1", "a") / "train-00000-of-00001.jsonl"
    monkeypatch.setattr(Bucket, "size", lambda *_: 7)
    with pytest.raises(StoppedShort, match="has 7 bytes there, and 38 were sent"):
        RemoteTarget("broken://b/rows.jsonl", folder=False).send_file(file)


def test_where_files_do_not_appear_whole_they_are_renamed(tmp_path: Path) -> None:
    where = f"file://{tmp_path}/new/data"
    RemoteTarget(where, folder=True).send_folder(shards(tmp_path / "1", *"ab"))
    assert answers(where) == ["a", "b"]
    assert not list((tmp_path / "new" / "data").glob(".*.part"))
    one = RemoteTarget(f"{where}.jsonl", folder=False)
    assert one.send_file(tmp_path / "1" / "train-00000-of-00002.jsonl") == f"{where}.jsonl"


@pytest.mark.parametrize("upload", range(4))
def test_a_part_that_broke_off_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upload: int
) -> None:
    """The manifest, two files and the manifest are sent; half of one arrives, then the rest."""
    where, sent, real = f"file://{tmp_path}/data", itertools.count(), LocalFileSystem.put_file

    def put_file(self: Any, lpath: str, rpath: str, **options: Any) -> None:
        if next(sent) == upload:
            Path(rpath).write_bytes(b"half")
            raise ConnectionResetError("reset by peer")
        real(self, lpath, rpath, **options)

    monkeypatch.setattr(LocalFileSystem, "put_file", put_file)
    with pytest.raises(StoppedShort, match="cannot be written"):
        RemoteTarget(where, folder=True).send_folder(shards(tmp_path / "1", *"ab"))
    assert list((tmp_path / "data").glob(".*.part"))
    RemoteTarget(where, folder=True, replace=True).send_folder(shards(tmp_path / "2", *"c"))
    assert answers(where) == ["c"]
    assert len(list((tmp_path / "data").iterdir())) == 2


def test_a_folder_that_lists_itself_is_empty(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.makedirs("/b/marked", exist_ok=True)
    monkeypatch.setattr(Bucket, "ls", lambda *_, **__: ["/b/marked/"])
    assert RemoteTarget("broken://b/marked", folder=True).name == "marked"


@pytest.mark.parametrize("where", ["https://example.com/rows.jsonl", "http://host/data"])
def test_the_web_can_only_be_read(where: str) -> None:
    with pytest.raises(UsageError, match="can only be read"):
        RemoteTarget(where, folder=False)
