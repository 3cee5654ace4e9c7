"""Post JSON to a server, many requests at a time, over connections that stay open.

On aiohttp itself rather than on the openai library: measured with 256 requests under way, the
library's client takes 0.9 ms of processor time for a request and looks at each of its connections
every time, aiohttp 0.14 ms, and the engine around it 0.13 ms (docs/log.md). What the library adds,
retries and typed replies, is done elsewhere here.
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from curate.models.remote.faults import StatusError, TooLong

CONNECT_SECONDS = 10.0
# A line of a stream may hold the log-probabilities of many tokens.
LONGEST_LINE_BYTES = 4 << 20
# How long a connection rests before it is used again: longer until so many were found clean that
# the server is known not to send its answers twice.
FIRST_REST_SECONDS, REST_SECONDS, PROVEN_CLEAN = 0.1, 0.005, 64
# Of an error some text is shown.
MOST_ERROR_BYTES = 64 << 10


async def bounded(response: Any, most: int, *, cut: bool = False) -> bytes:
    """Return the content of an answer, unpacked, of at most `most` bytes.

    Raises:
        TooLong: there is more, unless the rest is to be `cut` off.
    """
    pieces, held = list[bytes](), 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        held += len(piece)
        if held > most:
            response.close()
            if cut:
                break
            raise TooLong(f"an answer of more than {most:,} bytes")
    return b"".join(pieces)[:most]


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
            connector=_connector(),
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

    @asynccontextmanager
    async def opened(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Give a good answer with `headers` and `content`, to be read while it is open.

        Raises:
            StatusError: the server answered with an error, or would send the request elsewhere.
        """
        data = json.dumps(body, separators=(",", ":")).encode()
        url = f"{self._base}/{path}{self._query}"
        # A redirect would send the prompt, and the key, to a server that the user did not name.
        async with self._session.post(url, data=data, allow_redirects=False) as response:
            if not 200 <= response.status < 300:
                content = await bounded(response, MOST_ERROR_BYTES, cut=True)
                raise StatusError(response.status, response.headers, content)
            yield response

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def _connector() -> Any:
    """Return a pool of connections; one that holds unread data is not used again.

    A server that answers a request twice, or late, leaves an answer behind, which would be taken
    for that to the next request. Once that is seen, every request gets a connection of its own.
    """
    import aiohttp

    class CleanConnector(aiohttp.TCPConnector):
        found_clean = 0

        async def _get(self, key: Any, traces: Any) -> Any:
            rest = REST_SECONDS if self.found_clean >= PROVEN_CLEAN else FIRST_REST_SECONDS
            while (resting := self._conns.get(key)) and not self._force_close:
                protocol, since = resting[0]
                rested = time.monotonic() - since
                if protocol.is_connected() and rested <= (self._keepalive_timeout or math.inf):
                    if rested < rest:
                        return None  # Another one is opened: what was left must have time to come.
                    left = _left_behind(protocol)
                    if left is None:
                        self.found_clean += 1
                        return await super()._get(key, traces)
                    self._force_close = bool(left)
                # Left to the pool, it would go on to the next one, which may not have rested.
                resting.popleft()
                protocol.close()
                if not resting:
                    del self._conns[key]
            return None

    return CleanConnector(limit=0)


def _left_behind(protocol: Any) -> bytes | None:
    """Return what came over a connection after its answer, empty where it has ended.

    `None` is nothing, as it should be.
    """
    number = protocol.transport.get_extra_info("socket").fileno()
    poll = select.poll()
    poll.register(number, select.POLLIN)
    if not poll.poll(0):
        return b"read already" if protocol.should_close else None
    with socket.socket(fileno=os.dup(number)) as copy:
        try:
            return copy.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return b""


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment names for `url`, as HTTPS_PROXY and NO_PROXY say."""
    # aiohttp's own way, trust_env, reads ~/.netrc for every request, in another thread.
    parts = urlsplit(url)
    host = parts.hostname or ""
    return None if proxy_bypass(host) else getproxies().get(parts.scheme)
