"""A file that was written outlives a power cut, and so does its name."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import stat
from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.steps import Exact, Length
from curate.system import posix
from curate.system.posix import UnfinishedFile
from curate.write.shards import cut


def test_a_file_is_synced_before_it_gets_its_name_and_the_folder_behind_it(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace

    def synced(handle):
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def replaced(old, new):
        calls.append("name")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    posix.write_atomically(tmp_path / "a.json", "{}")
    assert calls == ["file", "name", "folder"]
    assert (tmp_path / "a.json").read_text() == "{}"


def observed(monkeypatch):
    """Note what is made durable, as it is then, and what is moved, in the order of the calls."""
    synced, moved, calls = {}, [], itertools.count()
    sync, replace, rename = os.fsync, os.replace, os.rename

    def mark(handle):
        sync(handle)
        found = os.fstat(handle)
        now = (found.st_size, found.st_mtime_ns)
        synced[found.st_dev, found.st_ino] = (now, next(calls))

    def noted(move):
        def moving(old, new, **how):
            found = os.stat(old)
            # A folder is moved with all that is in it.
            durable = stat.S_ISDIR(found.st_mode) or (found.st_dev, found.st_ino) in synced
            moved.append((Path(new), durable, next(calls)))
            move(old, new, **how)

        return moving

    monkeypatch.setattr(os, "fsync", mark)
    monkeypatch.setattr(os, "replace", noted(replace))
    monkeypatch.setattr(os, "rename", noted(rename))
    return synced, moved


def test_all_that_a_run_leaves_outlives_a_power_cut(tmp_path, monkeypatch):
    """Each file was synced as it is now, before it got its name; its folder was synced, too."""
    rows = [{"instruction": f"Say {n}.", "output": "one " * n} for n in range(1, 9)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    synced, moved = observed(monkeypatch)
    (tmp_path / "out").mkdir()
    for name, output in (("a", "kept.jsonl"), ("b", "kept.json"), ("c", "kept.parquet")):
        Pipeline([Length(min=2, on="response"), Exact()]).run(
            source, run=tmp_path / "runs" / name, output=tmp_path / "out" / output
        )
    cut(tmp_path / "out" / "kept.parquet", tmp_path / "out" / "shards", rows=3)
    # The log of SQLite's is its own business, a note of where money went is kept by the store.
    published = [
        path
        for place in ("runs", "out")
        for path in (tmp_path / place).rglob("*")
        if path.name not in ("lock", "spending.json")
    ]
    files = [path for path in published if path.is_file()]
    assert {path.suffix for path in files} >= {".parquet", ".jsonl", ".json", ".yaml", ".md"}
    for path in (*published, tmp_path / "out", tmp_path / "runs"):
        found = path.stat()
        now = (found.st_size, found.st_mtime_ns)
        last, _ = synced.get((found.st_dev, found.st_ino), (None, 0))
        there = "was never synced" if last is None else f"was synced as {last}, and is {now}"
        # What changes in a folder later (scratch of the run) may be lost.
        assert last is not None if path.is_dir() else last == now, f"{path} {there}"
    names = [move for move in moved if move[0].exists() and move[0].name != "spending.json"]
    assert len(names) > 20
    for path, durable, when in names:
        assert durable, f"{path} got its name before its bytes were durable"
        folder = path.parent.stat()
        _, then = synced.get((folder.st_dev, folder.st_ino), (None, -1))
        assert then > when, f"the name of {path} is not durable"


def test_a_draft_has_one_writer_and_what_a_killed_one_left_is_written_over(tmp_path):
    out = tmp_path / "rows.jsonl"
    (tmp_path / "rows.jsonl.tmp").write_text("left by a killed process, and rather long")
    draft = UnfinishedFile(out)
    with pytest.raises(UsageError, match=r"another process is writing .*rows\.jsonl; wait"):
        UnfinishedFile(out)
    draft.path.write_text("new")
    os.replace(draft.path, out)
    # The file has its place, so that another one may be written, before the first is closed.
    other = UnfinishedFile(out)
    draft.close()
    assert other.path.exists()
    other.close()
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert out.read_text() == "new"


# On Linux `ENOTSUP` and `EOPNOTSUPP` are one number, on macOS two.
@pytest.mark.parametrize("said", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EIO])
def test_a_disk_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch, said):
    def none(handle, how):
        raise OSError(said, os.strerror(said))

    monkeypatch.setattr(fcntl, "flock", none)
    if said == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            UnfinishedFile(tmp_path / "rows.jsonl")
        return
    draft = UnfinishedFile(tmp_path / "rows.jsonl")
    draft.path.write_text("whole")
    os.replace(draft.path, tmp_path / "rows.jsonl")
    draft.close()
    assert (tmp_path / "rows.jsonl").read_text() == "whole"


def test_a_file_that_is_moved_while_another_process_opens_it_is_not_its_unfinished_one(
    tmp_path, monkeypatch
):
    """Between opening `rows.jsonl.tmp` and locking it, that became `rows.jsonl`."""
    out, lock, moved = tmp_path / "rows.jsonl", fcntl.flock, []
    first = UnfinishedFile(out)
    first.path.write_text("whole")

    def late(handle, how):
        if not moved:
            moved.append(os.replace(first.path, out))
            first.close()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    second = UnfinishedFile(out)
    second.path.write_text("other")
    assert out.read_text() == "whole"
    second.close()
