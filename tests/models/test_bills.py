"""Ceilings over real HTTP: whatever is billed, dropped or refused, they are kept."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask
from curate.errors import CeilingReached
from curate.models.model import Price, open_model
from curate.store.budget import PICO, cost, prompt_bound
from tests.engine.asking import driver, one

from . import chaos
from .chaos import Answer, Received, Server, chat

PRICE = {"input": 1.0, "output": 10.0}
BOUND = cost(Price(**PRICE), prompt_bound(Ask.text("question 00")), 16) / PICO


def priced(server: Server, **options: Any) -> Any:
    model = open_model({"model": "openai:tiny", "base_url": server.url, "price": PRICE, **options})
    model.info = replace(model.info, retry_delay=0.0002)
    return model


@pytest.mark.parametrize("seed", range(20))
def test_no_random_server_pushes_a_run_past_its_ceiling(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    ceiling = BOUND * dice.uniform(0.5, 40)

    def bill(request: Received) -> Answer:
        own = random.Random(zlib.crc32(f"{seed} {request.text} {request.times}".encode()))
        if own.random() < 0.25:
            return chaos.fault(own.choice(["429", "500", "dropped", "cut json", "empty"]))
        return chat("ok", tokens=(own.randint(0, 60), own.randint(0, 16)))

    reached, highest = False, 0.0

    def look(counts: object) -> None:
        nonlocal highest
        now = opened.spending.tally()
        highest = max(highest, now.cost_usd + now.reserved_usd)

    with Server(bill) as server:
        model = priced(server, max_concurrency=dice.choice([1, 3, 16]))
        with driver(tmp_path, model, max_cost=ceiling, progress=look) as opened:
            try:
                outcomes = opened.run([one(f"question {n:02}") for n in range(40)])
                assert all(o.value == "ok" or o.error for o in outcomes)
            except CeilingReached:
                reached = True
            tally = opened.spending.tally()
        assert tally.sent == len(server.received)
    assert max(highest, tally.cost_usd + tally.reserved_usd) <= ceiling
    assert tally.reserved_usd == 0
    if reached:
        assert tally.cost_usd + BOUND > ceiling, "it stopped too early"


def test_a_server_that_bills_too_much_is_stopped_at_once_and_reported(tmp_path: Path) -> None:
    def bill(request: Received) -> Answer:
        return chat("ok", tokens=(10, 9000 if request.text == "question 05" else 2))

    with Server(bill) as server:
        model = priced(server, max_concurrency=1)
        with (
            driver(tmp_path, model, max_cost=1.0) as opened,
            pytest.raises(CeilingReached, match=r"billed \$0\.09 for one request.*stopped at once"),
        ):
            opened.run([one(f"question {n:02}") for n in range(40)])
        assert [request.text for request in server.received] == [f"question 0{n}" for n in range(6)]
