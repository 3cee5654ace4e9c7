"""What the driver's tests share: a model made of a function, and jobs that ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.ask import Ask, Reply, Request
from curate.models.model import ModelInfo, Price
from curate.requests.driver import Driver, RowTask
from curate.store.budget import Budget
from curate.store.store import Store


class Answering:
    """A model that answers with what a function says, and remembers what it was sent."""

    def __init__(
        self,
        answer: Callable[[str], Reply | str] = lambda text: f"re: {text}",
        *,
        price: Price | None = None,
        max_concurrency: int = 8,
        delay: Callable[[str], float] = lambda text: 0.0,
        identity: str = "answering",
    ) -> None:
        self.info = ModelInfo(
            identity=identity,
            forms=("ask",),
            price=price,
            max_concurrency=max_concurrency,
            retry_delay=0.0001,
        )
        self._answer, self._delay = answer, delay
        self.sent: list[str] = []
        self.busy = self.most_busy = 0
        self.closed = False

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        assert isinstance(request, Ask)
        text = request.messages[-1].content
        self.sent.append(text)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            await asyncio.sleep(self._delay(text))
            reply = self._answer(text)
        finally:
            self.busy -= 1
        return reply if isinstance(reply, Reply) else Reply(text=reply)

    async def close(self) -> None:
        self.closed = True


@contextmanager
def driver(
    folder: Path,
    model: Any,
    *,
    run_id: str = "run",
    max_cost: float | None = None,
    max_requests: int | None = None,
    **options: Any,
) -> Iterator[Driver]:
    """Open a store and a driver over one model, or over several by their names."""
    models = model if isinstance(model, dict) else {"model": model}
    with Store.open(folder / "store") as store:
        spending = Budget(store, run_id, max_cost=max_cost, max_requests=max_requests)
        with Driver(store, models, spending=spending, **options) as opened:
            yield opened


def one(text: str, **fields: Any) -> RowTask:
    """A job that asks once and returns the reply's text."""
    fields.setdefault("max_tokens", 16)

    def start() -> Any:
        reply = yield Ask.text(text, **fields)
        return reply.text

    return RowTask(start, salt=text)


def chain(name: str, waves: list[list[str]]) -> RowTask:
    """A job of several waves, each of which depends on the replies to the one before."""

    def start() -> Any:
        heard = ""
        for wave in waves:
            replies = yield [Ask.text(f"{name} {text} after [{heard}]") for text in wave]
            heard = "+".join(reply.text[-12:] for reply in replies)
        return heard

    return RowTask(start, salt=name)
