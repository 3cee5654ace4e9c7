"""`curate models`: the list, and a live check of a server."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from tests.models.chaos import Answer, Received, Server, chat, refusal
from tests.models.providers.test_openai import unknown


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["models", *arguments])
    return done.exit_code, done.output


def test_the_kinds_are_listed() -> None:
    code, output = run()
    assert code == 0
    assert "openai:MODEL" in output and "scripted:FILE" in output


def test_a_check_tells_what_a_server_can() -> None:
    def handler(request: Received) -> Answer:
        if "response_format" in request.body:
            return refusal(400, "response_format is not supported")
        if "prompt" in request.body:
            return refusal(404, "no such path")
        return chat("yes", tokens=(9, 1))

    with Server(handler) as server:
        code, output = run("--check", "openai:tiny", "--base-url", server.url)
        assert len(server.received) == 5
    assert code == 0
    lines = {line.split("  ")[0].strip(): line for line in output.splitlines()}
    assert "'yes' (stop)" in lines["reply"] and "9 in, 1 out" in lines["tokens"]
    assert "not known" in lines["price"] and " ms" in lines["latency"]
    assert "no:" in lines["log-probabilities"] and "no:" in lines["JSON schema"]
    assert "no:" in lines["raw completion"] and "no:" in lines["likelihood"]
    assert "tried without a JSON schema" in lines["JSON schema"]


def test_a_check_asks_as_the_server_wants_it() -> None:
    def handler(request: Received) -> Answer:
        if "max_tokens" in request.body:
            return unknown("max_tokens")
        return chat("yes", tokens=(9, 1))

    with Server(handler) as server:
        code, output = run("--check", "openai:tiny", "--base-url", server.url)
    assert code == 0 and "'yes' (stop)" in output


@pytest.mark.parametrize("status", [429, 500])
def test_a_fault_that_passes_is_met_with_a_second_try(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.cli.commands.models.LONGEST_PAUSE", 0.0)
    answers = [refusal(status, "busy, come again")]

    with Server(lambda r: answers.pop() if answers else chat("yes", tokens=(9, 1))) as server:
        code, output = run("--check", "openai:tiny", "--base-url", server.url)
    assert code == 0 and "'yes' (stop)" in output and not answers


@pytest.mark.parametrize("status", [401, 500])
def test_a_check_of_a_server_that_refuses_fails(status: int) -> None:
    with Server(lambda r: refusal(status, "sorry")) as server:
        code, output = run("--check", "openai:tiny", "--base-url", server.url)
    assert code == 4 and "sorry" in output
