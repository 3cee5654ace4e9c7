"""vLLM, for real: in process and as a server it is the same model. `make test-vllm` runs it."""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Choose, Embed, Likelihood, Reply, Request
from curate.errors import MissingExtra, PermanentFault, RecipeError
from curate.models.model import open_model
from curate.models.providers.vllm import WATCHERS
from curate.models.turns import openai_turns
from curate.row import Message
from tests.models.interrupts import check_an_interrupted_batch, recipe

# The folder of a small instruct model; the Makefile's target sets it.
MODEL = os.environ.get("CURATE_VLLM_MODEL")
REAL = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(
        find_spec("vllm") is None or not MODEL, reason="vLLM has its own set-up: make test-vllm"
    ),
]
LIMITS = {"max_model_len": 1024, "max_num_seqs": 64}
TURN = Ask.text("Name three colours.", temperature=0, max_tokens=16, logprobs=2)
FIXED = Likelihood(prompt="The capital of France is", answer=" Paris, and it lies on the Seine.")
WORD = {"type": "object", "properties": {"word": {"type": "string", "maxLength": 20}},
        "required": ["word"], "additionalProperties": False}  # fmt: skip
LETTERS = (Message("user", "Which letter comes first in the alphabet, B or A? Write one letter."),)
AB = ("A", "B")
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 6, "logprobs": 2}
FORMS: dict[str, Request] = {
    "chat": Ask.text("Name three colours.", system="Be brief.", **GREEDY),
    "raw": Ask(prompt="Once upon a time", **GREEDY),
    "user's turn": Ask(turn="user", **GREEDY),
    "prefill": Ask.text("Name three colours.", prefill="The three colours", **GREEDY),
    "stop text": Ask.text("Count from 1 to 9.", stop=("3",), **{**GREEDY, "max_tokens": 30}),
    "stop token": Ask.text("Say yes.", stop_tokens=("<|im_end|>",), **{**GREEDY, "max_tokens": 30}),
    "choose": Choose(messages=LETTERS, options=AB),
    "choose raw": Choose(prompt="The first letter of the alphabet is", options=AB),
    "choose after a prefill": Choose(messages=LETTERS, options=AB, prefill="The letter"),
    "likelihood": FIXED,
    "likelihood of an answer": Likelihood(messages=LETTERS, answer="The letter A comes first."),
    "likelihood alone": Likelihood(messages=(), answer="The letter A comes first."),
}


@pytest.fixture(scope="module")
def inside() -> Iterator[Any]:
    options = {**LIMITS, "dtype": "bfloat16", "enforce_eager": True}
    model = open_model({"model": f"vllm:{MODEL}", **options})
    yield model
    asyncio.run(model.close())
    # What is left of an engine when the program ends aborts it now and then.
    assert not multiprocessing.active_children()
    assert not {thread.name for thread in threading.enumerate()} & set(WATCHERS)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL)]
    command += ["--served-model-name", "m", "--port", str(port), "--host", "127.0.0.1"]
    command += ["--dtype", "bfloat16", "--enforce-eager"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in LIMITS.items()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _up(f"{url}/health"):
            assert process.poll() is None, "the server ended"
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait()


def _up(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=2).status == 200)
    except OSError:
        return False


def answers(model: Any, *requests: Request) -> list[Any]:
    async def ask_all() -> list[Any]:
        asked = [model.answer(one, key=str(n), attempt=0) for n, one in enumerate(requests)]
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(ask_all())


def at_the_server(server: str, requests: Iterable[Request]) -> list[Any]:
    """Return the answers of the server, which is sent what the model's template makes of a chat."""
    spec = {"model": "openai:m", "base_url": f"{server}/v1", "tokenizer": str(MODEL)}

    async def ask_all() -> list[Any]:
        model = open_model(spec)
        try:
            asked = [model.answer(one, key=str(n), attempt=0) for n, one in enumerate(requests)]
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await model.close()

    return asyncio.run(ask_all())


