"""Connections: many requests share a few."""

from __future__ import annotations

import asyncio

from curate.models.remote.connection import FIRST_REST_SECONDS, Connection, bounded
from tests.models.chaos import Server, chat


def test_a_connection_is_used_again() -> None:
    async def ask(server: Server) -> None:
        connection = Connection(server.url, {"X-Test": "1"}, idle_seconds=5)

        async def post(number: int) -> None:
            async with connection.opened("chat/completions", {"prompt": str(number)}) as response:
                await bounded(response, 1000, connection.held)

        for _ in range(5):
            await asyncio.gather(*(post(number) for number in range(4)))
            await asyncio.sleep(FIRST_REST_SECONDS + 0.03)
        await connection.close()

    with Server(lambda request: chat("ok")) as server:
        asyncio.run(ask(server))
        assert len(server.received) == 20
        assert server.connections == 4
        assert {request.headers["x-test"] for request in server.received} == {"1"}
