"""What the tests of likelihoods share: a script of replies, and the embedded model by hand."""

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pytest

from curate.ask import Reply
from curate.models.providers import local
from curate.row import Message, Row
from curate.step import Filter

INSTALLED = all(find_spec(name) for name in (local.PACKAGE, "gguf", "accelerate"))
NEEDS_LOCAL = pytest.mark.skipif(not INSTALLED, reason="the embedded model: run `make local`")


def scored(step: Filter, row: Row, *replies: Reply | list[Reply]) -> tuple[Any, list[Any]]:
    """Return the score of `row` under a script of replies, and what was asked."""
    asking, asked = step.score(row), []
    try:
        asked.append(next(asking))
        for reply in replies:
            asked.append(asking.send(reply))
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("it asks for more than the script has")


def asked_of_local(step: Filter, rows: Sequence[Row]) -> list[Any]:
    """Return the scores of `rows` by the embedded model, all asked together."""
    import asyncio

    from curate.models.model import open_model

    async def ask() -> list[Any]:
        model, begun = (
            open_model("local"),
            [(asking, next(asking)) for asking in map(step.score, rows)],
        )
        flat = [one for _, wave in begun for one in (wave if isinstance(wave, list) else [wave])]
        replies = iter(
            await asyncio.gather(
                *(model.answer(one, key=str(n), attempt=0) for n, one in enumerate(flat))
            )
        )
        found = []
        for asking, wave in begun:
            came = [next(replies) for _ in wave] if isinstance(wave, list) else next(replies)
            with pytest.raises(StopIteration) as end:
                asking.send(came)
            found.append(end.value.value)
        await model.close()
        return found

    return asyncio.run(ask())


@functools.cache
def _loaded() -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = local.model_folder()
    return (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder).float().eval(),
    )


def loss_by_hand(before: Sequence[Message], answer: str) -> float:
    """Return the mean loss of the answer's tokens by one plain pass, without the package."""
    import torch

    tokenizer, model = _loaded()
    start = [tokenizer.bos_token_id]
    if before:
        turns = [{"role": turn.role, "content": turn.content} for turn in before]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        start = tokenizer(text, add_special_tokens=False)["input_ids"]
    said = tokenizer(answer, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([start + said])
    labels = torch.tensor([[-100] * len(start) + said])
    with torch.no_grad():
        return float(model(input_ids=ids, labels=labels).loss)
