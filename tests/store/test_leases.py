"""Keys under way are shared through the store: nobody pays for what another one asks for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from curate.ask import Ask, request_key
from curate.errors import StoreError
from curate.requests import sender
from curate.requests.driver import Outcome
from curate.store.replies import LEASE_SECONDS, Leases
from curate.store.store import Store, clear_leases
from tests.engine.asking import Answering, driver, one


def test_two_senders_on_one_store_ask_for_each_key_once(tmp_path: Path) -> None:
    """Sixty keys that both want at once, and twenty of each one's own; the second joins late."""
    found: dict[int, list[Outcome]] = {}
    models = [Answering(delay=lambda text: 0.2, identity="same") for _ in range(2)]
    texts = [[f"q{n}" for n in range(60)] + [f"own {who} {n}" for n in range(20)] for who in (0, 1)]

    def ask(who: int) -> None:
        time.sleep(0.1 * who)
        with driver(tmp_path, models[who]) as opened:
            found[who] = opened.run([one(text) for text in texts[who]])

    threads = [threading.Thread(target=ask, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for who in (0, 1):
        assert [outcome.value for outcome in found[who]] == [f"re: {text}" for text in texts[who]]
    assert set(Counter(models[0].sent + models[1].sent).values()) == {1}
    assert all(any(text in model.sent for text in texts[0][:60]) for model in models)
    with Store.open(tmp_path / "store") as store:
        assert store.read("SELECT count(*) FROM leases") == [(0,)]
        assert store.read("SELECT count(*) FROM senders") == [(0,)]
        assert store.read("SELECT sent, settled, reserved FROM spending")[0][0] == 100


@pytest.mark.parametrize("seconds", [0.6, LEASE_SECONDS])
def test_a_lease_of_a_killed_holder_runs_out_or_is_cleared(seconds: float, tmp_path: Path) -> None:
    model, killed = Answering(), Leases()
    key = request_key(Ask.text("q", max_tokens=16), "answering", "q")
    with Store.open(tmp_path / "store") as store:
        store.commit_now(killed.join)
        killed.granted.add(key)
        store.commit_now(killed.share)
        sql = "UPDATE senders SET until = ?"
        until = time.monotonic() + seconds
        store.commit_now(lambda connection: connection.execute(sql, (until,)).rowcount)
        if seconds == LEASE_SECONDS:
            store.commit_now(clear_leases)
    began = time.monotonic()
    with driver(tmp_path, model) as opened:
        assert opened.run([one("q")])[0].value == "re: q"
    assert model.sent == ["q"]
    assert seconds == LEASE_SECONDS or time.monotonic() - began >= 0.4


def test_a_request_that_another_gives_up_is_taken_over(tmp_path: Path) -> None:
    other, key = Leases(), request_key(Ask.text("q", max_tokens=16), "answering", "q")
    with Store.open(tmp_path / "store") as store:
        store.commit_now(other.join)
        store.commit_now(lambda connection: other.take(connection, [key]))
        store.commit_now(other.share)
        model = Answering()
        timer = threading.Timer(
            0.5, lambda: store.commit_now(lambda connection: other.give(connection, [key]))
        )
        timer.start()
        with driver(tmp_path, model) as opened:
            assert opened.run([one("q"), one("other")])[0].value == "re: q"
        timer.join()
    assert model.sent == ["other", "q"]


KEY = request_key(Ask.text("q", max_tokens=16), "answering", "q")


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_who_was_found_silent_is_back_when_it_speaks(seconds: float, tmp_path: Path) -> None:
    """As after a sleep or a new start of the machine, in which another one joined."""
    first, late = Leases(), Leases()
    with Store.open(tmp_path / "store") as store:
        store.commit_now(first.join)
        first.granted.add(KEY)
        store.commit_now(first.share)
        sql = "UPDATE senders SET until = until + ?"
        store.commit_now(lambda connection: connection.execute(sql, (seconds,)).rowcount)
        assert late.beside(store) == []
        assert not store.commit_now(late.join)
        assert store.read("SELECT count(*) FROM leases") == [(0,)]
        store.commit_now(first.renew)
        assert late.beside(store) == [True]
        assert store.commit_now(lambda connection: late.of_others(connection, [KEY])) == {KEY}


def test_a_clock_that_is_set_ends_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, late = Leases(), Leases()
    with Store.open(tmp_path / "store") as store:
        store.commit_now(first.join)
        first.granted.add(KEY)
        store.commit_now(first.share)
        now = time.time()
        for seconds in (-3600.0, 3600.0):
            monkeypatch.setattr(time, "time", lambda later=now + seconds: later)
            assert late.beside(store) == [True]
            assert store.commit_now(lambda connection: late.of_others(connection, [KEY])) == {KEY}
        assert store.commit_now(late.join)


def test_a_sender_that_cannot_say_that_it_lives_sends_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(leases: Leases, connection: object) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(sender, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sender, "RENEWED_SECONDS", 0.0)
    monkeypatch.setattr(Leases, "renew", broken)
    model = Answering(delay=lambda text: 0.2)
    with driver(tmp_path, model) as opened, pytest.raises(StoreError, match="the disk is gone"):
        opened.run([one(f"q{n}") for n in range(500)])
