"""How fast short requests are answered by a server that takes 50 ms, at concurrency 8, 64, 256.

    python benchmarks/request_rate.py [--full] [--repeats N]

The server is a process of its own on loopback and shares the cores. curate's figures hold the
durable store (reservation and reply, each committed), retries and accounting; the others keep what
they got in memory. Times begin after one warm-up request, without imports. The ideal rate is
concurrency / latency, with the latency that a bare socket sees one request at a time: a timer of
50 ms is late by a millisecond or two. --full sends 20,000 requests at 256 instead of 8,000.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import Contender, Line, machine, peers, print_goal, print_table, side_by_side

LATENCY = 0.05
SHARE = {8: 0.95, 64: 0.93}
QUICK, FULL = {8: 800, 64: 5_000, 256: 8_000}, {8: 2_000, 64: 10_000, 256: 20_000}
OPENAI = "openai[aiohttp]==3.52.0"
SEEN = "Seen on another day and not measured here: bespoke curator 645/s, distilabel 467/s at 256."


class Answering(asyncio.Protocol):
    """Answer each chat request with its own prompt, 50 ms later; no more work than that."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:") + 15
            stop = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
            if len(self._buffer) < stop:
                return
            body, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            # The prompts here are plain words, so that the text ends with the next quote.
            start = body.rfind(b"question ")
            text = body[start : body.find(b'"', start)]
            asyncio.get_running_loop().call_later(LATENCY, self._answer, text)

    def _answer(self, text: bytes) -> None:
        body = (
            b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
            b'"message":{"role":"assistant","content":"The answer to ' + text + b' is here."},'
            b'"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":10,'
            b'"completion_tokens":12,"total_tokens":22}}'
        )
        if not self._transport.is_closing():
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
                % (len(body), body)
            )


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server() -> Iterator[str]:
    """Start the server in a process of its own and give its address."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


def latency(url: str) -> float:
    """Return the median round trip of a bare blocking socket."""
    host, port = url.split("/")[2].split(":")
    data = json.dumps(body("question 0")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {len(data)}\r\n\r\n".encode()
    times = []
    with socket.create_connection((host, int(port))) as link:
        for _ in range(40):
            began = time.perf_counter()
            link.sendall(head + data)
            link.recv(1 << 16)
            times.append(time.perf_counter() - began)
    return statistics.median(times)


# -- contenders -----------------------------------------------------------------------------------


def prompts(count: int) -> list[str]:
    return [f"question {n}" for n in range(count)]


def by_curate(url: str, count: int, places: int) -> tuple[float, list[str]]:
    from curate.ask import Ask
    from curate.engine.requests.drive import Driver, Job
    from curate.engine.requests.spending import Spending
    from curate.engine.requests.store import Store
    from curate.models.model import open_model

    def job(text: str) -> Job:
        def start():
            return (yield Ask.text(text, max_tokens=32)).text

        return Job(start, shares=True)

    folder = Path(tempfile.mkdtemp())
    spec = {"model": "openai:m", "base_url": url, "max_concurrency": places}
    spec["price"] = {"input": 0.1, "output": 0.4}
    try:
        with Store.open(folder) as store:
            spending = Spending(store, "run", max_cost=100.0)
            with Driver(store, {"m": open_model(spec)}, spending=spending) as driver:
                driver.run([job("question warm-up")])
                jobs = [job(text) for text in prompts(count)]
                began = time.perf_counter()
                outcomes = driver.run(jobs)
                seconds = time.perf_counter() - began
    finally:
        shutil.rmtree(folder)
    return seconds, [str(outcome.value) for outcome in outcomes]


async def bounded(
    ask: Callable[[str], Awaitable[str]], count: int, places: int
) -> tuple[float, list[str]]:
    """Ask everything, `places` at a time."""
    await ask("question warm-up")
    waiting = iter(enumerate(prompts(count)))
    answers = [""] * count

    async def worker() -> None:
        for index, text in waiting:
            answers[index] = await ask(text)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(places)))
    return time.perf_counter() - began, answers


def body(text: str) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 32,
    }


def by_openai(url: str, count: int, places: int) -> tuple[float, list[str]]:
    import openai

    return asyncio.run(_openai(openai.AsyncOpenAI(base_url=url, api_key="none"), count, places))


def by_openai_aiohttp(url: str, count: int, places: int) -> tuple[float, list[str]]:
    import openai

    async def run() -> tuple[float, list[str]]:
        http = openai.DefaultAioHttpClient()
        client = openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http)
        return await _openai(client, count, places)

    return asyncio.run(run())


async def _openai(client: Any, count: int, places: int) -> tuple[float, list[str]]:
    async def ask(text: str) -> str:
        reply = await client.chat.completions.create(**body(text))
        return reply.choices[0].message.content

    try:
        return await bounded(ask, count, places)
    finally:
        await client.close()


def by_aiohttp(url: str, count: int, places: int) -> tuple[float, list[str]]:
    import aiohttp

    async def run() -> tuple[float, list[str]]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(text: str) -> str:
                async with session.post(f"{url}/chat/completions", json=body(text)) as response:
                    data = await response.json()
                    return data["choices"][0]["message"]["content"]

            return await bounded(ask, count, places)

    return asyncio.run(run())


CONTENDERS = {
    "curate": (by_curate, "curate-align"),
    "openai client": (by_openai, OPENAI),
    "openai client, aiohttp transport": (by_openai_aiohttp, OPENAI),
    "aiohttp alone": (by_aiohttp, "aiohttp"),
}


def child(name: str, url: str, count: int, places: int) -> None:
    seconds, answers = CONTENDERS[name][0](url, count, places)
    right = sum(a == f"The answer to question {n} is here." for n, a in enumerate(answers))
    print(json.dumps({"seconds": seconds, "right": right}))


def contender(name: str, url: str, count: int, places: int) -> Contender:
    package = CONTENDERS[name][1]
    command = [sys.executable, __file__, "--child", name, url, str(count), str(places)]
    if package == OPENAI:
        env = {"PYTHONPATH": str(peers(OPENAI))}
        return Contender(name, OPENAI.split("==")[1], command, env)
    return Contender(name, importlib.metadata.version(package), command)


def compare(url: str, count: int, places: int, names: list[str], repeats: int | None) -> None:
    """Print one table, and how the goals stand."""
    chosen = [contender(name, url, count, places) for name in names]
    found = dict(zip(names, side_by_side(chosen, repeats=repeats), strict=True))
    lines = [
        Line(
            one.name, one.version, count, found[one.name],
            "yes" if found[one.name].result["right"] == count else "NO",
        )
        for one in chosen
    ]  # fmt: skip
    ideal = places / latency(url)
    print_table(f"{count:,} requests, concurrency {places} (ideal {ideal:,.0f}/s)", lines)
    mine = count / found["curate"].seconds
    if places in SHARE:
        what = f"curate, share of the ideal rate at {places}"
        print_goal(what, mine / ideal, least=SHARE[places])
    elif "openai client" in found:
        ratio = found["openai client"].seconds / found["curate"].seconds
        print_goal("curate's rate / the openai client's", ratio, least=1.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="20,000 requests at 256")
    parser.add_argument("--repeats", type=int, help="by default what the slowest allows")
    parser.add_argument("--peers", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--places", nargs="*", type=int, default=list(QUICK))
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--child", nargs=4)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
    elif options.child:
        name, url, count, places = options.child
        child(name, url, int(count), int(places))
    else:
        print(machine())
        names = ["curate", *(name for name in options.peers if name != "curate")]
        with server() as url:
            for places in options.places:
                count = (FULL if options.full else QUICK)[places]
                compare(url, count, places, names, options.repeats)
        print(f"\n{SEEN}")


if __name__ == "__main__":
    main()
