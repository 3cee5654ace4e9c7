"""Batch jobs over real HTTP: a wave is a job, and every line of it comes to exactly one end."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from curate import Pipeline
from curate.ask import Ask, Embed, Likelihood
from curate.cli.main import app
from curate.cli.running import plan
from curate.errors import (
    CeilingReached,
    PermanentFault,
    RecipeError,
    StoppedShort,
    TemporaryFault,
)
from curate.models.model import Model, info_of, open_model
from curate.requests import driver as drive
from curate.requests.batch import collect, jobs, submit
from curate.requests.batch import poll as follow
from curate.requests.batch import queue as batch
from curate.requests.batch.queue import Ready, cut
from curate.requests.driver import Driver, RowTask
from curate.requests.session import InFlight
from curate.row import Message
from curate.store.store import Store
from tests.engine.asking import chain, driver, one
from tests.engine.contract_steps import Judge, numbered
from tests.models.batch_server import BatchServer, Line, chat, not_reached, refusal, text_of

PRICE = {"input": 100.0, "output": 200.0}
# What one answered request costs here, at half price.
BILL = (20 * 100 + 3 * 200) / 1e6 / 2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as short as possible for everything."""
    monkeypatch.setattr(batch, "GATHER_SECONDS", 0.01)
    # A slow machine may take its time to say where a job was left.
    monkeypatch.setattr(drive, "INTERRUPT_SECONDS", 30.0)
    monkeypatch.setattr(follow, "FIRST_POLL_SECONDS", 0.005)
    monkeypatch.setattr(follow, "REFUSED_SECONDS", 0.01)
    monkeypatch.setattr(follow, "LONGEST_POLL_SECONDS", 0.02)
    for name in ("LISTED_SECONDS", "LOOK_SECONDS", "FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(submit, name, 0.02)


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
    asked = [chain(str(n), [["a", "b"], ["c"]]) for n in range(300)]
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        outcomes = opened.run(asked)
        tally = opened.spending.tally()
    assert [o.error for o in outcomes] == [None] * 300
    assert outcomes[7].value == " b after []]"
    assert sizes(server) == [600, 300]
    assert set(server.asked.values()) == {1}
    assert server.requests["POST /files"] == server.requests["POST /batches"] == 2
    assert (tally.sent, tally.retried, tally.failed) == (900, 0, 0)
    assert tally.cost_usd == pytest.approx(900 * BILL)
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
        [outcome] = opened.run([RowTask(start)])
    assert [reply.values for reply in outcome.value] == [([1.0, 1.0], [3.0, 1.0]), (-0.5,)]
    endpoints = {job["endpoint"] for job in server.jobs.values()}
    assert endpoints == {"/v1/embeddings", "/v1/completions"}


def test_a_job_holds_no_more_than_the_api_takes(tmp_path: Path, server: BatchServer) -> None:
    with driver(tmp_path, model(server, max_concurrency=7)) as opened:
        assert ask(opened, texts(24)) == [f"re: {text}" for text in texts(24)]
    assert sorted(sizes(server)) == [3, 7, 7, 7]


def test_a_job_is_cut_by_bytes_and_by_texts(server: BatchServer) -> None:
    def ready(path: str, count: int, size: int) -> Ready:
        inflight = InFlight("0" * 32, 0, Ask.text("x"), model(server), 0)
        return Ready(inflight, path, count, size, b"")

    lines = [ready("a", 1, 60), ready("b", 1, 10), ready("a", 1, 40), ready("a", 1, 1)]
    found = [[(one.path, one.size) for one in part] for part in cut(lines, 5, 100)]
    assert found == [[("a", 60), ("a", 40)], [("a", 1)], [("b", 10)]]
    vectors = [ready("v", 3, 1), ready("v", 2, 1), ready("v", 9, 1), ready("v", 1, 1)]
    assert [len(part) for part in cut(vectors, 5, 100)] == [2, 1, 1]


# -- what goes wrong with a line ------------------------------------------------------------------


def failing(server: BatchServer, bad: Mapping[str, Sequence[Sequence[Line]]]) -> None:
    """Answer some texts with these lines, one set for each time they are asked; then well."""
    times: Counter[str] = Counter()

    def reply(body: Mapping[str, Any]) -> Sequence[Line]:
        text = text_of(body)
        times[text] += 1
        planned = bad.get(text, ())
        return planned[times[text] - 1] if times[text] <= len(planned) else echo(body)

    server.reply = reply


def test_single_failures_are_asked_again_in_another_job(
    tmp_path: Path, server: BatchServer
) -> None:
    failing(
        server,
        {
            "text 0": [[refusal(500, "oops")], [refusal(429, "slow")]],
            "text 1": [[not_reached()]],
            "text 2": [[]],  # left out
            "text 3": [[chat("re: text 3"), chat("re: text 3")]],  # twice
            "text 4": [[chat("re: text 4"), refusal(500, "and failed, too")]],
            "text 5": [[{"response": {"status_code": 200, "body": {"choices": []}}}]],
        },
    )
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        assert ask(opened, texts(9)) == [f"re: {text}" for text in texts(9)]
        tally, counts = opened.spending.tally(), opened.counts
    assert sizes(server) == [9, 4, 1]
    assert counts.causes == {
        "server": 1,
        "rate_limit": 1,
        "expired": 1,
        "missing": 1,
        "malformed": 1,
    }
    assert (tally.sent, tally.retried, tally.failed) == (14, 5, 0)
    # What was left out or unreadable may have been billed: its reservation counts.
    assert tally.cost_usd > 9 * BILL
    assert tally.reserved_usd == 0


def test_a_line_that_never_succeeds_fails_with_its_cause(
    tmp_path: Path, server: BatchServer
) -> None:
    always = {"text 0": [[refusal(500, "broken")]] * 9, "text 1": [[refusal(400, "bad prompt")]]}
    failing(server, always)
    with driver(tmp_path, model(server)) as opened:
        first, second, third = ask(opened, texts(3))
        tally = opened.spending.tally()
    assert isinstance(first, TemporaryFault) and "no reply after 5 attempts" in str(first)
    assert "broken" in str(first)
    assert isinstance(second, PermanentFault) and "bad prompt" in str(second)
    assert third == "re: text 2"
    assert sizes(server) == [3, 1, 1, 1, 1]
    assert (tally.failed, tally.sent) == (2, 7)
    assert open_jobs(tmp_path) == []


def test_lines_of_a_job_are_spending_of_the_steps_that_ask(
    tmp_path: Path, server: BatchServer
) -> None:
    failing(server, {"text 0": [[]], "text 1": [[refusal(400, "bad prompt")]]})
    tasks = [replace(one(f"text {n}"), step="judge" if n < 2 else "write") for n in range(5)]
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        opened.run(tasks)
        tally = opened.spending.tally()
    assert sizes(server) == [5, 1]
    judge, write = tally.steps["judge"], tally.steps["write"]
    assert set(tally.steps) == {"judge", "write"}
    assert (judge.sent, judge.retried, judge.failed) == (3, 1, 1)
    assert (write.sent, write.retried, write.failed) == (3, 0, 0)
    # What was left out may have been billed: its reservation counts, and is that step's.
    assert write.cost_usd == pytest.approx(3 * BILL) and judge.cost_usd > BILL
    assert judge.cost_usd + write.cost_usd == pytest.approx(tally.cost_usd)
    assert judge.reserved_usd == write.reserved_usd == 0


# -- what goes wrong with a job -------------------------------------------------------------------


def test_a_job_that_expires_leaves_its_rest_to_another(tmp_path: Path, server: BatchServer) -> None:
    server.states = ("in_progress", "expired")
    failing(server, {"text 1": [[not_reached()]], "text 2": [[]]})
    with driver(tmp_path, model(server)) as opened:
        assert ask(opened, texts(4)) == [f"re: {text}" for text in texts(4)]
        assert opened.counts.causes == {"expired": 2}
    assert sizes(server) == [4, 2]


def test_lines_that_fail_a_job_fail_and_the_others_go_on(
    tmp_path: Path, server: BatchServer
) -> None:
    def refuse(lines: list[Line]) -> list[dict[str, Any]]:
        bad = [n for n, line in enumerate(lines, 1) if "1" in text_of(line["body"])]
        return [{"code": "invalid", "message": "too long", "line": n, "param": None} for n in bad]

    server.refuse = refuse
    with driver(tmp_path, model(server)) as opened:
        found = ask(opened, texts(4))
    assert isinstance(found[1], PermanentFault) and "too long" in str(found[1])
    assert [found[0], *found[2:]] == ["re: text 0", "re: text 2", "re: text 3"]
    assert sizes(server) == [4, 3]


def test_a_job_that_is_refused_as_a_whole_fails_its_rows(
    tmp_path: Path, server: BatchServer
) -> None:
    server.refuse = lambda lines: [{"code": "model_not_found", "message": "no tiny", "line": None}]
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        found = ask(opened, texts(3))
        tally = opened.spending.tally()
    assert all(isinstance(one, PermanentFault) and "no tiny" in str(one) for one in found)
    assert (tally.failed, tally.cost_usd, tally.reserved_usd) == (3, 0.0, 0.0)


def test_jobs_beyond_the_accounts_allowance_become_smaller(
    tmp_path: Path, server: BatchServer
) -> None:
    code = "token_limit_exceeded"
    server.refuse = lambda lines: [{"code": code, "message": "queue"}] if len(lines) > 3 else []
    with driver(tmp_path, model(server)) as opened:
        assert ask(opened, texts(16)) == [f"re: {text}" for text in texts(16)]
    assert sizes(server)[:2] == [16, 8] and max(sizes(server)[3:]) <= 4
    assert set(server.asked.values()) == {1}


def test_a_cancelled_job_stops_the_run_and_the_next_one_sends_the_rest(
    tmp_path: Path, server: BatchServer
) -> None:
    server.states = ("in_progress", "cancelled")
    failing(server, {"text 1": [[]]})
    with driver(tmp_path, model(server)) as opened, pytest.raises(StoppedShort, match="cancelled"):
        ask(opened, texts(3))
    server.states = ("completed",)
    with driver(tmp_path, model(server)) as opened:
        assert ask(opened, texts(3)) == [f"re: {text}" for text in texts(3)]
    assert sizes(server) == [3, 1]


def test_a_server_that_answers_badly_gets_every_job_once(
    tmp_path: Path, server: BatchServer
) -> None:
    # A status of 0 hangs up; with "done", after what was asked for has been done.
    server.faults = {
        "POST /files": [500],
        "done POST /files": [0],
        "POST /batches": [429, 503],
        "done POST /batches": [0],
        "GET /batches": [500],
        "GET /batches/one": [0, 500, 429],
        "GET /files/content": [500, 0],
    }
    with driver(tmp_path, model(server)) as opened:
        assert ask(opened, texts(6)) == [f"re: {text}" for text in texts(6)]
    assert sizes(server) == [6]
    assert not any(server.faults.values())


def test_a_refused_key_ends_the_run_and_the_right_one_goes_on_with_its_job(
    tmp_path: Path, server: BatchServer
) -> None:
    server.faults = {"POST /files": [401]}
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        with pytest.raises(StoppedShort, match=r"\(401\).*api_key_env.*run the same command"):
            ask(opened, texts(2))
        assert opened.spending.tally().cost_usd == 0
    assert len(open_jobs(tmp_path)) == 1
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        assert all(isinstance(one, str) for one in ask(opened, texts(2)))
        assert opened.spending.tally().sent == 2
    assert open_jobs(tmp_path) == []
    assert set(server.asked.values()) == {1}


def test_jobs_are_told_with_their_way_back_and_none_is_swept_away(
    tmp_path: Path, server: BatchServer
) -> None:
    def stats(*words: str) -> str:
        done = CliRunner().invoke(
            app, ["store", "stats", "--store", str(tmp_path / "store"), *words]
        )
        assert done.exit_code == 0, done.output
        return done.output

    with driver(tmp_path, model(server)) as opened:
        assert "batch job" not in stats()
        server.faults = {"POST /files": [401]}
        with pytest.raises(StoppedShort):
            ask(opened, texts(3))
    assert re.search(r"written down +0:0\d +0 of 3 +- +openai:tiny at http", stats())
    server.on = lambda name: opened.interrupt() if name == "GET /batches/one" else None
    with driver(tmp_path, model(server)) as opened, pytest.raises(InterruptedError):
        ask(opened, texts(3))
    name = next(iter(server.jobs))
    assert re.search(rf"at the provider +0:0\d +0 of 3 +{name} +openai:tiny at http", stats())
    assert "command that sent an open job collects it" in stats()

    swept = CliRunner().invoke(app, ["store", "gc", "--store", str(tmp_path / "store")])
    assert swept.exit_code == 0, swept.output
    assert [(name,)] == [one[1:] for one in open_jobs(tmp_path)]

    server.on = lambda name: None
    with driver(tmp_path, model(server)) as opened:
        assert ask(opened, texts(3)) == [f"re: {text}" for text in texts(3)]
    told = json.loads(stats("--json"))["batches"]
    assert [(job["state"], job["remote"], job["requests"], job["left"]) for job in told] == [
        ("settled", name, 3, 0)
    ]
    assert told[0]["ended_at"] >= told[0]["made_at"]
    assert "collects it" not in stats()
    assert set(server.asked.values()) == {1}


def test_a_server_without_batches_ends_the_run_and_reserves_nothing(
    tmp_path: Path, server: BatchServer
) -> None:
    server.faults = {"POST /files": [404]}
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        with pytest.raises(RecipeError, match=r"no Batch API \(404\); leave 'batch' out"):
            ask(opened, texts(2))
        tally = opened.spending.tally()
    assert (tally.cost_usd, tally.reserved_usd, open_jobs(tmp_path)) == (0, 0, [])


def test_a_job_that_the_server_lost_stops_the_run(tmp_path: Path, server: BatchServer) -> None:
    server.on = lambda name: server.jobs.clear() if name == "GET /batches/one" else None
    with driver(tmp_path, model(server)) as opened, pytest.raises(StoppedShort, match="same key"):
        ask(opened, texts(2))
    assert len(open_jobs(tmp_path)) == 1
    server.on = lambda name: None
    # A wrong key is not a proof.
    server.faults = {"GET /batches/one": [401]}
    with (
        driver(tmp_path, model(server), retry_failed=True) as opened,
        pytest.raises(StoppedShort, match="401"),
    ):
        ask(opened, texts(2))
    # Only the user can say that it is gone for good; what it may have cost stays counted.
    with driver(tmp_path, model(server), retry_failed=True, max_cost=1000) as opened:
        assert ask(opened, texts(2)) == ["re: text 0", "re: text 1"]
        assert opened.counts.causes == {"lost": 2}
        assert opened.spending.tally().cost_usd > 2 * BILL
    assert sizes(server) == [2]


# -- ceilings, interrupts, other processes --------------------------------------------------------


def test_requests_have_a_ceiling(tmp_path: Path, server: BatchServer) -> None:
    with (
        driver(tmp_path, model(server), max_requests=5) as opened,
        pytest.raises(CeilingReached, match="5 requests"),
    ):
        ask(opened, texts(8))
    assert sizes(server) == [5]
    with driver(tmp_path, model(server), max_requests=8) as opened:
        assert ask(opened, texts(8)) == [f"re: {text}" for text in texts(8)]
    assert sizes(server) == [5, 3]


def test_a_job_is_reserved_whole_and_the_rest_waits_for_its_bill(
    tmp_path: Path, server: BatchServer
) -> None:
    # Half price: (about 87 bytes x 100 + 16 tokens x 200) / 2 a request, of a ceiling for three.
    seen: list[float] = []
    with driver(tmp_path, model(server), max_cost=0.02) as opened:

        def watch(name: str) -> None:
            tally = opened.spending.tally()
            seen.append(tally.cost_usd + tally.reserved_usd)

        server.on = watch
        with pytest.raises(CeilingReached, match="--max-cost"):
            ask(opened, texts(30))
        tally = opened.spending.tally()
    assert max(seen) <= 0.02 and tally.cost_usd <= 0.02
    # Each job settled for a fifth of what it had reserved, and made room for another.
    assert len(sizes(server)) > 3 and sum(sizes(server)) == tally.sent
    with driver(tmp_path, model(server), max_cost=1) as opened:
        assert ask(opened, texts(30)) == [f"re: {text}" for text in texts(30)]
    assert set(server.asked.values()) == {1}


def test_a_server_that_bills_too_much_stops_the_run(tmp_path: Path, server: BatchServer) -> None:
    server.reply = lambda body: [chat("x", tokens=(20_000, 3))]
    with (
        driver(tmp_path, model(server), max_cost=1000) as opened,
        pytest.raises(CeilingReached, match="billed"),
    ):
        opened.run([chain(str(n), [["a"], ["b"]]) for n in range(3)])
    assert sizes(server) == [3]
    # It has billed 3 dollars, and may bill another one for the next request.
    with (
        driver(tmp_path, model(server), max_cost=3.5) as opened,
        pytest.raises(CeilingReached, match="the next request may cost up to"),
    ):
        opened.run([chain(str(n), [["a"], ["b"]]) for n in range(3)])
    assert sizes(server) == [3]


def interrupted(opened: Driver, server: BatchServer, asked: Sequence[str], at: str) -> None:
    """Ask, and interrupt when the server has seen `at`."""
    seen = threading.Event()
    server.on = lambda name: seen.set() if name == at else None
    thread = threading.Thread(target=lambda: (seen.wait(30), opened.interrupt()))
    thread.start()
    with pytest.raises(InterruptedError):
        ask(opened, asked)
    thread.join()
    server.on = lambda name: None


def test_an_interrupt_leaves_the_job_and_the_next_run_collects_it(
    tmp_path: Path, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.states = ("in_progress",)
    caplog.set_level(logging.WARNING)
    with driver(tmp_path, model(server)) as opened:
        interrupted(opened, server, texts(3), "GET /batches/one")
    [number] = server.jobs
    assert f"batch job {number} (3 requests) goes on at {server.url}" in caplog.text
    server.states = ("completed",)
    with driver(tmp_path, model(server)) as opened:
        assert ask(opened, texts(3)) == [f"re: {text}" for text in texts(3)]
        assert opened.counts.sent == 0
        assert opened.spending.tally().reserved_usd == 0
    assert sizes(server) == [3]


def test_replies_that_nobody_asks_for_any_more_are_kept(
    tmp_path: Path, server: BatchServer
) -> None:
    server.states = ("in_progress",)
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        interrupted(opened, server, texts(4), "GET /batches/one")
    server.states = ("completed",)
    # Another run of the same store: what the first one reserved is settled on its account.
    with driver(tmp_path, model(server), run_id="other", max_cost=1000) as opened:
        assert ask(opened, texts(5)[3:]) == ["re: text 3", "re: text 4"]
        assert opened.spending.tally().cost_usd == pytest.approx(BILL)
    with driver(tmp_path, model(server), max_cost=1000) as opened:
        tally = opened.spending.tally()
        assert tally.cost_usd == pytest.approx(4 * BILL) and tally.reserved_usd == 0
        assert ask(opened, texts(5)) == [f"re: {text}" for text in texts(5)]
    assert sorted(sizes(server)) == [1, 4]


def test_two_drivers_on_one_store_ask_everything_once(tmp_path: Path, server: BatchServer) -> None:
    found: dict[str, list[Any]] = {}

    def work(name: str) -> None:
        with driver(tmp_path, model(server), run_id=name) as opened:
            found[name] = ask(opened, texts(50))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["one"] == found["two"] == [f"re: {text}" for text in texts(50)]
    assert set(server.asked.values()) == {1} and len(server.asked) == 50
    assert open_jobs(tmp_path) == []


def test_a_key_reaches_the_server_and_nothing_else(
    tmp_path: Path,
    server: BatchServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "sk-planted-0123456789abcdef"
    monkeypatch.setenv("TINY_KEY", key)
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "sk-not-for-you")
    server.reply = lambda body: [chat(key) if "0" in text_of(body) else refusal(400, key)]
    server.faults = {"POST /files": [500], "GET /batches/one": [500]}
    with driver(tmp_path, model(server, api_key_env="TINY_KEY")) as opened:
        found = ask(opened, texts(2))
    assert server.keys == {f"Bearer {key}"}
    assert found[0] == "***" and "***" in str(found[1])
    assert key not in caplog.text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if key.encode() in path.read_bytes()]


def test_a_server_without_a_key_is_sent_none_of_openais(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-you")
    with driver(tmp_path, model(server)) as opened:
        assert ask(opened, ["x"]) == ["re: x"]
    assert server.keys == {"Bearer none"}


# -- what is written down -------------------------------------------------------------------------

WORDS = st.text(max_size=8)
TURNS = st.lists(st.builds(Message, WORDS, WORDS, st.none() | WORDS), max_size=3).map(tuple)
ASKS = st.builds(
    Ask,
    messages=TURNS,
    prompt=st.none() | WORDS,
    system=st.none() | WORDS,
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.none() | st.integers(1, 99),
    stop=st.lists(WORDS, max_size=2).map(tuple),
    schema=st.none() | st.just({"type": "object", "required": ["a"]}),
    sample=st.integers(0, 3),
)
EMBEDS = st.builds(Embed, texts=st.lists(WORDS, min_size=1, max_size=3).map(tuple))
LIKELIHOODS = st.builds(Likelihood, prompt=WORDS, answer=WORDS)


@given(st.one_of(ASKS, EMBEDS, LIKELIHOODS))
def test_a_request_is_read_back_as_it_was(request: Any) -> None:
    line = jobs.BatchLine(1, "0" * 32, 2, 0, jobs.packed(request))
    assert line.request == request
    assert collect.key_in(line.name) == "0" * 32


def test_names_of_others_are_none_of_ours() -> None:
    assert [collect.key_in(name) for name in ("", "x-1", "0" * 32, "0" * 32 + "-x")] == [""] * 4


# -- prices, and what a recipe may say ------------------------------------------------------------


def test_a_job_pays_half_where_somebody_says_so(server: BatchServer) -> None:
    def price(**options: Any) -> Any:
        spec = {"model": "openai:gpt-4o-mini", "batch": True, **options}
        return info_of(spec).price, info_of(spec).discount

    found, discount = price()
    assert found == (0.075, 0.3) and discount.share == 0.5 and "platform.openai" in discount.source
    assert price(batch=False) == ((0.15, 0.6), None)
    assert price(price={"input": 1, "output": 2})[0] == (0.5, 1.0)
    # Another server may not do so, and a price that is too low would break a ceiling.
    elsewhere = {"base_url": server.url, "price": {"input": 1, "output": 2}}
    found, discount = price(**elsewhere)
    assert found == (1.0, 2.0) and discount.share == 0 and "discount: 0.5" in discount.source
    assert price(**elsewhere, batch={"discount": 0.25})[0] == (0.75, 1.5)


@pytest.mark.parametrize("batch", ["yes", 1, {"discount": 1}, {"discount": True}, {"share": 0.5}])
def test_other_values_of_batch_are_refused(batch: Any, server: BatchServer) -> None:
    with pytest.raises(RecipeError, match=r"discount: SHARE.*0\.5 for half"):
        model(server, batch=batch)


def test_batch_jobs_are_not_recorded(tmp_path: Path, server: BatchServer) -> None:
    inner = {"model": "openai:tiny", "base_url": server.url, "batch": True}
    with pytest.raises(RecipeError, match="cannot watch batch jobs"):
        open_model({"model": f"record:{tmp_path}/replies.jsonl", "of": inner})


def test_a_recipe_that_stops_saying_batch_is_told_of_what_it_leaves(
    tmp_path: Path, server: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.states = ("in_progress",)
    with driver(tmp_path, model(server)) as opened:
        interrupted(opened, server, texts(3), "GET /batches/one")
    caplog.clear()
    with driver(tmp_path, {"judge": model(server)}):
        assert "batch" not in caplog.text
    with driver(tmp_path, {"judge": model(server, batch=False)}):
        assert "3 requests to model 'judge' are in batch jobs" in caplog.text


def test_the_estimate_halves_the_price_and_names_its_source(
    tmp_path: Path, server: BatchServer
) -> None:
    spec = {"model": "openai:tiny", "base_url": server.url, "price": PRICE}
    found = []
    for said in (False, {"discount": 0.5}):
        pipeline = Pipeline([Judge()], models={"judge": {**spec, "batch": said}})
        found.append(pipeline.run(numbered(20), run=tmp_path / "run", dry_run=True).summary)
    [full, half] = [one["estimate"] for one in found]
    assert half["cost_usd"] == pytest.approx(full["cost_usd"] / 2) and half["cost_usd"] > 0
    assert half["batch"] == {"judge": {"discount": 0.5, "source": "the recipe"}}
    assert "batch" not in full
    assert "50% off in batch jobs of 'judge' (the recipe)" in plan(found[1])
