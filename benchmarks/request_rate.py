"""How fast short requests are answered by a server that takes 50 ms, at concurrency 8, 64, 256.

    python benchmarks/request_rate.py [--full] [--repeats N] [--peers NAME ...] [--places N ...]

The server is a process of its own on loopback and shares the cores; every contender asks the same
one. curate's figures hold the durable store (reservation and reply, each committed), retries and
accounting; the others keep what they got in memory, but for bespoke curator, which writes files.
Times begin after one warm-up request, without imports. The ideal rate is concurrency / 50 ms; what
bare sockets reach, which read nothing of an answer, is the server's own part in what is missing.
Slow peers send fewer requests. --full sends 20,000 at 256.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import (
    Contender,
    Line,
    machine,
    peers,
    print_goal,
    print_ratio,
    print_table,
    side_by_side,
)
from loopback import LATENCY, address, body, latency, message, rate, server

SHARE = {8: 0.95, 64: 0.93}
QUICK, FULL = {8: 800, 64: 5_000, 256: 8_000}, {8: 2_000, 64: 10_000, 256: 20_000}
# At 256, where the server is not what everybody waits for: curate's rate over each peer's.
TIMES = {"openai client": 1.5, "bespoke curator": 1.8, "distilabel": 2.4}
SLOW_MOST = 2_000

Answers = tuple[float, list[str]]


def prompts(count: int) -> list[str]:
    return [f"question {n}" for n in range(count)]


def by_curate(url: str, count: int, places: int) -> Answers:
    from curate.ask import Ask
    from curate.models.model import open_model
    from curate.requests.driver import Driver, RowTask
    from curate.store.budget import Budget
    from curate.store.store import Store

    def job(text: str) -> RowTask:
        def start():
            return (yield Ask.text(text, max_tokens=32)).text

        return RowTask(start, shares=True)

    folder = Path(tempfile.mkdtemp())
    spec = {"model": "openai:m", "base_url": url, "max_concurrency": places}
    spec["price"] = {"input": 0.1, "output": 0.4}
    try:
        with Store.open(folder) as store:
            spending = Budget(store, "run", max_cost=100.0)
            with Driver(store, {"m": open_model(spec)}, spending=spending) as driver:
                driver.run([job("question warm-up")])
                jobs = [job(text) for text in prompts(count)]
                began = time.perf_counter()
                outcomes = driver.run(jobs)
                seconds = time.perf_counter() - began
    finally:
        shutil.rmtree(folder)
    return seconds, [str(outcome.value) for outcome in outcomes]


async def bounded(ask: Callable[[str], Awaitable[str]], count: int, places: int) -> Answers:
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


class Exchange(asyncio.Protocol):
    """One connection that carries one request at a time, and parses nothing but the body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    async def ask(self, text: str) -> str:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(message(text))
        data = (await self._answer).partition(b"\r\n\r\n")[2]
        return json.loads(data)["choices"][0]["message"]["content"]

    def data_received(self, data: bytes) -> None:
        self._answer.set_result(data)  # On loopback an answer this short comes in one piece.


def by_asyncio(url: str, count: int, places: int) -> Answers:
    async def run() -> Answers:
        loop, free = asyncio.get_running_loop(), list[Exchange]()

        async def ask(text: str) -> str:
            link = free.pop() if free else None
            if link is None:
                _, link = await loop.create_connection(Exchange, *address(url))
            try:
                return await link.ask(text)
            finally:
                free.append(link)

        return await bounded(ask, count, places)

    return asyncio.run(run())


def by_aiohttp(url: str, count: int, places: int) -> Answers:
    import aiohttp

    async def run() -> Answers:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask(text: str) -> str:
                async with session.post(f"{url}/chat/completions", json=body(text)) as response:
                    data = await response.json()
                    return data["choices"][0]["message"]["content"]

            return await bounded(ask, count, places)

    return asyncio.run(run())


def by_openai(url: str, count: int, places: int) -> Answers:
    import openai

    return asyncio.run(_openai(openai.AsyncOpenAI(base_url=url, api_key="none"), count, places))


def by_openai_aiohttp(url: str, count: int, places: int) -> Answers:
    import openai

    async def run() -> Answers:
        http = openai.DefaultAioHttpClient()
        client = openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http)
        return await _openai(client, count, places)

    return asyncio.run(run())


async def _openai(client: Any, count: int, places: int) -> Answers:
    async def ask(text: str) -> str:
        reply = await client.chat.completions.create(**body(text))
        return reply.choices[0].message.content

    try:
        return await bounded(ask, count, places)
    finally:
        await client.close()


def by_bespoke(url: str, count: int, places: int) -> Answers:
    """Ask through its own client for OpenAI, which its pages recommend for such servers."""
    import litellm

    # It wants a tokenizer, which it would fetch; the library below it brings the same one.
    inside = Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
    folder = tempfile.mkdtemp()
    os.environ |= {"TIKTOKEN_CACHE_DIR": str(inside), "CURATOR_CACHE_DIR": folder}
    from bespokelabs import curator

    limits = {"max_concurrent_requests": places, "max_requests_per_minute": 10**7}
    limits |= {"max_tokens_per_minute": 10**9, "base_url": url, "api_key": "none"}
    llm = curator.LLM(
        "m", backend="openai", generation_params={"max_tokens": 32}, backend_params=limits
    )
    try:
        llm(["question warm-up"])
        texts = prompts(count)
        began = time.perf_counter()
        rows = llm(texts).dataset
        seconds = time.perf_counter() - began
    finally:
        shutil.rmtree(folder)
    return seconds, [row["response"] for row in rows]


