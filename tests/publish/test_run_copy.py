"""Whole runs at addresses: what is read is one publication, whole, whatever happens meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from curate.errors import CeilingReached, InputError, StoppedShort, UsageError
from curate.pipeline import Pipeline, Result
from curate.publish.remote_copy import RemoteTarget
from curate.publish.run_copy import copy_run, local_run, publish_run, working_copy
from curate.read.inputs import open_inputs
from curate.steps import Length
from curate.system.remote_manifest import MANIFEST
from curate.system.remote_run import fetch_run, published_run
from tests.read.reading import read_all

WHERE = "memory://b/runs/one"


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


def a_run(folder: Path, rows: int) -> Path:
    """A run that keeps so many rows and drops one."""
    records = [
        {"instruction": f"Say {n}.", "output": f"It is {n}, as you say."} for n in range(rows)
    ]
    Pipeline([Length(min=3)]).run([*records, {"instruction": "Say.", "output": "No."}], run=folder)
    return folder


def kept(where: str) -> int:
    """How many rows the run at an address has kept, by its report and as an input."""
    result = Result.open(where)
    assert len(result.kept) == result.summary["kept"] == len(read_all(where).rows)
    return len(result.kept)


def test_a_run_goes_to_an_address_and_back(memory: Any, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", 5)
    done = publish_run(run, WHERE)
    assert done.files == len(published_run(WHERE).files) and done.store_bytes == 0  # type: ignore[union-attr]
    assert kept(WHERE) == 5
    back = tmp_path / "elsewhere" / "run"
    copy_run(WHERE, str(back), replace=False, with_store=True)
    same = {p.relative_to(run) for p in run.rglob("*") if p.is_file()}
    assert {p.relative_to(back) for p in back.rglob("*") if p.is_file()} == same - {
        Path(".state/lock")
    }
    assert (back / "report.json").read_bytes() == (run / "report.json").read_bytes()
    with pytest.raises(UsageError, match="is there; choose another folder"):
        copy_run(WHERE, str(back), replace=True, with_store=True)
    # And from one folder to another, as to a disk that machines share.
    copy_run(str(run), str(tmp_path / "third"), replace=False, with_store=True)
    assert len(Result.open(tmp_path / "third").kept) == 5


def test_kept_rows_are_an_input_under_the_address_of_the_run(memory: Any, tmp_path: Path) -> None:
    publish_run(a_run(tmp_path / "run", 5), WHERE)
    entry = open_inputs(WHERE).fingerprint()[0]
    assert entry["file"] == f"{WHERE}/kept/sft/part-00000.parquet"
    again = Pipeline([Length(min=2)], inputs=WHERE).run(run=tmp_path / "next")
    before = [row.id for row in Result.open(tmp_path / "run").kept]
    assert [row.id for row in again.kept] == before
    # Published anew, it is the same input.
    publish_run(tmp_path / "run", WHERE)
    assert open_inputs(WHERE).fingerprint()[0] == entry


def test_it_is_replaced_by_the_same_folder_and_leaves_nothing(memory: Any, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", 5)
    publish_run(run, WHERE)
    shutil.rmtree(run / "kept")
    Pipeline([Length(min=3)]).run(
        [{"instruction": "Say it.", "output": "It is it, as you say."}], run=run, replace=True
    )
    publish_run(run, WHERE)
    assert kept(WHERE) == 1
    names = {path.rpartition("/")[2] for path in memory.ls("/b/runs/one", detail=False)}
    assert names == {MANIFEST, published_run(WHERE).publication}  # type: ignore[union-attr]


def test_what_others_published_is_not_replaced(memory: Any, tmp_path: Path) -> None:
    first, second = a_run(tmp_path / "1", 5), a_run(tmp_path / "2", 7)
    publish_run(first, WHERE)
    with pytest.raises(UsageError, match=r"published from another folder.*--replace"):
        publish_run(second, WHERE)
    publish_run(second, WHERE, replace=True)
    assert kept(WHERE) == 7
    with pytest.raises(UsageError, match="since by another machine"):
        publish_run(first, WHERE)
    memory.pipe("/b/data/mine.parquet", b"x")
    for where in ("memory://b/data", "memory://b/data/mine.parquet"):
        with pytest.raises(UsageError, match="no run was published there"):
            publish_run(first, where, replace=True)
    with pytest.raises(UsageError, match="holds no run"):
        publish_run(tmp_path, "memory://b/none")


def test_of_two_who_publish_together_one_is_whole(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = a_run(tmp_path / "1", 5), a_run(tmp_path / "2", 7)
    real, others = MemoryFileSystem.put_file, iter([lambda: publish_run(second, WHERE)])

    def put_file(self: Any, lpath: str, rpath: str, **options: Any) -> None:
        real(self, lpath, rpath, **options)
        # After the first file of the one, all of the other.
        if (other := next(others, None)) is not None:
            other()

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
    with pytest.raises(StoppedShort, match=r"somebody else has published .*--replace"):
        publish_run(first, WHERE)
    assert kept(WHERE) == 7
    assert len(memory.ls("/b/runs/one")) == 2


def test_a_reader_gets_the_new_run_when_the_old_one_goes(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_run(a_run(tmp_path / "run", 5), WHERE)
    publish = [lambda: publish_run(a_run(tmp_path / "2", 7), WHERE, replace=True)]
    real = MemoryFileSystem.get

    def get(self: Any, *arguments: Any, **options: Any) -> Any:
        if publish:
            publish.pop()()
        return real(self, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "get", get)
    assert len(Result.open(WHERE).kept) == 7


@pytest.mark.parametrize("name", ["run/report.json", "run/kept/sft/part-00000.parquet"])
def test_a_damaged_or_missing_file_is_named(memory: Any, tmp_path: Path, name: str) -> None:
    publish_run(a_run(tmp_path / "run", 5), WHERE)
    path = f"/b/runs/one/{published_run(WHERE).publication}/{name}"  # type: ignore[union-attr]
    sound = memory.cat_file(path)
    memory.pipe_file(path, bytes([sound[0] ^ 1]) + sound[1:])
    with pytest.raises(InputError, match=rf"one/{name}: has .* its manifest says"):
        Result.open(WHERE)
    with pytest.raises(InputError, match=rf"one/{name}: has .* its manifest says"):
        open_inputs(WHERE)
    memory.rm_file(path)
    with pytest.raises(InputError, match="of its run is missing there; publish the run again"):
        local_run(WHERE)
    with pytest.raises(InputError, match="is missing"):
        copy_run(WHERE, str(tmp_path / "back"), replace=False, with_store=True)
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob(".back-*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"publication": "../other"}, "which is no publication"),
        ({"files": {"run/../../x": {"size": 1, "sha256": ""}}}, "not a file of its folder"),
        ({"files": {"/etc/x": {"size": 1, "sha256": ""}}}, "not a file of its folder"),
        ({"files": {}}, "not a run of this version"),
        ({"format": 3}, "has format 3, and this version of curate reads 2"),
        ({"files": [1]}, "is not a manifest"),
    ],
)
def test_a_manifest_that_is_not_one_is_refused(
    memory: Any, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    run = a_run(tmp_path / "run", 5)
    publish_run(run, WHERE)
    path = f"/b/runs/one/{MANIFEST}"
    memory.pipe_file(path, json.dumps({**json.loads(memory.cat_file(path)), **change}).encode())
    with pytest.raises(InputError, match=said):
        Result.open(WHERE)


def test_a_run_fetches_no_file_that_no_run_has(memory: Any, tmp_path: Path) -> None:
    """Where a run counts its spending is a path, which another's manifest must not choose."""
    publish_run(a_run(tmp_path / "run", 5), WHERE)
    manifest = published_run(WHERE)
    assert manifest is not None
    extra = manifest.files["run/report.json"]
    folder = f"/b/runs/one/{manifest.publication}"
    for name in ("run/.state/spending-in", "other/x"):
        manifest.files[name] = extra
        memory.pipe_file(f"{folder}/{name}", memory.cat_file(f"{folder}/run/report.json"))
    memory.pipe_file(f"/b/runs/one/{MANIFEST}", manifest.text.encode())
    back = tmp_path / "back"
    copy_run(WHERE, str(back), replace=False, with_store=True)
    assert not (back / ".state" / "spending-in").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"run", "back"}


