"""Sending: bounded places, bounded tries, and a failure that stays with its row."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask
from curate.errors import (
    PermanentFault,
    StoreError,
    TemporaryFault,
    UnusableReply,
)
from curate.requests.driver import RowTask
from tests.engine.asking import Answering, driver, one


def test_concurrency_bounds_every_model(tmp_path: Path) -> None:
    model = Answering(delay=lambda text: 0.001, max_concurrency=50)
    with driver(tmp_path, model, concurrency=3) as opened:
        opened.run([one(str(n)) for n in range(60)])
    assert model.most_busy == 3


def test_one_failure_fails_one_row(tmp_path: Path) -> None:
    def answer(text: str) -> str:
        if text == "3":
            raise PermanentFault("no such model")
        if text == "5":
            raise ZeroDivisionError("a bug in the model")
        return text

    def bad() -> Any:
        reply = yield Ask.text("fine")
        raise UnusableReply(f"no number in {reply.text!r}")

    jobs = [one(str(n)) for n in range(8)] + [RowTask(bad), RowTask(lambda: 1 // 0)]
    model = Answering(answer)
    with driver(tmp_path, model) as opened:
        outcomes = opened.run(jobs)
        errors = {i: type(o.error) for i, o in enumerate(outcomes) if o.error}
        assert errors == {
            3: PermanentFault,
            5: ZeroDivisionError,
            8: UnusableReply,
            9: ZeroDivisionError,
        }
        assert (opened.counts.sent, opened.counts.failed, opened.counts.retried) == (9, 2, 0)
        # What brought no reply is asked again; the reply that could not be used is not.
        opened.run(jobs)
    assert sorted(model.sent[9:]) == ["3", "5"]


def test_temporary_faults_are_tried_again_and_then_given_up(tmp_path: Path) -> None:
    tries: dict[str, int] = {}

    def answer(text: str) -> str:
        tries[text] = tries.get(text, 0) + 1
        if text == "never" or tries[text] <= int(text):
            raise TemporaryFault("busy", cause="server")
        return text

    with driver(tmp_path, Answering(answer)) as opened:
        outcomes = opened.run([one(text) for text in ("0", "2", "4", "never")])
        assert [o.value for o in outcomes] == ["0", "2", "4", None]
        assert str(outcomes[3].error) == "no reply after 5 attempts: busy"
        assert tries == {"0": 1, "2": 3, "4": 5, "never": 5}
        counts = opened.counts
        assert (counts.sent, counts.retried, counts.failed) == (14, 10, 1)
        assert counts.causes == {"server": 11}


def test_a_rate_limit_is_waited_for_longer(tmp_path: Path) -> None:
    def answer(text: str) -> str:
        if len(model.sent) < 12:
            raise TemporaryFault("busy", cause="rate_limit")
        return text

    model = Answering(answer)
    with driver(tmp_path, model) as opened:
        assert opened.run([one("x")])[0].value == "x"
    assert len(model.sent) == 12


def test_a_server_may_ask_for_a_longer_pause(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(text: str) -> str:
        times.append(time.monotonic())
        if len(times) == 1:
            raise TemporaryFault("slow down", cause="rate_limit", retry_after=0.2)
        return text

    with driver(tmp_path, Answering(answer)) as opened:
        assert opened.run([one("x")])[0].value == "x"
    assert times[1] - times[0] >= 0.19


@pytest.mark.parametrize("first", ["a", "b"])
def test_the_error_of_a_row_does_not_depend_on_arrival(first: str, tmp_path: Path) -> None:
    def answer(text: str) -> str:
        raise PermanentFault(f"refused {text}")

    def start() -> Any:
        yield [Ask.text("a"), Ask.text("b"), Ask.text("c")]

    model = Answering(answer, delay=lambda text: 0.0 if text == first else 0.02)
    with driver(tmp_path, model) as opened:
        assert str(opened.run([RowTask(start)])[0].error) == "refused a"


def test_a_store_that_breaks_stops_the_run(tmp_path: Path) -> None:
    with driver(tmp_path, model := Answering()) as opened:
        opened.run([one("x")])
        opened.store.commit_now(lambda c: c.execute("DROP TABLE requests"))
        with pytest.raises(StoreError, match="cannot be used"):
            opened.run([one(str(n)) for n in range(500)])
    assert len(model.sent) < 100
