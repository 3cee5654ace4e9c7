"""Post JSON to a server, many requests at a time, over connections that stay open.

On aiohttp itself rather than on the openai library: measured with 256 requests under way, the
library's client takes 0.9 ms of processor time for a request and looks at each of its connections
every time, aiohttp 0.14 ms, and the engine around it 0.13 ms (docs/log.md). What the library adds,
retries and typed replies, is done elsewhere here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from curate.models.remote.faults import StatusError

CONNECT_SECONDS = 10.0
# A line of a stream may hold the log-probabilities of many tokens.
LONGEST_LINE_BYTES = 4 << 20


class Connection:
    """An open session with one server; connections are made with the first requests."""

    def __init__(self, base_url: str, headers: Mapping[str, str], idle_seconds: float) -> None:
        """Open the session, inside the event loop that it will be used in.

        Args:
            base_url: where paths begin.
            headers: sent with every request.
            idle_seconds: how long a server may send nothing before it counts as away.
        """
        import aiohttp

        # The engine bounds how many are under way, and idle time ends a wait, not total time.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_seconds
            ),
            headers={**headers, "Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=LONGEST_LINE_BYTES,
            proxy=proxy_of(base_url),
        )
        parts = urlsplit(base_url)
        self._base = parts._replace(path=parts.path.rstrip("/"), query="").geturl()
        self._query = f"?{parts.query}" if parts.query else ""

    async def post(self, path: str, body: Mapping[str, Any]) -> tuple[Mapping[str, str], bytes]:
        """Return the headers and the content of a good answer.

        Raises:
            Refusal: the server answered with an error.
        """
        async with self._open(path, body) as response:
            return response.headers, await response.read()

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Give an answer with `headers`, to be read whole (`read`) or line by line (`content`)."""
        async with self._open(path, body) as response:
            yield response

    @asynccontextmanager
    async def _open(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[Any]:
        data = json.dumps(body, separators=(",", ":")).encode()
        url = f"{self._base}/{path}{self._query}"
        async with self._session.post(url, data=data) as response:
            if not response.ok:
                raise StatusError(response.status, response.headers, await response.read())
            yield response

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment names for `url`, as HTTPS_PROXY and NO_PROXY say."""
    # aiohttp's own way, trust_env, reads ~/.netrc for every request, in another thread.
    parts = urlsplit(url)
    host = parts.hostname or ""
    return None if proxy_bypass(host) else getproxies().get(parts.scheme)
