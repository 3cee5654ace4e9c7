"""One job: what it may yield, how it is entered again, and what it must not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.ask import Ask
from curate.errors import (
    CurateError,
)
from curate.requests.driver import RowTask
from tests.engine.asking import Answering, driver


def test_plain_values_and_empty_waves_need_no_model(tmp_path: Path) -> None:
    def empty() -> Any:
        replies = yield []
        return replies

    with driver(tmp_path, Answering()) as opened:
        outcomes = opened.run([RowTask(lambda: 7), RowTask(empty), RowTask(lambda: None)])
    assert [(o.value, o.error, o.keys) for o in outcomes] == [
        (7, None, ()),
        ([], None, ()),
        (None, None, ()),
    ]


def test_what_is_no_request_fails_the_row(tmp_path: Path) -> None:
    def yields_a_number() -> Any:
        yield 5

    def stops() -> Any:
        return next(iter(()))

    with driver(tmp_path, Answering()) as opened:
        number, stop = opened.run([RowTask(yields_a_number), RowTask(stops)])
    assert "the step yielded int; a step yields requests" in str(number.error)
    assert isinstance(stop.error, RuntimeError)


def test_how_a_step_cleans_up_has_no_say(tmp_path: Path) -> None:
    def start() -> Any:
        try:
            return (yield Ask.text("x")).text
        except GeneratorExit:
            raise ValueError("cleaning up failed") from None

    for open_generators in (0, 10):
        with driver(tmp_path, Answering(), open_generators=open_generators) as opened:
            assert opened.run([RowTask(start)])[0].value == "re: x"


def test_a_step_that_changes_its_mind_is_caught(tmp_path: Path) -> None:
    starts = iter(range(100))

    def fickle() -> Any:
        first = yield Ask.text(f"start {next(starts)}")
        return first.text

    def forgetful() -> Any:
        if next(starts) < 5:
            yield Ask.text("only at first")
        return "nothing to ask"

    for step in (fickle, forgetful):
        starts = iter(range(4, 100))
        with driver(tmp_path, Answering(), open_generators=0) as opened:
            outcome = opened.run([RowTask(step)])[0]
        assert isinstance(outcome.error, CurateError)
        assert "must do the same each time" in str(outcome.error)
        assert outcome.value is None
