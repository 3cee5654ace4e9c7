"""Batch jobs over real HTTP: a wave is a job, and every line of it comes to exactly one end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Embed, Likelihood
from curate.engine.requests import batch, follow, submit
from curate.engine.requests.batch import Ready, cut
from curate.engine.requests.drive import Driver, Job
from curate.engine.requests.send import Flight
from curate.engine.requests.store import Store
from curate.models.model import Model, open_model
from tests.engine.asking import chain, driver, one
from tests.models.batch_server import BatchServer, Line, chat, text_of

PRICE = {"input": 100.0, "output": 200.0}
# What one answered request costs here, at half price.
BILL = (20 * 100 + 3 * 200) / 1e6 / 2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as short as possible for everything."""
    monkeypatch.setattr(batch, "GATHER_SECONDS", 0.01)
    monkeypatch.setattr(follow, "FIRST_POLL_SECONDS", 0.005)
    monkeypatch.setattr(follow, "REFUSED_SECONDS", 0.01)
    for name in ("LISTED_SECONDS", "LOOK_SECONDS", "FIRST_PAUSE_SECONDS"):
        monkeypatch.setattr(submit, name, 0.05)


def echo(body: Mapping[str, Any]) -> list[Line]:
    return [chat(f"re: {text_of(body)}")]


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer(echo) as opened:
        yield opened


def model(server: BatchServer, **options: Any) -> Model:
    spec = {"model": "openai:tiny", "base_url": server.url, "price": PRICE, "max_tokens": 16}
    return open_model({**spec, "batch": {"discount": 0.5}, **options})


def sizes(server: BatchServer) -> list[int]:
    """How many requests each job has."""
    return [job["request_counts"]["total"] for job in server.jobs.values()]


def texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


def ask(opened: Driver, asked: Sequence[str]) -> list[Any]:
    outcomes = opened.run([one(text) for text in asked])
    return [outcome.error or outcome.value for outcome in outcomes]


def open_jobs(folder: Path) -> list[tuple[Any, ...]]:
    with Store.open(folder / "store") as store:
        return store.read("SELECT name, remote FROM batch_jobs")


# -- what goes well -------------------------------------------------------------------------------


def test_a_wave_is_a_job_and_its_answers_come_in_the_order_asked(
    tmp_path: Path, server: BatchServer
) -> None:
    asked = [chain(str(n), [["a", "b"], ["c"]]) for n in range(700)]
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        outcomes = opened.run(asked)
        tally = opened.spending.tally()
    assert [o.error for o in outcomes] == [None] * 700
    assert outcomes[7].value == " b after []]"
    assert sizes(server) == [1400, 700]
    assert set(server.asked.values()) == {1}
    assert server.requests["POST /files"] == server.requests["POST /batches"] == 2
    assert (tally.sent, tally.retried, tally.failed) == (2100, 0, 0)
    assert tally.cost_usd == pytest.approx(2100 * BILL)
    assert tally.reserved_usd == 0
    assert open_jobs(tmp_path) == []
    assert list((tmp_path / "store" / "batches").iterdir()) == []


def test_a_second_run_sends_nothing(tmp_path: Path, server: BatchServer) -> None:
    for _ in range(2):
        with driver(tmp_path, model(server)) as opened:
            assert ask(opened, texts(5)) == [f"re: {text}" for text in texts(5)]
    assert sizes(server) == [5]


def test_other_forms_travel_in_jobs_of_their_own(tmp_path: Path, server: BatchServer) -> None:
    def reply(body: Mapping[str, Any]) -> list[Line]:
        if "input" in body:
            data = [
                {"index": n, "embedding": [float(len(text)), 1.0]}
                for n, text in enumerate(body["input"])
            ]
            found: Any = {"data": data, "usage": {"prompt_tokens": 4}}
        else:
            log = {"tokens": ["ab", "cd"], "token_logprobs": [None, -0.5], "text_offset": [0, 2]}
            found = {"choices": [{"text": "abcd", "finish_reason": "length", "logprobs": log}]}
        return [{"response": {"status_code": 200, "body": found}, "error": None}]

    server.reply = reply

    def start() -> Any:
        return (yield [Embed(texts=("x", "yyy")), Likelihood(prompt="ab", answer="cd")])

    with driver(tmp_path, model(server)) as opened:
        [outcome] = opened.run([Job(start)])
    assert [reply.values for reply in outcome.value] == [([1.0, 1.0], [3.0, 1.0]), (-0.5,)]
    endpoints = {job["endpoint"] for job in server.jobs.values()}
    assert endpoints == {"/v1/embeddings", "/v1/completions"}


def test_a_job_holds_no_more_than_the_api_takes(tmp_path: Path, server: BatchServer) -> None:
    with driver(tmp_path, model(server, max_concurrency=7)) as opened:
        assert ask(opened, texts(24)) == [f"re: {text}" for text in texts(24)]
    assert sorted(sizes(server)) == [3, 7, 7, 7]


def test_a_job_is_cut_by_bytes_and_by_texts(server: BatchServer) -> None:
    def ready(path: str, count: int, size: int) -> Ready:
        flight = Flight("0" * 32, 0, Ask.text("x"), model(server), 0)
        return Ready(flight, path, count, size, b"")

    lines = [ready("a", 1, 60), ready("b", 1, 10), ready("a", 1, 40), ready("a", 1, 1)]
    found = [[(one.path, one.size) for one in part] for part in cut(lines, 5, 100)]
    assert found == [[("a", 60), ("a", 40)], [("a", 1)], [("b", 10)]]
    vectors = [ready("v", 3, 1), ready("v", 2, 1), ready("v", 9, 1), ready("v", 1, 1)]
    assert [len(part) for part in cut(vectors, 5, 100)] == [2, 1, 1]
