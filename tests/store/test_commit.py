"""Group commit: many writers share a flush, a bad one harms nobody, a full disk loses nothing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.ask import Ask, Reply
from curate.errors import DiskFull, StoreError
from curate.store.commit import BALLAST_BYTES, Committer, GroupCommit
from curate.store.store import Paid, Store, save_replies
from tests.engine.asking import Answering, driver, one


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB, where mounting one is allowed."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Take up the room of a file system but for `leave` bytes."""
    free = os.statvfs(folder)
    path = folder / "filler"
    path.write_bytes(b"x" * (free.f_bavail * free.f_frsize - leave))
    return path


def test_writers_that_wait_together_share_transactions(tmp_path: Path) -> None:
    begun = 0

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(tmp_path / "db", isolation_level=None)
        connection.execute("CREATE TABLE numbers (n INTEGER)")

        def trace(sql: str) -> None:
            nonlocal begun
            begun += sql.startswith("BEGIN")

        connection.set_trace_callback(trace)
        return connection

    committer = Committer(connect, tmp_path)

    async def write_all() -> list[int]:
        sql = "INSERT INTO numbers VALUES (?) RETURNING n"
        writes = (
            committer.commit(lambda c, n=n: c.execute(sql, (n,)).fetchone()[0]) for n in range(500)
        )
        return await asyncio.gather(*writes)

    assert asyncio.run(write_all()) == list(range(500))
    committer.close()
    assert 1 <= begun < 100


def test_a_bad_operation_does_not_take_its_neighbours_along(tmp_path: Path) -> None:
    async def write(store: Store) -> list[object]:
        def save(number: int) -> object:
            key, reply = f"{number:032x}", Reply(text="paid")
            return store.commit(
                lambda c: save_replies(c, [Paid(key, 0, reply, Ask.text("x"), "m")])[0]
            )

        bad = store.commit(lambda c: c.execute("INSERT INTO nowhere VALUES (1)"))
        overflow = store.commit(lambda c: c.execute("SELECT ?", (1 << 70,)))
        return await asyncio.gather(
            save(1), bad, save(2), overflow, save(3), return_exceptions=True
        )

    with Store.open(tmp_path) as store:
        results = asyncio.run(write(store))
        assert isinstance(results[1], StoreError)
        assert isinstance(results[3], OverflowError)
        assert len(store.get_many(f"{n:032x}" for n in (1, 2, 3))) == 3


def test_a_bad_item_of_a_group_is_alone_with_its_error(tmp_path: Path) -> None:
    groups: list[list[int]] = []

    def operate(connection: sqlite3.Connection, items: list[int]) -> list[int]:
        groups.append(items)
        if 3 in items:
            raise ZeroDivisionError
        return [10 * item for item in items]

    async def all_of(store: Store) -> list[object]:
        grouped = GroupCommit(store.commit, operate)
        first = asyncio.create_task(grouped(0))
        await asyncio.sleep(0)
        rest = (grouped(n) for n in range(1, 6))
        return await asyncio.gather(first, *rest, return_exceptions=True)

    with Store.open(tmp_path) as store:
        results = asyncio.run(all_of(store))
    assert isinstance(results.pop(3), ZeroDivisionError)
    assert results == [0, 10, 20, 40, 50]
    # What waited for the first commit came together, and alone only after it had failed together.
    assert groups == [[0], [1, 2, 3, 4, 5], [1], [2], [3], [4], [5]]


def test_no_room_for_the_ballast_stops_before_anything_is_sent(small_disk: Path) -> None:
    Store.open(small_disk / "store").close()
    filler = fill(small_disk, leave=BALLAST_BYTES // 2)
    model = Answering()
    with pytest.raises(DiskFull, match="run the same command again"), driver(small_disk, model):
        pass
    assert model.sent == []
    filler.unlink()
    with driver(small_disk, model) as opened:
        assert opened.run([one("hello")])[0].value == "re: hello"


def test_a_full_disk_stops_sending_and_keeps_what_was_in_flight(small_disk: Path) -> None:
    jobs = [one(f"{number} {'prompt ' * 50}") for number in range(4000)]
    long = os.urandom(2000).hex()
    model = Answering(lambda text: f"{text.split()[0]} {long}", max_concurrency=32)
    with driver(small_disk, model) as opened:
        opened.run(jobs[:10])
        filler = fill(small_disk, leave=1 << 20)
        with pytest.raises(DiskFull, match="no room left for the store"):
            opened.run(jobs)
    paid = set(model.sent)
    assert 10 < len(paid) < 3000
    assert not (small_disk / "store" / "ballast").exists()
    with Store.open(small_disk / "store") as store:
        assert store.stats()["replies"] == len(paid), "a reply that arrived was lost"
    filler.unlink()
    again = Answering(lambda text: f"{text.split()[0]} {long}")
    with driver(small_disk, again) as opened:
        outcomes = opened.run(jobs[: len(paid) + 200])
    assert [o.value.split()[0] for o in outcomes] == [str(n) for n in range(len(paid) + 200)]
    assert not paid & set(again.sent), "a reply was paid for twice"
    assert (small_disk / "store" / "ballast").stat().st_size == BALLAST_BYTES


def test_a_reply_outlives_a_power_cut_and_two_processes_take_turns(tmp_path, monkeypatch):
    """Without FULL a power cut loses commits; without IMMEDIATE two writers meet in the middle."""
    import sqlite3

    from curate.store import store as module

    said: list[str] = []
    connect = sqlite3.connect

    def traced(*given, **named):
        connection = connect(*given, **named)
        connection.set_trace_callback(said.append)
        return connection

    monkeypatch.setattr(module.sqlite3, "connect", traced)
    with module.Store.open(tmp_path) as store:
        store.commit_now(lambda c: c.execute("SELECT 41 + 1"))
    assert "PRAGMA synchronous = FULL" in said
    at = said.index("SELECT 41 + 1")
    assert said[at - 1] == "BEGIN IMMEDIATE"
    assert said[at + 1] == "COMMIT"
    # Nothing else begins one that asks for the lock later, where another process may hold it.
    begun = {line for line in said if line.upper().startswith("BEGIN")}
    assert begun == {"BEGIN IMMEDIATE", "BEGIN IMMEDIATE;"}
