"""Many jobs at once: sharing, asking again, and limits that change no outcome."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.ask import Ask, Reply, Request
from curate.errors import (
    RecipeError,
    UnusableReply,
)
from curate.requests.driver import RowTask
from tests.engine.asking import Answering, chain, driver, one


def test_equal_requests_of_judges_are_sent_once_even_in_flight(tmp_path: Path) -> None:
    def start() -> Any:
        reply = yield Ask.text("the same")
        return reply.text

    model = Answering(delay=lambda text: 0.01)
    with driver(tmp_path, model) as opened:
        shared = opened.run([RowTask(start, salt=str(n), shares=True) for n in range(30)])
        assert len(model.sent) == 1
        assert (opened.counts.sent, opened.counts.replayed) == (1, 29)
        apart = opened.run([RowTask(start, salt=str(n), shares=False) for n in range(30)])
    assert len(model.sent) == 31
    assert len({o.keys for o in shared}) == 1
    assert len({o.keys for o in apart}) == 30


@pytest.mark.parametrize(("share", "sends"), [(True, 1), (False, 5), (None, 5)])
def test_a_request_can_say_for_itself_whether_it_is_shared(
    share: bool | None, sends: int, tmp_path: Path
) -> None:
    def start() -> Any:
        return (yield Ask.text("x", share=share)).text

    with driver(tmp_path, model := Answering()) as opened:
        opened.run([RowTask(start, salt=str(n)) for n in range(5)])
    assert len(model.sent) == sends


def test_the_same_request_twice_in_a_wave_is_sent_once(tmp_path: Path) -> None:
    def start() -> Any:
        a, b, c = yield [Ask.text("x"), Ask.text("y"), Ask.text("x")]
        return a.text, b.text, c.text

    with driver(tmp_path, model := Answering()) as opened:
        assert opened.run([RowTask(start)])[0].value == ("re: x", "re: y", "re: x")
    assert sorted(model.sent) == ["x", "y"]


def test_a_request_that_is_no_json_data_fails_its_row_only(tmp_path: Path) -> None:
    with driver(tmp_path, Answering()) as opened:
        number: Any = 5
        outcomes = opened.run([one("a"), one("b", schema={"x": {1, 2}}), one(number), one("d")])
    assert [o.value for o in outcomes] == ["re: a", None, None, "re: d"]
    assert isinstance(outcomes[1].error, TypeError)
    assert isinstance(outcomes[2].error, AttributeError)


def test_an_unknown_model_stops_the_run(tmp_path: Path) -> None:
    def start() -> Any:
        yield Ask.text("x", model="jugde")

    with (
        driver(tmp_path, Answering()) as opened,
        pytest.raises(RecipeError, match=r"'jugde'.*are: model$"),
    ):
        opened.run([RowTask(start)])


def number_of(text: str, **fields: Any) -> RowTask:
    def start() -> Any:
        reply = yield Ask.text(text, **fields)
        return float(reply.text)

    return RowTask(start, salt=text)


def test_retry_failed_asks_again_for_the_rows_that_failed_only(tmp_path: Path) -> None:
    jobs = [number_of(str(n)) for n in range(6)]
    broken = Answering(lambda text: "none" if text in "24" else text)
    with driver(tmp_path, broken) as opened:
        assert [o.value for o in opened.run(jobs)] == [0, 1, None, 3, None, 5]
    with driver(tmp_path, same := Answering()) as opened:
        opened.run(jobs)
        assert same.sent == []
    half = Answering(lambda text: "none" if text == "4" else text)
    with driver(tmp_path, half, retry_failed=True) as opened:
        assert [o.value for o in opened.run(jobs)] == [0, 1, 2, 3, None, 5]
        assert sorted(half.sent) == ["2", "4"], "each is asked once, though one fails again"
        opened.run(jobs)
        assert sorted(half.sent) == ["2", "4"]
    with driver(tmp_path, last := Answering()) as opened:
        assert [o.value for o in opened.run(jobs)] == [0, 1, 2, 3, None, 5]
        assert last.sent == []


def test_retry_failed_goes_on_from_the_wave_that_failed(tmp_path: Path) -> None:
    def start() -> Any:
        first = yield Ask.text("first")
        second, third = yield [Ask.text(f"second of {first.text}"), Ask.text("third")]
        if second.text == "bad":
            raise UnusableReply("bad second", key=second.key)
        last = yield Ask.text(f"last of {second.text}")
        return last.text + third.text

    broken = Answering(lambda text: "bad" if text.startswith("second") else text)
    with driver(tmp_path, broken) as opened:
        assert str(opened.run([RowTask(start)])[0].error) == "bad second"
    with driver(tmp_path, mended := Answering(lambda text: text), retry_failed=True) as opened:
        outcome = opened.run([RowTask(start)])[0]
        assert outcome.value == "last of second of firstthird"
        assert mended.sent == ["second of first", "last of second of first"]
        assert len(outcome.keys) == 4
    with driver(tmp_path, mended) as opened:
        assert opened.run([RowTask(start)])[0] == outcome
    assert len(mended.sent) == 2


def test_rows_that_share_a_bad_reply_ask_for_one_new_reply(tmp_path: Path) -> None:
    def start() -> Any:
        return float((yield Ask.text("shared")).text)

    jobs = [RowTask(start, shares=True) for _ in range(20)]
    with driver(tmp_path, Answering(lambda text: "none")) as opened:
        assert all(o.error for o in opened.run(jobs))
    with driver(tmp_path, model := Answering(lambda text: "4"), retry_failed=True) as opened:
        assert [o.value for o in opened.run(jobs)] == [4.0] * 20
    assert model.sent == ["shared"]


WAVES = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=4)


@settings(max_examples=25)
@given(
    jobs=st.lists(WAVES, min_size=1, max_size=12),
    open_generators=st.sampled_from([0, 1, 3, 1024]),
    window=st.sampled_from([1, 2, 512]),
    concurrency=st.sampled_from([1, 8, 64]),
    seed=st.integers(0, 1000),
)
def test_release_window_and_arrival_change_nothing(
    jobs: list[list[list[str]]],
    open_generators: int,
    window: int,
    concurrency: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    work = [chain(str(n), waves) for n, waves in enumerate(jobs)]
    with driver(tmp_path_factory.mktemp("calm"), calm := Answering()) as opened:
        expected = opened.run(work)
    shuffled = Answering(delay=lambda text: random.Random(f"{seed} {text}").uniform(0, 0.002))
    options: dict[str, Any] = {"open_generators": open_generators, "window": window}
    folder = tmp_path_factory.mktemp("shuffled")
    with driver(folder, shuffled, concurrency=concurrency, **options) as opened:
        assert opened.run(work) == expected
        assert opened.counts.replayed == 0
    assert sorted(shuffled.sent) == sorted(calm.sent)


def test_released_generators_are_closed_and_few_stay_open(tmp_path: Path) -> None:
    alive = most = starts = 0

    def job(number: int) -> RowTask:
        def start() -> Any:
            nonlocal alive, most, starts
            alive, starts = alive + 1, starts + 1
            most = max(most, alive)
            try:
                first = yield Ask.text(f"{number} first")
                second = yield Ask.text(f"{number} then {first.text}")
                return second.text
            finally:
                alive -= 1

        return RowTask(start, salt=str(number))

    model = Answering(delay=lambda text: 0.001)
    with driver(tmp_path, model, open_generators=5) as opened:
        outcomes = opened.run([job(n) for n in range(100)])
    assert [o.value for o in outcomes] == [f"re: {n} then re: {n} first" for n in range(100)]
    assert len(model.sent) == 200
    assert alive == 0
    # Five that wait, and a batch of as many in hand.
    assert most <= 10
    assert starts > 150


def test_waiting_jobs_hold_little_and_only_a_window_of_them(tmp_path: Path) -> None:
    def waiting(count: int, folder: Path) -> tuple[int, int]:
        """Return the memory and the flights while `count` jobs wait for a model."""
        peak = inflights = 0

        async def answer(request: Request, *, key: str, attempt: int) -> Reply:
            nonlocal peak, inflights
            sender = opened._schedule.sender  # type: ignore[union-attr]
            first, model.sent = not model.sent, [key]
            while first and len(sender.inflights) < 300:
                await asyncio.sleep(0.005)
            if first:
                peak = tracemalloc.get_traced_memory()[0]
                # Nothing is answered until here: whatever begins beyond the window is seen.
                await asyncio.sleep(0.05)
                inflights = len(sender.inflights)
            while not inflights:
                await asyncio.sleep(0.005)
            return Reply("ok")

        model = Answering(max_concurrency=256)
        model.answer = answer  # type: ignore[method-assign]
        # One job many times: the caller's own list must not be what is measured.
        jobs = [one("prompt " * 100)] * count
        tracemalloc.start()
        try:
            with driver(folder, model, window=300, open_generators=50) as opened:
                assert len(opened.run([distinct(job, n) for n, job in enumerate(jobs)])) == count
        finally:
            tracemalloc.stop()
        return peak, inflights

    few, many = (waiting(n, tmp_path / str(n)) for n in (500, 3000))
    assert few[1] == many[1] == 300
    # What remains of a waiting job is the caller's own object and a place in a list.
    assert (many[0] - few[0]) / 2500 < 1500


def distinct(job: RowTask, number: int) -> RowTask:
    return RowTask(job.start, salt=str(number))
