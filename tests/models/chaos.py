"""A real HTTP server on loopback that answers as OpenAI-compatible servers do, well or badly.

`Server(handler)` runs in a thread of its own. The handler sees each request with the number of
times its prompt has come before, and says what to send; `fault` makes the bad answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request as it arrived; `times` counts earlier requests with the same prompt."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    times: int = 0

    @property
    def text(self) -> str:
        """The last turn, or the prompt."""
        messages = self.body.get("messages")
        content = messages[-1]["content"] if messages else self.body.get("prompt")
        return content if isinstance(content, str) else json.dumps(content)


@dataclass(frozen=True)
class Answer:
    """What to send; `cut` bytes of it and then a hang-up; in `pieces` with `pause` between them."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay: float = 0.0
    cut: int | None = None
    pieces: int = 1
    pause: float = 0.0
    never: bool = False
    # After how many seconds the whole answer is sent once more, unasked.
    again: float | None = None


Handler = Callable[[Received], Answer]


def chat(text: str, *, tokens: tuple[int, int] = (10, 5), **fields: Any) -> Answer:
    """A good chat reply."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    choice["finish_reason"] = fields.pop("finish_reason", "stop")
    choice.update(fields)
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return as_json({"object": "chat.completion", "choices": [choice], "usage": usage})


def as_json(data: Any, status: int = 200, **fields: Any) -> Answer:
    """Any JSON."""
    return Answer(json.dumps(data).encode(), status, **fields)


def refusal(status: int, message: str, **fields: Any) -> Answer:
    """An error as OpenAI words it."""
    return as_json({"error": {"message": message, "type": "error", "code": None}}, status, **fields)


def events(parts: list[Any], **fields: Any) -> Answer:
    """A stream of server-sent events."""
    text = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
    return Answer(text.encode(), content_type="text/event-stream", **fields)


FAULTS = (
    "429",
    "429 after",
    "500",
    "502 html",
    "dropped",
    "wrong json",
    "cut json",
    "empty",
    "hangs",
)
CAUSES = {
    "429": "rate_limit",
    "429 after": "rate_limit",
    "500": "server",
    "502 html": "server",
    "dropped": "connection",
    "wrong json": "malformed",
    "cut json": "malformed",
    "empty": "malformed",
    "hangs": "timeout",
}


def fault(kind: str) -> Answer:
    """One bad answer of each kind in `FAULTS`."""
    good = chat("never seen")
    return {
        "429": refusal(429, "slow down"),
        "429 after": refusal(429, "slow down", headers={"retry-after": "0.05"}),
        "500": refusal(500, "broken"),
        "502 html": Answer(b"<html><h1>Bad Gateway</h1></html>", 502, content_type="text/html"),
        "dropped": Answer(good.body, cut=len(good.body) // 2),
        "wrong json": as_json({"choices": [{"message": {"content": 7}}]}),
        "cut json": Answer(good.body[: len(good.body) // 2]),
        "empty": as_json({"choices": [], "usage": None}),
        "hangs": Answer(never=True),
    }[kind]


class Server:
    """The server; `received` lists all requests, `succeeded` counts good answers by prompt."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._seen: Counter[str] = Counter()
        self.received: list[Received] = []
        self.succeeded: Counter[str] = Counter()
        self.busy = self.most_busy = self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Server:
        self._thread.start()
        opened = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 22, backlog=1024)
        server = asyncio.run_coroutine_threadsafe(opened, self._loop).result(10)
        self._server = server
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def forget(self) -> None:
        """Forget what was received, as if it had been started anew."""
        self._seen.clear()
        self.succeeded.clear()
        self.received.clear()

    async def _cancel(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        ):
            while request := await self._read(reader):
                self.busy += 1
                self.most_busy = max(self.most_busy, self.busy)
                try:
                    alive = await self._answer(request, writer)
                finally:
                    self.busy -= 1
                if not alive:
                    break
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        path = head[0].split()[1]
        bare = Received(path, headers, body)
        request = Received(path, headers, body, self._seen[bare.text])
        self._seen[bare.text] += 1
        self.received.append(request)
        return request

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        answer = self._handler(request)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if answer.never:
            await asyncio.sleep(3600)
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        head = (
            f"HTTP/1.1 {answer.status} X\r\ncontent-type: {answer.content_type}\r\n"
            f"content-length: {len(answer.body)}\r\n{extra}\r\n"
        )
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        size = max(1, -(-len(body) // answer.pieces))
        writer.write(head.encode())
        for at in range(0, len(body), size):
            writer.write(body[at : at + size])
            if answer.pause:
                await writer.drain()
                await asyncio.sleep(answer.pause)
        await writer.drain()
        if answer.again is not None:
            await asyncio.sleep(answer.again)
            writer.write(head.encode() + body)
        if answer.cut is None and answer.status == 200:
            self.succeeded[request.text] += 1
        return answer.cut is None
