"""The store keeps what was committed: over attempts, processes and SIGKILL."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from curate.ask import Ask, Reply
from curate.errors import StoreError, UsageError
from curate.store.store import VERSION, Paid, Store, find_replies, save_replies

ASK = Ask.text("What is 2 + 2?", temperature=0.0)


def key(number: int) -> str:
    return f"{number:032x}"


def put(store: Store, number: int, attempt: int, text: str) -> str:
    """Store a reply and return the text that the store answers with."""
    reply = Reply(text=text)
    stored = store.commit_now(
        lambda c: save_replies(c, [Paid(key(number), attempt, reply, ASK, "m")])
    )
    return stored[0].reply.text


def test_replies_come_back_with_everything_in_them(tmp_path: Path) -> None:
    reply = Reply("ü\ud800", "length", (1.5, [2]), ({"token": "a"},), 7, 9)
    with Store.open(tmp_path) as store:
        store.commit_now(lambda c: save_replies(c, [Paid(key(1), 0, reply, ASK, "judge")]))
        assert store.get_many([key(1), key(2)]) == {key(1): (0, reply)}
        assert store.get_many([key(1)])[key(1)].reply.key == key(1)
        request = store.requests([key(1)])[key(1)]
        assert request.model == "judge"
        assert request.content["messages"] == [["user", "What is 2 + 2?", None]]


def test_the_newest_attempt_is_replayed(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for attempt, text in ((1, "second"), (0, "first"), (2, "third")):
            put(store, 1, attempt, text)
        assert store.get_many([key(1)])[key(1)] == (2, Reply(text="third"))
        assert store.commit_now(lambda c: find_replies(c, {key(1): 3})) == {}
        assert [e.attempt for e in store.exchanges()] == [1, 0, 2]
        assert store.compact() == 2
        assert [(e.attempt, e.reply.text) for e in store.exchanges()] == [(2, "third")]


def test_the_first_durable_reply_wins(tmp_path: Path) -> None:
    with Store.open(tmp_path) as one, Store.open(tmp_path) as other:
        assert put(one, 1, 0, "first") == "first"
        assert put(other, 1, 0, "second") == "first"


def test_in_a_group_only_what_is_new_is_written(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        put(store, 3, 0, "first")
        paid = [Paid(key(n), 0, Reply(text="second"), ASK, "m") for n in range(6)]
        stored = store.commit_now(lambda c: save_replies(c, paid))
        assert [s.reply.text for s in stored] == ["second"] * 3 + ["first"] + ["second"] * 2
        assert [s.reply.key for s in stored] == [key(n) for n in range(6)]
        assert store.stats()["replies"] == store.stats()["requests"] == 6


def test_many_keys_are_found_in_one_call(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        paid = [Paid(key(n), 0, Reply(text=str(n)), ASK, "m") for n in range(5000)]
        stored = store.commit_now(lambda c: save_replies(c, paid))
        assert [s.reply.text for s in stored] == [str(n) for n in range(5000)]
        found = store.get_many(key(n) for n in range(0, 6000, 2))
        assert {k: s.reply.text for k, s in found.items()} == {
            key(n): str(n) for n in range(0, 5000, 2)
        }
        stats = store.stats()
        assert (stats["replies"], stats["requests"], stats["values"]) == (5000, 5000, 0)
        assert stats["bytes"] > 0


def test_small_values_are_replaced_and_kept_apart_by_kind(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert store.value("round", "1") is None
        store.put_value("round", "1", "a")
        store.put_value("round", "1", "b")
        store.put_value("state", "1", "c")
    with Store.open(tmp_path) as store:
        assert store.value("round", "1") == "b"
        assert store.value("state", "1") == "c"


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(StoreError, match="it is not a store: move it away"):
        Store.open(tmp_path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match=f"has format {VERSION + 1}.*reads {VERSION}"):
        Store.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose another with --store"):
        Store.open(tmp_path / "file" / "store")


def test_reading_a_store_lays_no_ballast(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.get_many([key(1)])
    assert not (tmp_path / "ballast").exists()


CHILD = """
import sys, sqlite3
from pathlib import Path
from curate.ask import Ask, Reply
from curate.store.store import Paid, Store, save_replies
folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with Store.open(folder) as store:
    for number in range(first, first + count):
        key = f"{number:032x}"
        reply = Reply(text=str(number))
        store.commit_now(lambda c: save_replies(c, [Paid(key, 0, reply, Ask.text("x"), "m")]))
        print(number, flush=True)
"""


def child(folder: Path, first: int, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, str(folder), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_what_was_committed_survives_sigkill(tmp_path: Path) -> None:
    for round_ in range(3):
        first = round_ * 1_000_000
        process = child(tmp_path, first, 1_000_000)
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(40 + 30 * round_)]
        process.kill()
        seen += [int(line) for line in process.stdout.read().split()]
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        with Store.open(tmp_path) as store:
            found = store.get_many(map(key, seen))
            assert [found[key(n)].reply.text for n in seen] == list(map(str, seen))
            assert store.read("PRAGMA integrity_check") == [("ok",)]


def test_two_processes_write_one_new_store(tmp_path: Path) -> None:
    # Overlapping ranges: half of the keys are written by both.
    processes = [child(tmp_path, first, 300) for first in (0, 150, 0)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    with Store.open(tmp_path) as store:
        assert len(store.get_many(map(key, range(450)))) == 450
        assert store.stats()["replies"] == 450
        assert store.read("PRAGMA integrity_check") == [("ok",)]


def test_a_store_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    folder, table = tmp_path / "my store", tmp_path / "mountinfo"
    table.write_text(f"1 0 0:9 / {tmp_path} rw - nfs4 filer:/home rw\n")
    with pytest.raises(UsageError, match=r"nfs4.*--store DIR.*run folders may stay") as caught:
        Store.open(folder, table)
    assert "cp -a" not in str(caught.value)
    assert not folder.exists()
    with Store.open(folder) as store:
        put(store, 1, 0, "paid")
    # What is in it can be taken along, and found in the old place.
    with pytest.raises(UsageError, match=rf"cp -a '{folder}' DIR"):
        Store.open(folder, table)
    local = tmp_path / "local"
    folder.rename(local)
    folder.symlink_to(local)
    table.write_text(
        f"1 0 0:9 / {tmp_path} rw - nfs4 filer:/home rw\n2 1 8:1 / {local} rw - ext4 /dev/sda rw\n"
    )
    with Store.open(folder, table) as store:
        assert store.get_many([key(1)])[key(1)].reply.text == "paid"