def differ_by_a_tie(one: Reply, other: Reply) -> bool:
    """Tell whether two greedy texts part at two tokens that bfloat16 cannot tell apart.

    Its error depends on which requests are computed together: a quarter of a nat was seen.
    """
    pairs = zip(one.logprobs, other.logprobs, strict=False)
    here, there = next(pair for pair in pairs if pair[0]["token"] != pair[1]["token"])
    tops = here["top"]
    return abs(tops[here["token"]] - tops.get(there["token"], -math.inf)) < 0.25


class TestBothWays:
    pytestmark = REAL

    def test_the_same_prompt_token_ids(self, inside: Any, server: str) -> None:
        (reply,) = answers(inside, TURN)
        body = {"model": "m", "messages": openai_turns(TURN.chat)}
        request = urllib.request.Request(
            f"{server}/tokenize", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        theirs = json.load(urllib.request.urlopen(request))["tokens"]
        engine = inside._worker._backend
        from curate.models.inprocess.tokens import prompt_tokens

        assert prompt_tokens(engine.tokenizer, TURN) == theirs
        assert reply.input_tokens == len(theirs)

    def test_the_same_log_probabilities(self, inside: Any, server: str) -> None:
        (own,) = answers(inside, FIXED)

        async def outside() -> Reply:
            model = open_model({"model": "openai:m", "base_url": f"{server}/v1"})
            try:
                return await model.answer(FIXED, key="k", attempt=0)
            finally:
                await model.close()

        theirs = asyncio.run(outside()).values
        print(f"\nlargest difference: {max(map(abs, map(float.__sub__, own.values, theirs))):.4f}")
        assert own.values == pytest.approx(theirs, abs=0.05)
        assert len(theirs) > 5

    def test_a_choice_equals_the_sum_by_hand(self, inside: Any, server: str) -> None:
        """By hand: the whole softmax of transformers, its tokens found by what they decode to."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        network = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16)
        spelt: dict[str, list[int]] = {}
        for number in range(len(tokenizer)):
            spelt.setdefault(tokenizer.decode([number]).strip(), []).append(number)
        assert len(spelt["A"]) > 1, "the vocabulary must hold an option twice"
        asks = [FORMS[name] for name in ("choose", "choose raw", "choose after a prefill")]
        others = at_the_server(server, asks)
        for ask, own, theirs in zip(asks, answers(inside, *asks), others, strict=True):
            assert isinstance(ask, Choose)
            text = ask.prompt
            if text is None:
                turns = [{"role": m.role, "content": m.content} for m in ask.chat]
                text = tokenizer.apply_chat_template(
                    turns, add_generation_prompt=True, tokenize=False
                )
            ids = tokenizer(text + ask.prefill, add_special_tokens=False, return_tensors="pt")
            with torch.inference_mode():
                chances = network(ids["input_ids"]).logits[0, -1].double().softmax(-1)
            by_hand = [float(chances[spelt[option]].sum()) for option in AB]
            for reply in (own, theirs):
                found = [math.exp(value) for value in reply.values]
                print(f"\n{by_hand} by hand, {found}, floored {reply.floored}")
                for number, (one, chance) in enumerate(zip(found, by_hand, strict=True)):
                    # An unlisted option is no likelier than the least of the list. Variants that
                    # are outside the list are missing from a sum: they are less than that, too.
                    if number in reply.floored:
                        assert chance <= one * 1.1 + 0.002
                    else:
                        assert one == pytest.approx(chance, rel=0.1, abs=0.005)
                assert reply.mass == pytest.approx(sum(by_hand), rel=0.1, abs=0.01)
                assert reply.chosen(AB) == max((0, 1), key=by_hand.__getitem__)
        (floored,) = answers(inside, Choose(prompt="The capital of France is", options=("Z", "Q")))
        assert floored.floored == (0, 1)

    def test_the_same_forms_of_request(self, inside: Any, server: str) -> None:
        own = answers(inside, *FORMS.values())
        theirs = at_the_server(server, FORMS.values())
        for name, here, there in zip(FORMS, own, theirs, strict=True):
            print(f"\n{name}: {here} | {there}")
        for name, here, there in zip(FORMS, own, theirs, strict=True):
            assert isinstance(here, Reply) and isinstance(there, Reply), name
            assert here.finish_reason == there.finish_reason, name
            assert here.text == there.text or differ_by_a_tie(here, there), name
            assert here.input_tokens == there.input_tokens, name
            # Logits from 16 to 32 lie an eighth apart in bfloat16, and batches round differently.
            assert here.values == pytest.approx(there.values, abs=0.25), name
            if here.values:
                means = statistics.fmean(here.values), statistics.fmean(there.values)
                assert means[0] == pytest.approx(means[1], abs=0.05), name
            assert here.floored == there.floored, name

    def test_structure_and_raw_completion(self, inside: Any, server: str) -> None:
        asks = (
            Ask.text("Answer with a JSON word.", schema=WORD, max_tokens=40, temperature=0),
            Ask(prompt="Once upon a time", max_tokens=8, temperature=0),
        )

        async def outside() -> list[Reply]:
            model = open_model({"model": "openai:m", "base_url": f"{server}/v1"})
            try:
                return [await model.answer(ask, key="k", attempt=0) for ask in asks]
            finally:
                await model.close()

        for structured, raw in (answers(inside, *asks), asyncio.run(outside())):
            assert set(json.loads(structured.text)) == {"word"}
            assert raw.text.strip()
            assert raw.output_tokens == 8

    def test_what_it_cannot_do_fails_alone(self, inside: Any) -> None:
        long, vector, fine = answers(inside, Ask(prompt="x " * 2000), Embed(texts=("a",)), TURN)
        assert isinstance(long, PermanentFault)
        assert isinstance(vector, PermanentFault)
        assert len(fine.logprobs) == fine.output_tokens
        assert all(len(token["top"]) >= 2 for token in fine.logprobs)

    def test_a_seed_repeats_a_sample(self, inside: Any) -> None:
        asks = [
            Ask(prompt="It", temperature=1.0, max_tokens=12, seed=seed, sample=sample)
            for seed, sample in ((1, 0), (1, 0), (2, 0), (1, 1))
        ]
        first, again, other, second = (reply.text for reply in answers(inside, *asks))
        assert first == again != other
        assert second != first, "two samples of one seed would be one answer"

    def test_throughput(self, inside: Any) -> None:
        asks = [Ask.text(f"Write about {n}.", temperature=1.0, max_tokens=64) for n in range(64)]
        began = time.perf_counter()
        replies = answers(inside, *asks)
        rate = sum(reply.output_tokens for reply in replies) / (time.perf_counter() - began)
        print(f"\nvllm in process: {rate:.0f} tokens/s over {len(asks)} prompts")
        assert rate > 0

    def test_ctrl_c_ends_it_and_the_same_command_continues(self, tmp_path: Path) -> None:
        options = {**LIMITS, "dtype": "bfloat16", "enforce_eager": True, "temperature": 1.0}
        command = recipe(tmp_path, 300, model=f"vllm:{MODEL}", **options)
        check_an_interrupted_batch(command, tmp_path)


def test_a_missing_package_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.models.providers.vllm.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="environment of its own"):
        open_model("vllm:a/b")


def test_it_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="names no model"):
        open_model("vllm:", folder=tmp_path)


class TestMagpie:
    """A user's turn from nothing: in process, and by way of a server's raw completions."""

    pytestmark = REAL

    def test_the_same_token_ids_before_a_users_turn(self, inside: Any, server: str) -> None:
        from curate.models.inprocess.tokens import prompt_tokens
        from curate.models.remote.chat_template import template_of

        answers(inside, TURN)  # It loads the tokenizer.
        tokenizer = inside._worker._backend.tokenizer
        template = template_of({"tokenizer": str(MODEL)}, Path())
        assert template is not None
        talk = (Message("user", "What is rust?"), Message("assistant", "Iron oxide."))
        for messages, system in (((), None), ((), "You know chess."), (talk, "Be brief.")):
            ask = Ask(messages=messages, system=system, turn="user")
            body = {"model": "m", "prompt": template.text(ask.chat, "user")}
            request = urllib.request.Request(
                f"{server}/tokenize",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            theirs = json.load(urllib.request.urlopen(request))["tokens"]
            assert prompt_tokens(tokenizer, ask) == theirs
        print(f"\nbefore a user's turn with a history: {theirs}")

    @pytest.mark.parametrize(
        ("options", "answer"),
        # Answers of the small model seldom end by themselves: conversations are gone on with.
        [({"prompt": "magpie_topic"}, ""), ({"temperature": 0.8}, "Yes, I do. Why do you ask?")],
        ids=["one turn", "several turns"],
    )
    def test_the_same_completions_give_the_same_rows(
        self, inside: Any, tmp_path: Path, options: dict[str, Any], answer: str
    ) -> None:
        """What vLLM wrote in process is given again as raw completions, found by token ids.

        Two engines part after some hundred tokens at a tie in bfloat16, greedy or not.
        """
        from curate import Pipeline
        from curate.models.inprocess.tokens import prompt_tokens
        from curate.row import Row
        from curate.step import Made
        from curate.steps.generate.magpie import Magpie
        from tests.models.chaos import Answer, Received, Server, as_json

        topics = ("chess", "bread", "birds", "the Moon")
        step = Magpie(model="m", max_tokens=64, to="prompt", **options)
        kind, name = ("sft", "messages") if answer else ("prompt", "prompt")
        said = (Message("assistant", answer),) if answer else ()
        talks = [(Message("user", topic), *said) for topic in topics]
        written: dict[tuple[int, ...], Reply] = {}
        made: list[Any] = []
        sent = 0
        answers(inside, TURN)  # It loads the tokenizer.
        tokenizer = inside._worker._backend.tokenizer
        for number, talk in enumerate(talks):
            asking = step.make(Row(f"{number:032x}", (0, 0, number), kind, {name: talk}))
            replies = None
            while True:
                try:
                    asks = asking.send(replies)
                except StopIteration as end:
                    made += end.value
                    break
                # Two rows may come to ask the same, which then has one answer here as well.
                places = [tuple(prompt_tokens(tokenizer, ask)) for ask in asks]
                new = {at: ask for at, ask in zip(places, asks, strict=True) if at not in written}
                written |= dict(zip(new, answers(inside, *new.values()), strict=True))
                replies = [written[at] for at in places]
                sent += len(asks)

        def handler(request: Received) -> Answer:
            reply = written[tuple(tokenizer(request.body["prompt"])["input_ids"])]
            choice = {"text": reply.text, "finish_reason": reply.finish_reason}
            return as_json({"choices": [choice]})

        with Server(handler) as server:
            spec = {"model": "openai:m", "base_url": f"{server.url}/v1", "tokenizer": str(MODEL)}
            result = Pipeline([step], models={"m": spec}).run(
                [{name: openai_turns(talk)} for talk in talks],
                run=tmp_path / "run",
                store=tmp_path / "store",
                allow_failed=1.0,
            )
            assert len(server.received) == sent
        kept = [one.record.fields["prompt"] for one in made if isinstance(one, Made)]
        print(f"\n{len(kept)} kept of {len(made)}, {len(written)} requests")
        assert kept and {len(prompt) for prompt in kept} == {3 if answer else 1}
        assert [row.fields["prompt"] for row in result.kept] == kept
        assert result.summary["dropped"] + result.summary["failed"] == len(made) - len(kept)
        assert result.summary["used"] == len(topics) and made
