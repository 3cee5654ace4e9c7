"""A model behind a real server that completes any recipe's prompt by what the prompt itself shows.

A ready recipe shows its small model examples and lets it complete the last one. This model finds
what followed the prompt's last line where that line stood before, and copies one of those; where
there is no example it writes a short sentence with words of the prompt. A hash of what was asked
chooses, so that equal requests have equal answers and unequal ones differ, and a recipe that is
added tomorrow gets answers in its own form, too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from tests.models.chaos import Answer, Received, Server, as_json

# The server takes raw text, so that it can be asked for likelihoods and for a user's turn.
TEMPLATE = "{% for m in messages %}<{{ m.role }}>\n{{ m.content }}\n\n{% endfor %}<assistant>\n"
WIDTH = 32
_OPTIONS = [*"ABCDEFGH", *map(str, range(1, 10)), "Yes", "No", "None"]


class CopyingModel(Server):
    """The server; each answer takes `delay` seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__(self._reply)
        self.delay = delay

    def mapping(self, folder: Path, **more: Any) -> dict[str, Any]:
        """Return the model's mapping in a recipe; its template is written to `folder`."""
        template = folder / "template.jinja"
        template.write_text(TEMPLATE)
        return {
            "model": "openai:copying",
            "base_url": self.url,
            "template": str(template),
            "max_concurrency": 4,
            # Sent with each sample's number added: its samples differ.
            "seed": 1,
            **more,
        }

    def asked(self) -> list[str]:
        """Return what was asked so far: a text for each request, equal for equal requests."""
        return [json.dumps([one.path, one.body], sort_keys=True) for one in self.received]

    def tokens(self) -> int:
        """Return how many tokens all requests so far are billed."""
        return sum(sum(_usage(one.body).values()) for one in self.received)

    def _reply(self, request: Received) -> Answer:
        body = request.body
        if "input" in body:
            vectors = [{"index": n, "embedding": _vector(t)} for n, t in enumerate(body["input"])]
            return as_json({"data": vectors, "usage": _usage(body)})
        choice = _echo(body["prompt"]) if body.get("echo") else _completion(body)
        data = {"choices": [{"index": 0, **choice}], "usage": _usage(body)}
        return as_json(data, delay=self.delay)


def _number(*asked: Any) -> int:
    """Return a number that only what was asked decides."""
    text = json.dumps(asked, sort_keys=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big")


def _usage(body: Any) -> dict[str, int]:
    """Return what is billed for a request."""
    if "input" in body:
        return {"prompt_tokens": len(body["input"]), "completion_tokens": 0}
    return {"prompt_tokens": len(body["prompt"]) // 5, "completion_tokens": body["max_tokens"] // 4}


def _completion(body: Any) -> dict[str, Any]:
    if body["max_tokens"] == 1:
        values = [-0.1 - _number(body["prompt"], option) % 400 / 100 for option in _OPTIONS]
        total = np.log(np.exp(values).sum())
        likely = {option: value - total for option, value in zip(_OPTIONS, values, strict=True)}
        best = max(likely, key=likely.__getitem__)
        found = {"tokens": [best], "token_logprobs": [likely[best]], "top_logprobs": [likely]}
        return {"text": best, "finish_reason": "length", "logprobs": found}
    text = _written(body["prompt"], _number(body))
    for stop in body.get("stop", ()):
        text = text.partition(stop)[0]
    return {"text": text, "finish_reason": "stop"}


def _written(prompt: str, number: int) -> str:
    """Return what stood behind the prompt's last line before, or else a sentence."""
    last = next(line for line in reversed(prompt.split("\n")) if line.strip())
    blocks = prompt.split("\n\n")[:-1]
    shown = [block.rpartition(last)[2] for block in blocks if f"\n{last}" in f"\n{block}"]
    shown = [text for text in shown if text.strip()]
    if shown and number % 3:
        return _with_arguments(shown[number % len(shown)], prompt.split("\n\n")[-1])
    words = re.findall(r"[A-Za-z]{4,}", prompt[-400:]) or ["nothing"]
    one, two, three = (words[(number >> place) % len(words)].lower() for place in (0, 4, 8))
    if "French" in prompt or "français" in prompt:
        return f"Je pense que les {one} sont plus belles que les {two} dans la maison de ma mère."
    # Sums and products of what was asked for are right now and then.
    a, b = [*map(int, re.findall(r"\d+", prompt)[-2:]), 5, 3][:2]
    guess = (a + b, a - b, a * b, number % 40)[number % 4]
    return f"The {one} of every {two} is a {three}, and that makes {guess}."


def _with_arguments(text: str, block: str) -> str:
    """Return a text, the JSON object in it such as the schema of a tool in `block` wants."""
    found = re.search(r'\{.*"parameters".*\}', block)
    if found is None:
        return text
    wanted = json.loads(found[0])["parameters"]["properties"]
    some = {"integer": 7, "number": 7.5, "boolean": True, "array": []}
    values = {n: s.get("enum", [some.get(s["type"], "a word")])[0] for n, s in wanted.items()}
    return re.sub(r"\{.*\}", json.dumps(values), text)


def _echo(prompt: str) -> dict[str, Any]:
    """Return the prompt with a log-probability for each of its words, and one word more."""
    tokens = [*re.findall(r"\s*\S+|\s+$", prompt), " end"]
    offsets = np.cumsum([0, *map(len, tokens)])[:-1].tolist()
    chances = [-0.05 - _number(token, place % 7) % 600 / 100 for place, token in enumerate(tokens)]
    found = {"tokens": tokens, "token_logprobs": [None, *chances[1:]], "text_offset": offsets}
    return {"text": "".join(tokens), "finish_reason": "length", "logprobs": found}


def _vector(text: str) -> list[float]:
    """Return the sum of a vector for each word: texts that share words are alike."""
    return sum(map(_word_vector, re.findall(r"\w+", text.lower()) or [text])).tolist()


@functools.cache
def _word_vector(word: str) -> Any:
    return np.random.default_rng(_number(word)).standard_normal(WIDTH)
