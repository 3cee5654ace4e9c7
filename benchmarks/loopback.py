"""A server on loopback that answers each chat request after exactly 50 ms, and bare clients of it.

The server is an instrument, so it does next to nothing: one thread, no event loop, no timer that
counts in milliseconds. Every request waits equally long, so that a queue holds the deadlines in
order. It answers with the prompt, so that whoever asked can tell whether the answer is its own.
"""

from __future__ import annotations

import json
import select
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LATENCY = 0.05


class Link:
    """A connection and what it has sent of a request that is not whole yet."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket, self._buffer = connected, b""

    def prompts(self) -> list[bytes] | None:
        """Return the prompts that have come, or `None` when the other side has left."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            return None
        self._buffer += data
        return list(self._whole()) if data else None

    def _whole(self) -> Iterator[bytes]:
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:") + 15
            stop = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
            if len(self._buffer) < stop:
                return
            sent, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            # The prompts here are plain words, so that the text ends with the next quote.
            start = sent.rfind(b"question ")
            yield sent[start : sent.find(b'"', start)]

    def answer(self, text: bytes) -> None:
        body = (
            b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
            b'"message":{"role":"assistant","content":"The answer to ' + text + b' is here."},'
            b'"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":10,'
            b'"completion_tokens":12,"total_tokens":22}}'
        )
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
        try:
            self.socket.send(head % (len(body), body))
        except OSError:
            return  # It left without waiting; `prompts` will see that.


def serve() -> None:
    """Print the port and answer until killed."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listening.getsockname()[1], flush=True)
    watched = selectors.DefaultSelector()
    watched.register(listening, selectors.EVENT_READ)
    due: deque[tuple[float, Link, bytes]] = deque()
    while True:
        # Waiting on the selector itself would round up to a millisecond.
        wait = max(due[0][0] - time.monotonic(), 0.0) if due else None
        select.select([watched], (), (), wait)
        ready = watched.select(0)
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, link, text = due.popleft()
            link.answer(text)
        for key, _ in ready:
            if key.data is None:
                new = Link(listening.accept()[0])
                watched.register(new.socket, selectors.EVENT_READ, new)
            elif (prompts := key.data.prompts()) is not None:
                due.extend((time.monotonic() + LATENCY, key.data, text) for text in prompts)
            else:
                watched.unregister(key.data.socket)
                key.data.socket.close()


@contextmanager
def server() -> Iterator[str]:
    """Start the server in a process of its own and give its address."""
    command = [sys.executable, "-c", "import loopback; loopback.serve()"]
    here = Path(__file__).parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


# -- bare clients ---------------------------------------------------------------------------------


def address(url: str) -> tuple[str, int]:
    host, port = url.split("/")[2].split(":")
    return host, int(port)


def body(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 32}


def message(text: str) -> bytes:
    """Return a whole request."""
    data = json.dumps(body(text)).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


def latency(url: str) -> float:
    """Return the median round trip of one blocking socket."""
    times = []
    with socket.create_connection(address(url)) as link:
        for _ in range(40):
            began = time.perf_counter()
            link.sendall(message("question 0"))
            link.recv(1 << 16)
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def rate(url: str, count: int, places: int) -> float:
    """Return the requests a second of sockets that look at no answer: what the server can do."""
    watched, data = selectors.DefaultSelector(), message("question 0")
    links = [socket.create_connection(address(url)) for _ in range(places)]
    for link in links:
        watched.register(link, selectors.EVENT_READ)
    began, left, answered = time.perf_counter(), count - places, 0
    for link in links:
        link.sendall(data)
    while answered < count:
        for key, _ in watched.select():
            link = key.fileobj
            link.recv(1 << 16)
            answered += 1
            if left > 0:
                left -= 1
                link.sendall(data)
    seconds = time.perf_counter() - began
    for link in links:
        link.close()
    watched.close()
    return count / seconds