def test_exported_rows_and_runs_do_not_replace_each_other(memory: Any, tmp_path: Path) -> None:
    publish_run(a_run(tmp_path / "run", 5), WHERE)
    with pytest.raises(UsageError, match="holds a published run"):
        RemoteTarget(WHERE, folder=True, replace=True)
    rows = tmp_path / "rows"
    rows.mkdir()
    (rows / "a.jsonl").write_text('{"instruction": "Say", "output": "x"}\n')
    RemoteTarget("memory://b/rows", folder=True).send_folder(rows)
    with pytest.raises(UsageError, match="no run was published there"):
        publish_run(tmp_path / "run", "memory://b/rows", replace=True)
    with pytest.raises(InputError, match="no run is published here"):
        fetch_run("memory://b/rows", tmp_path / "x", bool)


def test_an_address_that_cannot_be_written_to_is_told_before_the_run(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pipe_file(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    with (
        pytest.raises(StoppedShort, match="its bucket or folder does not exist"),
        working_copy(WHERE, tmp_path / "run"),
    ):
        pytest.fail("the run began")
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_in_the_folder_before_is_not_published_for_another(
    memory: Any, tmp_path: Path
) -> None:
    """Stopped before it has looked at the folder, a run has not said that it is its own."""
    run = a_run(tmp_path / "run", 5)
    with pytest.raises(KeyboardInterrupt), working_copy(WHERE, run):
        raise KeyboardInterrupt
    assert published_run(WHERE) is None
    with pytest.raises(StoppedShort, match="the disk"), working_copy(WHERE, run):
        a_run(run, 5)
        raise StoppedShort("the disk")
    assert kept(WHERE) == 5


@pytest.mark.parametrize("failure", [OSError("the network is gone"), KeyboardInterrupt()])
def test_the_first_error_stays_where_publishing_fails_too(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def put_file(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
    told, run = list[str](), tmp_path / "run"
    with (
        pytest.raises(CeilingReached, match="4 requests"),
        working_copy(WHERE, run, tell=lambda said: told.append(said)),
    ):
        a_run(run, 5)
        raise CeilingReached("4 requests")
    said = "the network is gone" if isinstance(failure, OSError) else "was interrupted"
    assert f"has ended, in {run}, and is not published" in told[0] and said in told[0]
    after = StoppedShort if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(after), working_copy(WHERE, run):
        a_run(run, 5)
    monkeypatch.undo()
    with working_copy(WHERE, run):
        a_run(run, 5)
    assert kept(WHERE) == 5


def test_what_others_published_during_a_run_stays_and_the_command_is_named(
    memory: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = f"curate export {run} --as run -o {WHERE} --replace"
    with pytest.raises(StoppedShort, match=command), working_copy(WHERE, run):
        a_run(run, 5)
        publish_run(a_run(tmp_path / "2", 7), WHERE)
    assert kept(WHERE) == 7


@pytest.mark.parametrize("where", ["memory://b/runs/..", "memory://b/runs/."])
def test_a_folder_is_named_by_its_own_name(memory: Any, tmp_path: Path, where: str) -> None:
    with pytest.raises(UsageError, match="names no file"):
        publish_run(a_run(tmp_path / "run", 5), where)


def test_what_is_written_beside_a_copy_would_be_lost(memory: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Say it.", "output": "It is it, as you say."}\n')
    Pipeline([Length(min=3)], inputs=str(rows)).run(run=tmp_path / "run")
    publish_run(tmp_path / "run", WHERE)
    with pytest.raises(UsageError, match="fetch the run first, curate export ADDRESS --as run"):
        Result.open(WHERE).rethreshold(length=20)


# Ends its own process at the n-th thing that it does at the address: before it, or in its middle.
CHILD = """
import itertools, os, signal, sys
from pathlib import Path
from fsspec.implementations.local import LocalFileSystem
from curate.publish.remote_copy import RemoteTarget
from curate.publish.run_copy import publish_run

run, where, last, half = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "half"
count = itertools.count()

def mortal(name):
    real = getattr(LocalFileSystem, name)
    def call(self, *arguments, **options):
        if next(count) == last:
            if half and name == "put_file":
                Path(arguments[1]).write_bytes(Path(arguments[0]).read_bytes()[:7])
            if half and name == "rm":
                next(p for p in sorted(Path(arguments[0]).rglob("*")) if p.is_file()).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *arguments, **options)
    setattr(LocalFileSystem, name, call)

for name in ("put_file", "mv", "rm"):
    mortal(name)
publish_run(Path(run), where)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["before", "half"])
def test_killed_at_any_instant_the_old_run_or_the_new_one_is_there(
    tmp_path: Path, how: str
) -> None:
    where, run = f"file://{tmp_path}/there", a_run(tmp_path / "run", 5)
    publish_run(run, where)
    ends = set[tuple[int, int]]()
    for instant in range(40):
        publish_run(run, where)
        assert len(list((tmp_path / "there").iterdir())) == 2
        # One row more than is published.
        rows = kept(where) + 1
        records = [{"instruction": f"Say {n}.", "output": "It is as you say."} for n in range(rows)]
        Pipeline([Length(min=3)]).run(records, run=run, replace=True)
        command = [sys.executable, "-c", CHILD, str(run), where, str(instant), how]
        code = subprocess.run(command, check=False, timeout=60).returncode
        assert code in (0, -signal.SIGKILL)
        ends.add((code, kept(where) - rows))
        if code == 0:
            break
    # Killed with the old run there, with the new one there (its predecessor not deleted yet), done.
    assert ends == {(-9, -1), (-9, 0), (0, 0)}
    assert instant > 10
