"""A stored reply that changed on the disk is found: its row fails, and only that one."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.requests.driver import Outcome
from curate.runs.explain import _exchanges
from curate.store.store import DAMAGED, VERSION, Store
from tests.engine.asking import Answering, driver, one


def asked(folder: Path, **options: Any) -> tuple[list[Outcome], Answering]:
    model = Answering(lambda text: f"I rate {text} 9")
    with driver(folder, model, **options) as opened:
        return opened.run([one(f"q{n}") for n in range(9)]), model


def change(folder: Path, sql: str, *values: Any) -> None:
    connection = sqlite3.connect(folder / "store" / "store.db")
    with connection:
        assert connection.execute(sql, values).rowcount > 0
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE replies SET reply = replace(reply, 'q4 9', 'q4 1') WHERE reply LIKE '%q4%'",
        "UPDATE replies SET reply = CAST(x'ff' || reply AS TEXT) WHERE reply LIKE '%q4%'",
        "UPDATE replies SET reply = substr(reply, 2) WHERE reply LIKE '%q4%'",
        "UPDATE replies SET checksum = checksum + 1 WHERE reply LIKE '%q4%'",
    ],
)
def test_a_damaged_reply_fails_its_row_until_it_is_asked_again(sql: str, tmp_path: Path) -> None:
    good, _ = asked(tmp_path)
    change(tmp_path, sql)
    found, model = asked(tmp_path)
    assert not model.sent
    assert [outcome.value for outcome in found[:4]] == [outcome.value for outcome in good[:4]]
    assert found[4].error is not None and "the stored reply is damaged" in str(found[4].error)
    assert [o.error for o in found if o is not found[4]] == [None] * 8
    with Store.open(tmp_path / "store") as store:
        assert [e.reply.finish_reason for e in store.exchanges()].count(DAMAGED) == 1
    again, model = asked(tmp_path, retry_failed=True)
    assert model.sent == ["q4"] and [o.value for o in again] == [o.value for o in good]


def test_replies_of_an_older_store_are_as_good_as_they_were(tmp_path: Path) -> None:
    good, _ = asked(tmp_path)
    connection = sqlite3.connect(tmp_path / "store" / "store.db")
    connection.executescript("ALTER TABLE replies DROP COLUMN checksum; PRAGMA user_version = 5;")
    connection.close()
    found, model = asked(tmp_path)
    assert not model.sent and [o.value for o in found] == [o.value for o in good]
    with Store.open(tmp_path / "store") as store:
        assert store.read("PRAGMA user_version") == [(VERSION,)]
        assert store.read("SELECT DISTINCT checksum FROM replies") == [(None,)]


def test_a_damaged_reply_is_no_empty_text_for_those_who_look(tmp_path: Path) -> None:
    asked(tmp_path)
    change(tmp_path, "UPDATE replies SET checksum = checksum + 1 WHERE reply LIKE '%q4%'")
    words = ["store", "export", "--store", str(tmp_path / "store")]
    for own in ([], ["-o", str(tmp_path / "replies.jsonl")]):
        done = CliRunner().invoke(app, [*words, *own])
        assert done.exit_code == 1
        assert "1 replies in" in done.stderr and "are damaged" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "replies.jsonl").read_text().splitlines()]
    assert len(lines) == 9
    [line] = [line for line in lines if line.get("damaged")]
    assert line["reply"] is None and line["request"]["messages"][0][1] == "q4"
    event = {"detail": {"asked": [line["key"], lines[0]["key"]]}}
    found = _exchanges([event], {"options": {"store": str(tmp_path / "store")}})
    assert found[line["key"]]["reply"] is None and found[line["key"]]["damaged"]
    assert found[lines[0]["key"]]["reply"] and "damaged" not in found[lines[0]["key"]]
