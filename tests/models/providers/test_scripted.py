"""Scripted replies: which line answers, when a fault clears, and what a wrong line is told."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Embed, Likelihood, Reply, Request, Reward, TurnLikelihood
from curate.errors import PermanentFault, RecipeError, TemporaryFault
from curate.models.model import open_model
from curate.models.providers.scripted import FAULTS
from curate.row import Message

KEY = "0" * 32


def model(folder: Path, *lines: dict[str, Any], **options: Any) -> Any:
    (folder / "r.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return open_model({"model": "scripted:r.jsonl", **options}, folder=folder)


def reply(model: Any, request: Request, key: str = KEY, attempt: int = 0) -> Reply:
    return asyncio.run(model.answer(request, key=key, attempt=attempt))


def test_the_first_line_that_matches_wins(tmp_path: Path) -> None:
    scripted = model(
        tmp_path,
        {"when": {"contains": ["red", "blue"]}, "reply": "both"},
        {"when": {"messages": [{"role": "user", "content": "red"}]}, "reply": "exact"},
        {"when": {"contains": "red"}, "reply": "red"},
        {"when": {"messages": [{"role": "user", "content": "red"}]}, "reply": "never reached"},
        {"when": {"prompt": "raw"}, "reply": "raw"},
        {"when": {"key": "f" * 32}, "reply": "by key"},
        {"when": {}, "reply": "else"},
    )
    assert reply(scripted, Ask.text("blue and red")).text == "both"
    assert reply(scripted, Ask.text("red")).text == "exact"
    assert reply(scripted, Ask.text("red", system="blue")).text == "both"
    assert reply(scripted, Ask.text("a red one")).text == "red"
    assert reply(scripted, Ask(prompt="raw")).text == "raw"
    assert reply(scripted, Ask.text("x"), key="f" * 32).text == "by key"
    assert reply(scripted, Ask.text("x")).text == "else"


def test_an_earlier_loose_line_goes_before_an_exact_one(tmp_path: Path) -> None:
    exact = {"when": {"messages": [{"role": "user", "content": "red"}]}, "reply": "exact"}
    scripted = model(tmp_path, {"when": {"contains": "re"}, "reply": "loose"}, exact)
    assert reply(scripted, Ask.text("red")).text == "loose"


def test_replies_are_numbered_by_sample_and_attempt(tmp_path: Path) -> None:
    scripted = model(
        tmp_path,
        {"when": {}, "attempt": 1, "reply": "second attempt"},
        {"when": {}, "sample": 5, "reply": "sixth"},
        {"when": {}, "reply": ["first", "second"]},
        {"when": {}, "reply": "any other"},
    )
    texts = [reply(scripted, Ask.text("x", sample=n)).text for n in (0, 1, 2, 5)]
    assert texts == ["first", "second", "any other", "sixth"]
    assert reply(scripted, Ask.text("x"), attempt=1).text == "second attempt"


def test_a_line_holds_all_of_a_reply(tmp_path: Path) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4}
    line = {"reply": "t", "values": [[0.5, 1]], "logprobs": [-1.0], "finish_reason": "length"}
    scripted = model(tmp_path, {"when": {}, "usage": usage, **line})
    assert reply(scripted, Ask.text("x")) == Reply("t", "length", ([0.5, 1],), (-1.0,), 3, 4)


def test_all_forms_of_request_are_matched_by_their_text(tmp_path: Path) -> None:
    lines = [{"when": {"contains": text}, "values": [text]} for text in ("vec", "answer", "praise")]
    scripted = model(tmp_path, *lines, {"when": {"prompt": "the prompt"}, "values": ["exact"]})
    for request, value in (
        (Embed(texts=("a", "vec")), "vec"),
        (Likelihood(prompt="p", answer="answer"), "answer"),
        (Likelihood(prompt="the prompt", answer="x"), "exact"),
        (Reward(messages=(Message("assistant", "praise"),)), "praise"),
        (TurnLikelihood(messages=(Message("user", "an answer"),)), "answer"),
    ):
        assert reply(scripted, request).values == (value,)


def test_nothing_that_matches_names_prompt_and_file(tmp_path: Path) -> None:
    scripted = model(tmp_path, {"when": {"contains": "red"}, "reply": "red"})
    with pytest.raises(PermanentFault, match=r"no line of r\.jsonl matches the prompt 'blue sky"):
        reply(scripted, Ask.text("blue\nsky " + "x" * 500))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_clears_after_its_times_for_each_request(fault: str, tmp_path: Path) -> None:
    scripted = model(tmp_path, {"when": {}, "fault": fault, "times": 2, "reply": "clear"})
    for key in (KEY, "1" * 32):
        for _ in range(2):
            with pytest.raises((TemporaryFault, PermanentFault), match=fault) as error:
                reply(scripted, Ask.text("x"), key=key)
            assert getattr(error.value, "cause", "permanent") == fault
        assert reply(scripted, Ask.text("x"), key=key).text == "clear"


def test_a_cleared_fault_without_a_reply_gives_way_to_the_next_line(tmp_path: Path) -> None:
    scripted = model(
        tmp_path,
        {"when": {"contains": "x"}, "fault": "server", "times": 1, "retry_after": 2},
        {"when": {}, "reply": "next"},
    )
    with pytest.raises(TemporaryFault) as error:
        reply(scripted, Ask.text("x"))
    assert error.value.retry_after == 2
    assert reply(scripted, Ask.text("x")).text == "next"


def test_a_fault_without_times_never_clears(tmp_path: Path) -> None:
    scripted = model(tmp_path, {"when": {}, "fault": "timeout", "times": None, "reply": "never"})
    for _ in range(20):
        with pytest.raises(TemporaryFault):
            reply(scripted, Ask.text("x"))


def test_every_send_is_logged_before_its_reply(tmp_path: Path) -> None:
    line = {"when": {"contains": "x"}, "fault": "server", "times": 1, "reply": "fine"}
    scripted = model(tmp_path, line, {"when": {}, "reply": "fine"}, log="sent.log")
    with pytest.raises(TemporaryFault):
        reply(scripted, Ask.text("x"), key="a" * 32)
    reply(scripted, Ask.text("x"), key="a" * 32)
    reply(scripted, Ask.text("y"), key="b" * 32)
    asyncio.run(scripted.close())
    assert (tmp_path / "sent.log").read_text().split() == ["a" * 32, "a" * 32, "b" * 32]


def test_shuffle_changes_the_order_of_arrival_by_its_seed(tmp_path: Path) -> None:
    async def arrivals(seed: int) -> list[int]:
        scripted, order = model(tmp_path, {"when": {}, "reply": "x"}, shuffle=seed), []

        async def ask(number: int) -> None:
            await scripted.answer(Ask.text("x"), key=f"{number:032x}", attempt=0)
            order.append(number)

        await asyncio.gather(*(ask(n) for n in range(40)))
        return order

    one, other = asyncio.run(arrivals(1)), asyncio.run(arrivals(2))
    assert sorted(one) == sorted(other) == list(range(40))
    assert one != list(range(40))
    assert one != other


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"when": {}, "reply": "x"', "not JSON"),
        ("[1]", "a line is list; it must be a mapping"),
        ('{"reply": "x"}', "'when' is NoneType; it must be a mapping"),
        ('{"when": {}, "repyl": "x"}', "unknown 'repyl' in a line; allowed: when, sample"),
        ('{"when": {"contain": "x"}, "reply": "x"}', "unknown 'contain' in 'when'; allowed"),
        ('{"when": {"contains": 3}, "reply": "x"}', "'contains' must be a string or a list"),
        ('{"when": {"messages": "hi"}, "reply": "x"}', "'messages' must be a list of mappings"),
        ('{"when": {}}', "the line answers nothing"),
        ('{"when": {}, "reply": 4}', "'reply' is '4'; it must be a string"),
        ('{"when": {}, "values": [-0.1, null]}', "'values' must hold numbers"),
        ('{"when": {}, "fault": "fire"}', "unknown fault 'fire'; allowed: rate_limit, server"),
        ('{"when": {}, "fault": "server", "times": "2"}', "'times' is '2'; it must be a whole"),
        ('{"when": {}, "reply": "x", "delay": "1"}', "'delay' is '1'; it must be a number"),
        ('{"when": {}, "reply": "x", "usage": {"tokens": 1}}', "unknown 'tokens' in 'usage'"),
        ('{"when": {}, "reply": "x", "usage": {"input_tokens": "9"}}', "'input_tokens' is '9'"),
        ('{"when": {}, "reply": "x", "sample": true}', "'sample' is True"),
        ('{"when": {}, "values": 3}', "'values' is 3; it must be a list"),
    ],
)
def test_a_wrong_line_is_named_with_file_and_number(
    line: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "r.jsonl").write_text('{"when": {}, "reply": "x"}\n\n' + line + "\n")
    with pytest.raises(RecipeError) as error:
        open_model("scripted:r.jsonl", folder=tmp_path)
    assert str(error.value).startswith("r.jsonl:3: ")
    assert message in str(error.value)


def test_a_seed_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'shuffle' is 'yes'"):
        model(tmp_path, {"when": {}, "reply": "x"}, shuffle="yes")


def test_fifty_thousand_exact_lines_load_and_answer_fast(tmp_path: Path) -> None:
    lines = [
        {"when": {"messages": [{"role": "user", "content": f"q{n}"}]}, "reply": f"a{n}"}
        for n in range(50_000)
    ]
    scripted = model(tmp_path, *lines, {"when": {}, "reply": "else"})

    async def ask_all() -> list[str]:
        asks = (Ask.text(f"q{n}") for n in range(0, 50_000, 5))
        return [(await scripted.answer(ask, key=KEY, attempt=0)).text for ask in asks]

    begun = time.process_time()
    assert asyncio.run(ask_all()) == [f"a{n}" for n in range(0, 50_000, 5)]
    # One look into a table each; trying every line would take minutes.
    assert time.process_time() - begun < 5
