"""Ceilings belong to the run folder: neither other stores nor dear bills pass them."""

from __future__ import annotations

import contextlib
import random
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Ask
from curate.errors import CeilingReached, UsageError
from curate.store.budget import MARGIN, prompt_bound
from tests.engine.contract_steps import Judge, numbered

from .chaos import Answer, Received, Server, chat

PRICE = {"input": 1.0, "output": 10.0}
ROWS = 150


def run(
    folder: Path, server: Server, store: str = "store", concurrency: int = 8, **options: Any
) -> Any:
    spec = {"model": "openai:tiny", "base_url": server.url, "price": PRICE, "max_tokens": 16}
    pipeline = Pipeline([Judge(at_least=0.0)], models={"judge": {**spec, "max_concurrency": 64}})
    where = {"run": folder / "run", "store": folder / store, "concurrency": concurrency}
    return pipeline.run(numbered(ROWS, ROWS + 1), **where, **options)


def test_requests_with_any_store_count(tmp_path: Path) -> None:
    with Server(lambda request: chat("5")) as server:
        for number in range(3):
            with pytest.raises(CeilingReached, match="40 attempts were sent in this run so far"):
                run(tmp_path, server, f"store{number}", max_requests=40)
        assert len(server.received) == 40
        # The first store is gone, and what was spent with it is not.
        (tmp_path / "store0" / "store.db").unlink()
        with pytest.raises(CeilingReached):
            run(tmp_path, server, "another", max_requests=40)
        assert len(server.received) == 40


@pytest.mark.parametrize("concurrency", [1, 8, 64])
@pytest.mark.parametrize("kind", ["always", "at random", "dearer and dearer"])
def test_an_over_billing_server_passes_the_ceiling_by_one_bill_at_most(
    kind: str, concurrency: int, tmp_path: Path
) -> None:
    bills = list[float]()

    def bill(request: Received) -> Answer:
        chance = random.Random(zlib.crc32(request.text.encode())).random()
        tokens = {"always": 20_000, "at random": int(16 + 30_000 * chance**4)}.get(kind)
        tokens = 16 * 2 ** min(len(bills), 9) if tokens is None else tokens
        bills.append((20 * PRICE["input"] + tokens * PRICE["output"]) / 1e6)
        return chat("5", tokens=(20, tokens))

    said = ""
    with Server(bill) as server:
        for number in range(8):
            try:
                store = f"store{number % 3}"
                run(tmp_path, server, store, concurrency, max_cost=0.5)
            except CeilingReached as error:
                said = str(error)
                spent = re.search(r"with \$([0-9.]+) spent in this run so far", said)
                assert spent is None or float(spent[1]) == pytest.approx(sum(bills), rel=0.06)
    assert sum(bills) <= 0.5 + max(bills)
    assert "--max-cost" in said
    assert kind != "always" or "the ceiling of $0.5 (--max-cost) is reached" in said


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 8, 64])
@pytest.mark.parametrize(("honest", "ceiling"), [(1, 0.02), (40, 0.012), (70, 0.012), (70, 0.02)])
def test_a_server_that_turns_dear_passes_the_ceiling_by_one_bill_at_most(
    honest: int, ceiling: float, concurrency: int, tmp_path: Path
) -> None:
    """Up to `MARGIN` times what was reserved, after bills that kept to it, with many under way."""
    bills, bounds = list[float](), list[float]()

    def bill(request: Received) -> Answer:
        # The step asks for eight tokens.
        bound = prompt_bound(Ask.text(request.text)) * PRICE["input"] + 8 * PRICE["output"]
        dear = int((MARGIN * bound - 20) / PRICE["output"])
        tokens = 2 if len(bills) < honest else dear
        bounds.append(bound / 1e6)
        bills.append((20 * PRICE["input"] + tokens * PRICE["output"]) / 1e6)
        # All that are sent together are under way together.
        return replace(chat("5", tokens=(20, tokens)), delay=0.02)

    with Server(bill) as server:
        for _ in range(3):
            with contextlib.suppress(CeilingReached):
                run(tmp_path, server, "store", concurrency, max_cost=ceiling)
    assert max(bills) <= MARGIN * max(bounds)
    assert sum(bills) <= ceiling + max(bills)
    assert len(bills) > honest


@pytest.mark.parametrize("concurrency", [8, 64])
def test_any_bill_at_all_is_passed_by_those_under_way_alone(
    concurrency: int, tmp_path: Path
) -> None:
    """However dear: no more are under way than bills have kept to what was reserved, and one."""
    honest, dear = 5, list[float]()

    def bill(request: Received) -> Answer:
        if len(server.received) <= honest:
            return replace(chat("5", tokens=(20, 2)), delay=0.02)
        dear.append((20 * PRICE["input"] + 90_000 * PRICE["output"]) / 1e6)
        return replace(chat("5", tokens=(20, 90_000)), delay=0.3)

    with Server(bill) as server, pytest.raises(CeilingReached, match="stopped at once"):
        run(tmp_path, server, "store", concurrency, max_cost=0.5)
    assert 1 <= len(dear) <= honest + 1


@pytest.mark.parametrize("most", [30, 61, 97])
def test_all_that_a_ceiling_on_requests_allows_is_sent(most: int, tmp_path: Path) -> None:
    """Requests that wait for a free place when the ceiling is reached are sent, too."""

    def answer(request: Received) -> Answer:
        return replace(chat("5"), delay=0.01 + 0.02 * random.Random(request.text).random())

    with Server(answer) as server:
        with pytest.raises(CeilingReached, match=f"{most} attempts were sent"):
            run(tmp_path, server, "store", 8, max_requests=most)
        assert len(server.received) == most


def test_a_ceiling_far_away_slows_nothing(tmp_path: Path) -> None:
    with Server(lambda request: replace(chat("5", tokens=(20, 2)), delay=0.02)) as server:
        run(tmp_path, server, "store", 64, max_cost=10.0)
        assert len(server.received) > ROWS / 2 and server.most_busy > 30


def test_a_store_that_was_emptied_is_said_before_anything_is_paid_again(tmp_path: Path) -> None:
    with Server(lambda request: chat("5")) as server:
        run(tmp_path, server)
        for path in (tmp_path / "store").glob("store.db*"):
            path.unlink()
        (tmp_path / "store" / "store.db").touch()
        sent = len(server.received)
        with pytest.raises(UsageError, match=rf"has sent {sent} requests \(\$.*--pay-again to ask"):
            run(tmp_path, server)
        assert len(server.received) == sent
        with pytest.raises(CeilingReached, match="200 attempts were sent in this run so far"):
            run(tmp_path, server, pay_again=True, max_requests=200)
        assert len(server.received) == 200
        # Agreed to once is agreed to: what was lost is known, and the store knows the rest.
        assert run(tmp_path, server).summary["requests"]["sent"] == 2 * sent


def test_a_store_that_was_moved_counts_once(tmp_path: Path) -> None:
    with Server(lambda request: chat("5")) as server:
        run(tmp_path, server)
        sent = len(server.received)
        (tmp_path / "store").rename(tmp_path / "moved")
        again = run(tmp_path, server, "moved", max_requests=sent)
        assert len(server.received) == sent == again.summary["requests"]["sent"]
