"""A server on loopback that breaks HTTP itself: what it writes need not be an answer at all."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import zlib
from collections.abc import Callable, Iterable, Iterator

from .chaos import Answer, Received, Server

# What is written to a connection in place of an answer; then the server hangs up.
Attack = Iterable[bytes]
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: "


class HostileServer(Server):
    """The chaos server, whose handler may return bytes; `greeting` is sent before any request.

    Where the request is there first, as on a busy machine, none is sent: it would be its answer.
    `greeted` counts those that were.
    """

    def __init__(
        self, handler: Callable[[Received], Answer | Attack], greeting: bytes = b""
    ) -> None:
        super().__init__(handler)  # type: ignore[arg-type]
        self.greeting, self.greeted = greeting, 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked, _, _ = select.select([writer.get_extra_info("socket")], [], [], 0)
        read = reader._buffer  # type: ignore[attr-defined]
        if self.greeting and not asked and not read:
            writer.write(self.greeting)
            self.greeted += 1
        await super()._serve(reader, writer)

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        found = self._handler(request)
        if isinstance(found, Answer):
            return await super()._answer(request, writer)
        with contextlib.suppress(ConnectionError):
            for piece in found:
                writer.write(piece)
                await writer.drain()
        return False


def raw(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """One whole answer as it goes over the wire."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def bomb(encoding: str, blocks: int = 300) -> Iterator[bytes]:
    """A body of 10 KB a block that unpacks to 10 MB each."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b'" ' * 5_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    begin = {"gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "deflate": b"\x78\x9c"}.get(encoding, b"")
    yield _OK + f"application/json\r\ncontent-encoding: {encoding}\r\n\r\n".encode() + begin
    yield from itertools.repeat(block, blocks)


def endless(kind: str) -> Iterator[bytes]:
    """What never ends: a body, events, chunks, the extension of a chunk, headers, informations."""
    piece = b"x" * 65_536
    event = b'data: {"choices": [{"delta": {"content": "xxxxxxxxxxxxxxxxxxxx"}}]}\n\n'
    begin, again = {
        "body": (_OK + b"application/json\r\n\r\n", piece),
        "lists": (_OK + b"application/json\r\n\r\n", b"[" * 65_536),
        "stream": (_OK + b"text/event-stream\r\n\r\n", event * 500),
        "line": (_OK + b"text/event-stream\r\n\r\ndata: ", piece),
        "chunks": (
            _OK + b"application/json\r\ntransfer-encoding: chunked\r\n\r\n",
            b"10000\r\n" + piece + b"\r\n",
        ),
        "extension": (
            _OK + b"application/json\r\ntransfer-encoding: chunked\r\n\r\n5;a=", piece,
        ),
        "header": (b"HTTP/1.1 200 OK\r\nx-long: ", piece),
        "headers": (b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n" * 4096),
        "error": (b"HTTP/1.1 400 Bad Request\r\n\r\n", piece),
    }[kind]  # fmt: skip
    yield begin
    yield from itertools.repeat(again)


ENDLESS = ("body", "lists", "stream", "line", "chunks", "extension", "header", "headers", "error")
