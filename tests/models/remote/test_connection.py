"""Connections: many requests share a few, proxies come from the environment."""

from __future__ import annotations

import asyncio

import pytest

from curate.models.remote.connection import FIRST_REST_SECONDS, Connection, bounded, proxy_of
from tests.models.chaos import Server, chat


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://api.example.com/v1", "http://proxy:3128"),
        ("http://api.example.com/v1", None),
        ("https://127.0.0.1:8000/v1", None),
    ],
)
def test_the_environment_names_the_proxy(
    url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    assert proxy_of(url) == proxy


def test_a_connection_is_used_again() -> None:
    async def ask(server: Server) -> None:
        connection = Connection(server.url, {"X-Test": "1"}, idle_seconds=5)

        async def post(number: int) -> None:
            async with connection.opened("chat/completions", {"prompt": str(number)}) as response:
                await bounded(response, 1000)

        for _ in range(5):
            await asyncio.gather(*(post(number) for number in range(4)))
            await asyncio.sleep(FIRST_REST_SECONDS + 0.03)
        await connection.close()

    with Server(lambda request: chat("ok")) as server:
        asyncio.run(ask(server))
        assert len(server.received) == 20
        assert server.connections == 4
        assert {request.headers["x-test"] for request in server.received} == {"1"}
