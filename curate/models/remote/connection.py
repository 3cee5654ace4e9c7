"""Post JSON to a server, many requests at a time, over connections that stay open.

On aiohttp itself rather than on the openai library: measured with 256 requests under way, the
library's client takes 0.9 ms of processor time for a request and looks at each of its connections
every time, aiohttp 0.14 ms, and the engine around it 0.13 ms (docs/log.md). What the library adds,
retries and typed replies, is done elsewhere here.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

from curate.models.remote.faults import StatusError, TooLong, Unasked

CONNECT_SECONDS = 10.0
# A line of a stream may hold the log-probabilities of many tokens.
LONGEST_LINE_BYTES = 4 << 20
# What is unpacked piece by piece, and never as a whole.
_PACKED = {"Accept-Encoding": "gzip, deflate"}
# How long a connection rests before it is used again: longer until so many were found clean that
# the server is known not to send its answers twice.
FIRST_REST_SECONDS, REST_SECONDS, PROVEN_CLEAN = 0.1, 0.005, 64
# Of an error some text is shown.
MOST_ERROR_BYTES = 64 << 10
# What all answers under way may hold together; one that is shorter than this is never to blame.
MOST_TOGETHER, SHORT_BYTES = 96 << 20, 1 << 20


class HeldBytes:
    """How many bytes the answers under way hold together: each is bounded, and so is their sum."""

    def __init__(self, most: int = MOST_TOGETHER) -> None:
        self.most, self.now = most, 0

    @contextmanager
    def counted(self, most: int, what: str = "an answer") -> Iterator[Callable[[int, int], None]]:
        """Give what counts the bytes of one answer, read and kept; afterwards none is held.

        Of a stream little is kept: the text of a token comes in an event of 300 bytes.

        Raises:
            TooLong: it has more than `most`, or holds much while all hold too much.
        """
        own_read = own = 0

        def count(read: int, kept: int) -> None:
            nonlocal own_read, own
            own_read, own, self.now = own_read + read, own + kept, self.now + kept
            if own_read > most:
                raise TooLong(f"{what} of more than {most:,} bytes")
            if self.now > self.most and own > SHORT_BYTES:
                raise TooLong(
                    f"{what} of {own:,} bytes so far, while the answers under way hold more than "
                    f"{self.most:,} bytes together"
                )

        try:
            yield count
        finally:
            self.now -= own


async def bounded(response: Any, most: int, held: HeldBytes, *, cut: bool = False) -> bytes:
    """Return the content of an answer, unpacked, of at most `most` bytes.

    Raises:
        TooLong: there is more, unless the rest is to be `cut` off.
    """
    pieces = list[bytes]()
    with held.counted(most) as count:
        try:
            async for piece in response.content.iter_any():
                pieces.append(piece)
                count(len(piece), len(piece))
        except TooLong:
            response.close()
            if not cut:
                raise
        return b"".join(pieces)[:most]


class Connection:
    """An open session with one server; connections are made with the first requests."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        idle_seconds: float,
        proxy: str | None = None,
    ) -> None:
        """Open the session, inside the event loop that it will be used in.

        Args:
            base_url: where paths begin.
            headers: sent with every request.
            idle_seconds: how long a server may send nothing before it counts as away.
            proxy: what requests go through.
        """
        import aiohttp

        # The engine bounds how many are under way, and idle time ends a wait, not total time.
        self._session = aiohttp.ClientSession(
            connector=_connector(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_seconds
            ),
            headers={**headers, "Content-Type": "application/json", **_PACKED},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=LONGEST_LINE_BYTES,
            proxy=proxy,
        )
        self.held = HeldBytes()
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
                content = await bounded(response, MOST_ERROR_BYTES, self.held, cut=True)
                raise StatusError(response.status, response.headers, content)
            yield response

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def _connector() -> Any:
    """Return a pool of connections; one that holds unread data is not used again.

    A server that answers a request twice, or late, leaves an answer behind, which would be taken
    for that to the next request. Once that is seen, every request gets a connection of its own. One
    over which something comes before anything was asked is not used at all.
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

        async def _create_connection(self, *arguments: Any) -> Any:
            protocol = await super()._create_connection(*arguments)
            await asyncio.sleep(REST_SECONDS)
            # What the loop has read by now; under TLS the socket may hold what is not an answer.
            if protocol._tail:
                protocol.close()
                raise Unasked("an answer before anything was asked")
            return protocol

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