def by_distilabel(url: str, count: int, places: int) -> Answers:
    """Call its task itself, without the seconds that its pipeline takes to start."""
    from distilabel.models import OpenAILLM
    from distilabel.steps.tasks import TextGeneration

    settings = {"base_url": url, "api_key": "none", "generation_kwargs": {"max_new_tokens": 32}}
    task = TextGeneration(llm=OpenAILLM(model="m", **settings), input_batch_size=places)
    task.load()
    next(task.process([{"instruction": "question warm-up"}]))
    rows, answers = [{"instruction": text} for text in prompts(count)], []
    began = time.perf_counter()
    for start in range(0, count, places):
        answers += next(task.process(rows[start : start + places]))
    return time.perf_counter() - began, [row["generation"] for row in answers]


class Peer(NamedTuple):
    """Who asks, what is installed for it, and whether it is asked for fewer requests."""

    ask: Callable[[str, int, int], Answers]
    packages: tuple[str, ...] = ()
    slow: bool = False


OPENAI = ("openai[aiohttp]==3.52.0",)
CONTENDERS = {
    "curate": Peer(by_curate),
    "raw asyncio": Peer(by_asyncio),
    "aiohttp alone": Peer(by_aiohttp),
    "openai client": Peer(by_openai, OPENAI, slow=True),
    "openai client, aiohttp transport": Peer(by_openai_aiohttp, OPENAI),
    "bespoke curator": Peer(by_bespoke, ("bespokelabs-curator==0.1.31",), slow=True),
    "distilabel": Peer(by_distilabel, ("distilabel[openai]==1.5.3", "requests"), slow=True),
}
# Nothing is fetched or reported while it is measured.
ALONE = {
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TELEMETRY_ENABLED": "false",
    "OPENAI_API_KEY": "none",
}


def child(name: str, url: str, count: int, places: int) -> None:
    seconds, answers = CONTENDERS[name].ask(url, count, places)
    right = sum(a == f"The answer to question {n} is here." for n, a in enumerate(answers))
    print(json.dumps({"seconds": seconds, "right": right}))


def contender(name: str, url: str, count: int, places: int) -> Contender | None:
    """Return the command that asks, or `None` where a peer cannot be installed."""
    packages = CONTENDERS[name].packages
    command = [sys.executable, __file__, "--child", name, url, str(count), str(places)]
    if packages:
        folder = peers(*packages)
        if folder is None:
            return None
        env = {**ALONE, "PYTHONPATH": str(folder)}
        return Contender(name, packages[0].split("==")[1], command, env, is_peer=True)
    distribution = {"curate": "curate-align", "aiohttp alone": "aiohttp"}.get(name)
    version = importlib.metadata.version(distribution) if distribution else ""
    return Contender(name, version, command)


def compare(url: str, count: int, places: int, names: list[str], repeats: int | None) -> None:
    """Print one table, and how the goals stand."""
    counts = {name: min(count, SLOW_MOST) if CONTENDERS[name].slow else count for name in names}
    every = [contender(name, url, n, places) for name, n in counts.items()]
    chosen = [one for one in every if one is not None]
    found = side_by_side(chosen, repeats=repeats)
    ideal = places / LATENCY
    rates = {name: counts[name] / measured.seconds for name, measured in found.items()}
    lines = [
        Line(
            one.name, one.version, counts[one.name], found[one.name],
            "yes" if found[one.name].result["right"] == counts[one.name] else "NO",
            f"{rates[one.name] / ideal:.3f} of the ideal",
        )
        for one in chosen
        if one.name in found
    ]  # fmt: skip
    print_table(f"Concurrency {places} (ideal {ideal:,.0f}/s)", lines)
    bare = rate(url, count, places)
    print(f"- bare sockets: {bare:,.0f}/s, {bare / ideal:.3f} of the ideal")
    if places in SHARE:
        what = f"curate, share of the ideal rate at {places}"
        print_goal(what, rates["curate"] / ideal, least=SHARE[places])
        return
    for name in names:
        if name in TIMES:
            what, least = f"curate's rate / that of {name}", TIMES[name]
            each = {n: m.seconds / counts[n] for n, m in found.items()}
            if name in each:
                print_goal(what, each[name] / each["curate"], least=least)
            else:
                print_ratio(what, found, name, "curate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="20,000 requests at 256")
    parser.add_argument("--repeats", type=int, help="by default what the slowest allows")
    parser.add_argument("--peers", nargs="*", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--places", nargs="*", type=int, default=list(QUICK))
    parser.add_argument("--child", nargs=4)
    options = parser.parse_args()
    if options.child:
        name, url, count, places = options.child
        child(name, url, int(count), int(places))
        return
    print(machine())
    names = ["curate", *(name for name in options.peers if name != "curate")]
    with server() as url:
        print(f"\nOne request alone takes a bare socket {1000 * latency(url):.2f} ms.")
        for places in options.places:
            count = (FULL if options.full else QUICK)[places]
            compare(url, count, places, names, options.repeats)


if __name__ == "__main__":
    main()
