"""`openai:` and the sender together, against servers that fail in every way they know."""

from __future__ import annotations

import random
import time
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate.errors import TemporaryFault
from curate.models.model import open_model
from curate.requests.driver import Outcome
from tests.engine.asking import driver, one

from . import chaos
from .chaos import CAUSES, FAULTS, Answer, Received, Server, chat


def opened_model(server: Server, **options: Any) -> Any:
    model = open_model({"model": "openai:tiny", "base_url": server.url, **options})
    model.info = replace(
        model.info, retry_delay=0.0002
    )  # As the real half second, but 2,500 times faster.
    return model


def telling_model(server: Server, failures: list[tuple[str, str]], **options: Any) -> Any:
    """A model that also appends the prompt and the cause of each of its failures."""
    model = opened_model(server, **options)
    ask = model.answer

    async def answer(request: Any, **fields: Any) -> Any:
        try:
            return await ask(request, **fields)
        except TemporaryFault as error:
            failures.append((request.messages[-1].content, error.cause))
            raise

    model.answer = answer
    return model


def plan(text: str) -> tuple[str, bool] | None:
    """Return the fault of a prompt and whether it clears; four prompts of five have none."""
    chance = random.Random(text)
    if chance.random() > 0.2:
        return None
    return chance.choice(FAULTS), chance.random() > 0.15


def handler(request: Received) -> Answer:
    planned = plan(request.text)
    if planned and (not planned[1] or request.times < 2):
        return chaos.fault(planned[0])
    good = chat(f"re: {request.text}")
    number = zlib.crc32(request.text.encode())
    return Answer(good.body, pieces=5, pause=0.02) if number % 50 == 1 else good


def right_or_failed(prompts: list[str], outcomes: list[Outcome]) -> None:
    """Every row is right, or failed with the cause that was planned for it."""
    words = {"rate_limit": "(429)", "server": "failed (50", "connection": "was lost"}
    words |= {"malformed": "the server sent", "timeout": "sent nothing"}
    for text, outcome in zip(prompts, outcomes, strict=True):
        planned = plan(text)
        if planned and not planned[1]:
            assert outcome.error is not None and words[CAUSES[planned[0]]] in str(outcome.error)
        else:
            assert outcome.error is None and outcome.value == f"re: {text}"


def chaotic(folder: Path, count: int, gates: int = 1, idle: float = 0.5) -> None:
    """Ask everything, through so many models: a quarter of all attempts fail, which keeps one
    model's concurrency at the floor, and most of the time would be spent waiting for hangs.
    """
    prompts = [f"question {n}" for n in range(count)]
    failures: list[tuple[str, str]] = []
    with Server(handler) as server:
        models = {
            f"model {n}": telling_model(server, failures, idle_timeout=idle) for n in range(gates)
        }
        jobs = [one(text, model=f"model {n % gates}") for n, text in enumerate(prompts)]
        with driver(folder, models) as opened:
            outcomes = opened.run(jobs)
        right_or_failed(prompts, outcomes)
        cleared = {text for text in prompts if (p := plan(text)) is None or p[1]}
        sent = Counter(request.text for request in server.received)
        # A machine that stands still for longer than `idle` is a hang that nobody planned; it is
        # the only other reason to ask once more.
        late = Counter(text for text, cause in failures if cause == "timeout")
        for text in cleared:
            planned = plan(text)
            least, hangs = (3, 2 * (planned[0] == "hangs")) if planned else (1, 0)
            assert least <= sent[text] <= least + max(0, late[text] - hangs), text
        failed = sum(outcome.error is not None for outcome in outcomes)
        assert failed == len(prompts) - len(cleared) > 0


@pytest.mark.slow
def test_each_row_is_right_or_failed_with_its_cause(tmp_path: Path) -> None:
    chaotic(tmp_path, 150, gates=8)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_five_thousand_rows_survive_a_chaotic_server(tmp_path: Path) -> None:
    # So many requests at once keep a busy machine from answering for longer than half a second.
    chaotic(tmp_path, 5000, gates=16, idle=2.0)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_rows_come_out_while_most_is_refused_and_full_rate_returns(tmp_path: Path) -> None:
    # Six seconds of refusals in the place of a minute: the gate has long reached its floor.
    busy_seconds, began = 6.0, time.monotonic()
    answered: list[float] = []
    levels: list[tuple[float, int]] = []

    def refuse_most(request: Received) -> Answer:
        now = time.monotonic() - began
        levels.append((now, server.busy))
        number = zlib.crc32(f"{request.text} {request.times}".encode())
        if now < busy_seconds and number % 10 < 7:
            return chaos.fault("429")
        answered.append(now)
        # Slow enough that full concurrency is seen at a rate that any machine can send.
        return Answer(chat("ok").body, delay=0.4)

    with Server(refuse_most) as server, driver(tmp_path, opened_model(server)) as opened:
        began = time.monotonic()
        outcomes = opened.run([one(f"q{n}") for n in range(1500)])
    assert sum(outcome.error is not None for outcome in outcomes) <= 15
    # Counted from the first request on: a busy machine may take a second to send it.
    first = levels[0][0]
    for second in range(int(busy_seconds)):
        within = [t for t in answered if second <= t - first < second + 1]
        assert within, f"nothing in second {second}"
    back = [t for t, level in levels if t > busy_seconds and level >= 60]
    assert back and back[0] < busy_seconds + 10
