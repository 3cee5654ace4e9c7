"""A store that an earlier commit wrote answers for it, is migrated, or is refused by name."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from curate.ask import Embed, Reply, request_key
from curate.errors import StoreError
from curate.pipeline import Pipeline
from curate.requests.batch.jobs import BatchJobs, BatchLine, add
from curate.store.budget import Budget
from curate.store.replies import Leases
from curate.store.store import VERSION, Store, clear_leases
from curate.store.vectors import MISSING, vector_keys

# A run of commit 13f2c26: its recipe, input and store, and which rows came out where.
OLD = Path(__file__).parents[1] / "data" / "stores" / "13f2c26"


def test_a_judged_run_of_an_earlier_commit_replays_without_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("recipe.yaml", "rows.jsonl", "judge.md"):
        shutil.copy(OLD / name, tmp_path)
    # Whoever is asked refuses, so that a request would fail its row.
    refusal = {"when": {}, "fault": "permanent", "times": None}
    (tmp_path / "replies.jsonl").write_text(json.dumps(refusal))
    shutil.copytree(OLD / "vectors", tmp_path / "store" / "vectors")
    with sqlite3.connect(tmp_path / "store" / "store.db") as connection:
        connection.executescript((OLD / "store.sql").read_text(encoding="utf-8"))
    connection.close()
    monkeypatch.chdir(tmp_path)
    result = Pipeline.from_yaml("recipe.yaml").run(store="store", run="run")
    # Three judgements, two vectors, two answers to each of the two rows that are left.
    assert result.summary["requests"]["sent"] == 0
    assert result.summary["requests"]["replayed"] >= 7
    found = {
        part: [row.id for row in getattr(result, part)] for part in ("kept", "used", "dropped")
    }
    assert found == json.loads((OLD / "outcome.json").read_text())


def old_store(folder: Path) -> sqlite3.Connection:
    """Return a store of the first format, in which a vector was JSON like every other reply."""
    connection = sqlite3.connect(folder / "store.db")
    connection.executescript(
        """
        CREATE TABLE replies (key BLOB NOT NULL, attempt INTEGER NOT NULL, reply TEXT NOT NULL,
            stored_at INTEGER NOT NULL);
        CREATE UNIQUE INDEX replies_by_key ON replies (key, attempt);
        CREATE TABLE requests (key BLOB NOT NULL UNIQUE, model TEXT, content BLOB NOT NULL);
        PRAGMA user_version = 1;
        """
    )
    return connection


def test_vectors_of_the_first_format_are_migrated(tmp_path: Path) -> None:
    import zlib

    request = Embed(texts=("one", "two"))
    key = bytes.fromhex(request_key(request, "openai:small", ""))
    with old_store(tmp_path) as connection:
        reply = Reply(values=([1.0, 0.0], [0.0, 1.0])).to_json()
        content = zlib.compress(json.dumps(request.content()).encode())
        connection.execute("INSERT INTO replies VALUES (?, 0, ?, 1)", (key, reply))
        connection.execute("INSERT INTO requests VALUES (?, 'openai:small', ?)", (key, content))
    connection.close()
    for _ in range(2):
        with Store.open(tmp_path) as store:
            places = store.vectors.find(vector_keys("openai:small", ("one", "two", "three")))
            assert (places[:2] != MISSING).all()
            assert places[2] == MISSING
            assert np.array_equal(store.vectors.read(places[:2]), np.eye(2, dtype=np.float32))
            assert store.read("PRAGMA user_version") == [(VERSION,)]


def test_what_a_store_of_format_7_has_spent_is_not_recorded_by_step(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        Budget(store, "run")
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("UPDATE spending SET sent = 3, retried = 1, settled = 7")
        connection.execute("DROP TABLE step_spending")
        connection.execute("ALTER TABLE batch_lines DROP COLUMN step")
        line = (b"k" * 16, b"content")
        connection.execute("INSERT INTO batch_lines VALUES ('job', 1, ?, 0, 9, ?)", line)
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with Store.open(tmp_path) as store:
        assert store.read("PRAGMA user_version") == [(VERSION,)]
        budget = Budget(store, "run")
        (part,) = budget.tally().steps.items()
        assert (part[0], part[1].sent, part[1].retried) == ("", 3, 1)
        # A batch job that was under way is collected, and its requests have no step either.
        (found,) = BatchJobs(store).lines("job")
        assert (found.bound, found.step) == (9, None)
        store.commit_now(lambda connection: budget.reserve(connection, [(5, False)], steps=["a"]))
        assert {step: own.sent for step, own in budget.tally().steps.items()} == {"": 3, "a": 1}


def test_a_store_of_format_8_learns_who_follows_a_batch_job(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("DROP TABLE batch_followers")
        connection.execute("PRAGMA user_version = 8")
    connection.close()
    leases = Leases()
    with Store.open(tmp_path) as store:
        store.commit_now(clear_leases)
        store.commit_now(leases.join)
        store.commit_now(lambda connection: leases.follow(connection, ["job"]))
        assert store.read("SELECT job FROM batch_followers") == [("job",)]


def test_a_column_that_a_later_version_adds_stops_no_batch_job(tmp_path: Path) -> None:
    """Another process may migrate the store that this one works with."""
    line = BatchLine(1, "ab" * 16, 0, 9, b"content", "judge")
    with Store.open(tmp_path) as store:
        with sqlite3.connect(tmp_path / "store.db") as connection:
            connection.execute("ALTER TABLE batch_lines ADD COLUMN later TEXT")
        connection.close()
        job = store.commit_now(lambda c: add(c, "openai:m", "run", "/v1", [line]))
        assert BatchJobs(store).page(job, 9) == [line]


def test_a_database_of_another_program_is_refused_by_name(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(StoreError, match=r"is a database of another program.*bookmarks") as error:
        Store.open(tmp_path)
    assert error.value.exit_code == 4
    with sqlite3.connect(tmp_path / "store.db") as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM sqlite_master")] == [
            "bookmarks"
        ]
    connection.close()
