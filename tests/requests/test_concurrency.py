"""The gate: halved by overload, opened by answers, shut by a server that is away."""

from __future__ import annotations

import logging
import random

import pytest

from curate.errors import PermanentFault, StoppedShort, TemporaryFault
from curate.requests.concurrency import (
    BREAK_AFTER,
    GIVE_UP_AFTER,
    RECOVERY_SECONDS,
    AdaptiveLimiter,
)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


BUSY = TemporaryFault("busy", cause="rate_limit")


def test_a_burst_of_refusals_halves_once() -> None:
    limiter = AdaptiveLimiter(64, "m", clock := Clock())
    limiter.busy = 64
    began = limiter.began()
    clock.now += 1
    for _ in range(10):
        limiter.failed(BUSY, began)
    assert limiter.allowed == 32
    limiter.busy = 32
    limiter.failed(BUSY, limiter.began())
    assert limiter.allowed == 16


@pytest.mark.parametrize("latency", [0.02, 0.4])
def test_the_full_rate_is_back_within_ten_seconds_of_answers(latency: float) -> None:
    limiter = AdaptiveLimiter(64, "m", clock := Clock())
    for _ in range(10):
        clock.now += 0.1
        limiter.failed(BUSY, limiter.began())
    assert limiter.allowed == 1
    began = clock.now
    while limiter.allowed < 64:
        clock.now += latency
        limiter.answered()
    assert RECOVERY_SECONDS - 0.2 <= clock.now - began < 10


def level(share: float, latency: float = 0.05) -> float:
    """Return the mean concurrency of a minute of which a share of attempts is refused."""
    limiter, dice, levels = AdaptiveLimiter(64, "m", clock := Clock()), random.Random(3), []
    while clock.now < 160:
        limiter.busy = limiter.places
        began = limiter.began()
        clock.now += latency
        for _ in range(limiter.busy):
            limiter.failed(BUSY, began) if dice.random() < share else limiter.answered()
        levels.append(limiter.allowed)
    return sum(levels) / len(levels)


def test_a_few_errors_cost_few_places_and_many_cost_most() -> None:
    assert level(0.005) > 50
    assert level(0.02) > 20 and level(0.02, latency=1.0) > 50
    assert level(0.25) < 6 and level(0.7) < 2


def test_a_broken_reply_is_no_overload() -> None:
    limiter = AdaptiveLimiter(8, "m", Clock())
    limiter.failed(TemporaryFault("no JSON", cause="malformed"), limiter.began())
    limiter.failed(PermanentFault("no such model"), limiter.began())
    assert limiter.allowed == 8


def test_the_breaker_pauses_says_so_and_ends_the_run(caplog: pytest.LogCaptureFixture) -> None:
    limiter = AdaptiveLimiter(8, "judge", clock := Clock())
    for _ in range(BREAK_AFTER):
        assert limiter.admits
        began = limiter.began()
        clock.now += 0.1
        assert limiter.failed(BUSY, began) is None
    assert (
        not limiter.admits
        and "judge failed 32 times in a row (busy): pausing for 5 s" in caplog.text
    )
    waits = [limiter.wait()]
    for _ in range(GIVE_UP_AFTER - 1):
        clock.now += limiter.wait()
        limiter.busy = 0
        assert limiter.admits
        limiter.busy = 1
        assert not limiter.admits, "more than one attempt goes through"
        assert limiter.failed(BUSY, limiter.began()) is None
        waits.append(limiter.wait())
    assert waits == [5, 10, 20, 40, 60, 60]
    clock.now += 60
    ended = limiter.failed(BUSY, limiter.began())
    assert isinstance(ended, StoppedShort) and "run the same command again" in str(ended)


def test_an_answer_closes_the_breaker(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    limiter = AdaptiveLimiter(8, "judge", clock := Clock())
    for _ in range(BREAK_AFTER):
        limiter.failed(BUSY, limiter.began())
    assert limiter.wait() <= 0, "one burst is not a silence"
    clock.now += 3
    limiter.failed(BUSY, limiter.began())
    assert not limiter.admits
    clock.now += 5
    limiter.answered()
    assert limiter.admits and "judge answers again" in caplog.text
    for _ in range(BREAK_AFTER - 1):
        limiter.failed(BUSY, limiter.began())
    assert limiter.wait() <= 0


def test_a_few_requests_that_never_get_an_answer_do_not_trip_the_breaker() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(8, clock=clock)
    for number in range(10 * BREAK_AFTER):
        clock.now += 1.0
        key = str(number % 3)
        assert (
            limiter.failed(TemporaryFault("no", cause="rate_limit"), limiter.began(), key) is None
        )
        assert limiter.wait() <= 0
