"""Choices: what each option's tokens hold together, against sums made by hand."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Choose, Reply, Request, request_key
from curate.errors import PermanentFault, UnusableReply
from curate.models.choice import by_text, choice_reply
from curate.models.model import open_model
from curate.row import Message
from tests.models.tiny import save_trained

TURN = (Message("user", "Say A or B"),)
AB = ("A", "B")


def answers(spec: Any, *requests: Request, folder: Path | None = None) -> list[Any]:
    """Return reply or error of each request, all asked at once."""

    async def ask_all() -> list[Any]:
        model = open_model(spec, folder=folder)
        try:
            asked = [model.answer(one, key=str(n), attempt=0) for n, one in enumerate(requests)]
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await model.close()

    return asyncio.run(ask_all())


def test_variants_are_summed_and_what_is_not_listed_is_floored() -> None:
    likely = [("A", math.log(0.05)), ("\u2581A", math.log(0.75)), ("Sure", math.log(0.1))]
    reply = choice_reply(AB, likely)
    assert reply.values == pytest.approx((math.log(0.8), math.log(0.05)))
    assert reply.mass == pytest.approx(0.8)
    assert reply.floored == (1,) and reply.text == "A" and reply.chosen(AB) == 0
    # Where every token is known, an option that has none is impossible, not unlisted.
    assert choice_reply(AB, [("A", 0.0)], whole=True).values == (0.0, -math.inf)
    assert Reply.from_json(reply.to_json()) == reply


def test_tokens_with_one_text_are_summed_where_texts_are_keys() -> None:
    assert by_text([("A", math.log(0.75)), ("B", -3.0), ("A", math.log(0.05))]) == {
        "A": pytest.approx(math.log(0.8)),
        "B": -3.0,
    }


def test_without_log_probabilities_the_text_must_be_an_option() -> None:
    assert Reply(text=" B\n").chosen(AB) == 1
    with pytest.raises(UnusableReply, match="'B, because' and not one of the options A, B"):
        Reply(text="B, because", key="k").chosen(AB)


@pytest.mark.parametrize(
    "fields",
    [{}, {"messages": TURN, "prompt": "x"}, {"messages": TURN, "options": ("A", " A")},
     {"prompt": "x", "options": ("A",)}, {"prompt": "x", "options": ("A", "")}],
)  # fmt: skip
def test_what_is_no_choice_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Choose"):
        Choose(**{"options": AB, **fields})


def test_what_decides_a_choice_is_in_its_key() -> None:
    one = Choose(messages=TURN, options=AB)
    others = [
        Choose(messages=TURN, options=("B", "A")),
        Choose(messages=TURN, options=AB, prefill="("),
        Choose(messages=TURN, options=AB, system="Be kind."),
        Choose(prompt="Say A or B", options=AB),
        Ask(messages=TURN),
    ]
    assert len({request_key(r, "id", "") for r in (one, *others)}) == 1 + len(others)


def test_a_script_answers_choices(tmp_path: Path) -> None:
    lines = [
        {"when": {"contains": "first"}, "values": [math.log(0.6), math.log(0.2)]},
        {"when": {"contains": "second"}, "reply": "B"},
        {"when": {"contains": "third"}, "values": [0.0]},
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = [Choose(prompt=text, options=AB) for text in ("first", "second", "third")]
    weighed, written, wrong = answers("scripted:r.jsonl", *asked, folder=tmp_path)
    assert weighed.values == pytest.approx((math.log(0.6), math.log(0.2)))
    assert weighed.mass == pytest.approx(0.8) and weighed.floored == ()
    assert written.values == () and written.chosen(AB) == 1
    assert isinstance(wrong, PermanentFault) and "1 values for the options A, B" in str(wrong)
    # And a recording of them answers as they did.
    recording = {"model": "record:told.jsonl", "of": "scripted:r.jsonl"}
    first = answers(recording, *asked[:2], folder=tmp_path)
    assert answers("scripted:told.jsonl", *asked[:2], folder=tmp_path) == first


@pytest.fixture(scope="module", params=["bpe", "sentencepiece"])
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_trained(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.slow
def test_a_choice_equals_the_sum_by_hand(model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say A or B"}], add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(model)(ids).logits[0, -1].double()
    chances = logits.softmax(-1)
    expected, variants = [], []
    for option in AB:
        own = [
            number
            for piece, number in tokenizer.get_vocab().items()
            if piece in (option, "\u0120" + option, "\u2581" + option)
        ]
        variants.append(len(own))
        expected.append(float(chances[own].sum()))
    assert max(variants) == 2, "the vocabulary must hold an option twice"
    asked = Choose(messages=TURN, options=AB)
    longer = Choose(prompt="A longer prompt, so that the batch is padded: (", options=AB)
    reply, _, three = answers(
        {"model": f"hf:{model}", "threads": 1},
        asked,
        longer,
        Choose(prompt="x", options=("A", "no such thing")),
    )
    assert [math.exp(value) for value in reply.values] == pytest.approx(expected, rel=1e-4)
    assert reply.mass == pytest.approx(sum(expected), rel=1e-4)
    assert reply.floored == () and reply.input_tokens == ids.shape[1]
    assert isinstance(three, PermanentFault) and "not a single token" in str(three)


@pytest.mark.slow
def test_log_probabilities_of_an_ask_are_keyed_by_token(model: Path) -> None:
    """`▁A` and `A` decode alike: the list must hold both together, and never the one for both."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    size = len(tokenizer)
    ask = Ask(messages=TURN, max_tokens=1, logprobs=size, temperature=0.0)
    (reply,) = answers({"model": f"hf:{model}", "threads": 1}, ask)
    top = reply.logprobs[0]["top"]
    assert math.fsum(math.exp(value) for value in top.values()) == pytest.approx(1.0, abs=1e-4)
    (choice,) = answers({"model": f"hf:{model}", "threads": 1}, Choose(messages=TURN, options=AB))
    for option, value in zip(AB, choice.values, strict=True):
        spelt = [math.exp(one) for text, one in top.items() if text.lstrip() == option]
        assert math.fsum(spelt) == pytest.approx(math.exp(value), rel=1e-3)


@pytest.mark.slow
@pytest.mark.real
def test_the_embedded_model_chooses() -> None:
    question = (Message("user", "Which is a fruit? A: apple. B: hammer. Answer A or B."),)
    asked = [Choose(messages=question, options=AB), Choose(prompt="The answer is", options=AB)]
    for reply in answers({"model": "local", "threads": 1}, *asked):
        assert len(reply.values) == 2 and 0 < reply.mass <= 1
        assert reply.mass == pytest.approx(sum(map(math.exp, reply.values)))
