"""One row's refusal decides about that row; what refuses every request ends the run, soon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask
from curate.errors import PermanentFault, StoppedShort
from curate.models.model import open_model
from curate.requests.concurrency import FIRST_REFUSED, AdaptiveLimiter
from curate.requests.session import RowTask
from tests.engine.asking import driver, one
from tests.models.chaos import Answer, Received, Server, chat, refusal

SCHEMA = {"type": "object"}
# What a row may hold, and a server quote: the words by which servers say that they lack something.
WORDS = "unknown field seed: logprobs, response_format, stream and max_tokens are not supported "


def quoting(request: Received) -> Answer:
    """Refuse long prompts, quoting them, as some servers do."""
    if len(request.text) > 400:
        return refusal(400, f"the prompt is too long: {request.text}")
    return chat("fine")


def opened_model(server: Server, **options: Any) -> Any:
    model = open_model({"model": "openai:tiny", "base_url": server.url, **options})
    model.info = replace(model.info, retry_delay=0.0005)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 8, 64])
@pytest.mark.parametrize("place", [0, 1, 500])
def test_a_server_that_quotes_one_row_refuses_it_alone(
    place: int, concurrency: int, tmp_path: Path
) -> None:
    def task(number: int) -> RowTask:
        def start() -> Any:
            text = WORDS * 50 if number == place else f"Question {number}? {WORDS}"
            ask = Ask.text(text, seed=7, schema=SCHEMA, logprobs=2, max_tokens=16)
            return (yield ask).text

        return RowTask(start, salt=str(number))

    with Server(quoting) as server:
        model = opened_model(server, max_concurrency=concurrency)
        with driver(tmp_path, model) as opened:
            outcomes = opened.run([task(number) for number in range(1000)])
            sent = opened.spending.tally().sent
        assert sent == len(server.received) == opened.counts.sent <= 1001
        # Nothing was left out of the others: the server never lacked it.
        assert all("seed" in request.body for request in server.received)
    failed = [number for number, outcome in enumerate(outcomes) if outcome.error is not None]
    assert failed == [place]
    assert isinstance(outcomes[place].error, PermanentFault)


@pytest.mark.parametrize("concurrency", [1, 64])
def test_what_every_request_meets_ends_the_run(concurrency: int, tmp_path: Path) -> None:
    def too_much(request: Received) -> Answer:
        asked = 8192 + len(request.text)
        said = f"maximum context length is 4096 tokens, you requested {asked} ({len(request.text)})"
        return refusal(400, said)

    for handler, said in (
        (too_much, "maximum context length"),
        (lambda r: Answer(b"Not Found", 404, content_type="text/plain"), "check the model's name"),
    ):
        with Server(handler) as server:
            model = opened_model(server, max_concurrency=concurrency)
            with driver(tmp_path / said[:5], model) as opened:
                with pytest.raises(StoppedShort, match=rf"first 16 requests alike.*{said}"):
                    opened.run([one(f"question {n}" + "." * (n % 7)) for n in range(500)])
                assert opened.spending.tally().sent == len(server.received)
                # Those that were under way already, and no more.
                assert len(server.received) <= FIRST_REFUSED + 2 * concurrency


def test_refusals_before_the_first_answer_end_nothing(tmp_path: Path) -> None:
    """Refusals are quick and answers slow: many rows are refused before one is answered."""

    def handler(request: Received) -> Answer:
        if int(request.text.split()[1]) % 3 == 0:
            return refusal(400, "too long")
        return Answer(chat("fine").body, delay=0.1)

    with Server(handler) as server, driver(tmp_path, opened_model(server, identity="m")) as opened:
        outcomes = opened.run([one(f"question {n}") for n in range(120)])
        assert sum(outcome.error is not None for outcome in outcomes) == 40
    # The same command again asks the refused ones alone, and still ends with failed rows.
    with Server(handler) as server, driver(tmp_path, opened_model(server, identity="m")) as opened:
        outcomes = opened.run([one(f"question {n}") for n in range(120)])
        assert sum(outcome.error is not None for outcome in outcomes) == 40
        assert len(server.received) == 40


def test_only_what_was_sent_first_counts() -> None:
    limiter, fault = AdaptiveLimiter(64, "judge"), PermanentFault("refused: 12 tokens")
    times = {str(n): limiter.began(str(n)) for n in range(64)}
    for number in range(1, 64):
        assert limiter.failed(fault, times[str(number)], str(number)) is None
    other = PermanentFault("another reason")
    assert limiter.failed(other, times["0"], "0") is None


# Late ones show whether the connection that is used next has rested itself, or only another one.
@pytest.mark.slow
@pytest.mark.parametrize(("concurrency", "late"), [(1, 0.0), (1, 0.02), (8, 0.0), (64, 0.0)])
def test_an_answer_that_is_sent_twice_reaches_no_other_row(
    concurrency: int, late: float, tmp_path: Path
) -> None:
    def handler(request: Received) -> Answer:
        return replace(chat(f"re: {request.text}"), again=late)

    with Server(handler) as server:
        model = opened_model(server, max_concurrency=concurrency)
        with driver(tmp_path, model) as opened:
            outcomes = opened.run([one(f"question {n}") for n in range(500)])
    assert [outcome.value for outcome in outcomes] == [f"re: question {n}" for n in range(500)]
