"""Rates: no minute sees more than was allowed, and nothing waits longer than it must."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from pathlib import Path

import pytest

from curate.ask import Ask, Reply
from curate.requests.rate_limit import Bucket, Rate, expected_tokens
from tests.engine.asking import Answering, driver, one


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("per_minute", [1, 2, 3, 30, 60, 500, 10_000])
def test_no_minute_sees_more_than_the_allowance(per_minute: int) -> None:
    bucket = Bucket(per_minute, clock := Clock())
    idle, taken = [250.0, 330.0], list[float]()
    while clock.now < 400:
        if idle and clock.now > idle[0]:
            clock.now += 45  # Nothing is asked for a while, and the bucket fills up.
            idle.pop(0)
        elif wait := bucket.wait(1.0):
            clock.now += wait + 1e-9
        else:
            bucket.take(1.0)
            taken.append(clock.now)
    most = max(bisect_left(taken, start + 60) - n for n, start in enumerate(taken))
    assert most <= per_minute
    # Not much less than allowed, either; the pauses took 90 of the 300 seconds.
    assert len(taken) >= 0.45 * 210 / 60 * per_minute


def test_a_request_larger_than_the_bucket_is_sent_and_paid_back() -> None:
    rate = Rate(None, 6000, clock := Clock())  # 100 tokens a second
    assert rate.wait(500) == 0
    rate.take(500)
    assert rate.wait(1) == pytest.approx((400 + 1) / rate._tokens.per_second)  # type: ignore[union-attr]
    rate.correct(500, 60)
    assert rate.wait(1) == 0
    rate.correct(60, 0)  # A server that counts nothing changes nothing.
    clock.now += 60
    assert rate.wait(10**9) == 0


def test_the_expected_tokens_are_those_of_prompt_and_reply() -> None:
    assert expected_tokens(Ask.text("x" * 400, max_tokens=50)) == 150
    assert expected_tokens(Ask.text("x" * 400)) == 100


def test_a_model_is_asked_no_faster_than_its_rate(tmp_path: Path) -> None:
    model = Answering()
    model.info = replace(model.info, requests_per_minute=60 * 50)
    times: list[float] = []

    def answer(text: str) -> Reply:
        times.append(clock())
        return Reply("ok", input_tokens=5, output_tokens=1)

    import time

    clock, model._answer = time.monotonic, answer
    with driver(tmp_path, model) as opened:
        outcomes = opened.run([one(str(n)) for n in range(90)])
    assert all(outcome.value == "ok" for outcome in outcomes)
    # Fifty at once, then fifty a second at most; a slow machine only makes it slower.
    assert times[-1] - times[0] >= (90 - 50 - 1) / 50


def test_a_rate_of_one_model_does_not_hold_another(tmp_path: Path) -> None:
    slow, quick = Answering(identity="slow"), Answering(identity="quick")
    slow.info = replace(slow.info, tokens_per_minute=60)
    with driver(tmp_path, {"slow": slow, "quick": quick}, max_requests=40) as opened:
        jobs = [one("x", model="slow"), *(one(str(n), model="quick") for n in range(30))]
        assert len(opened.run(jobs)) == 31
    assert (len(slow.sent), len(quick.sent)) == (1, 30)
