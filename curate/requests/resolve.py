"""Resolve requests: which model each is for, what is sent, and the key of its reply.

The scheduler and the estimator both go by this, so that an estimate looks up, counts and prices the
requests that a run sends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from curate.ask import Ask, Embed, Request, request_key
from curate.errors import RecipeError
from curate.models.model import ModelInfo, with_defaults
from curate.requests.session import RowTask
from curate.store.replies import Wanted
from curate.store.vectors import vector_keys

# What each form of request asks for, in words.
FORMS = {
    "ask": "texts",
    "choose": "choices",
    "embed": "vectors",
    "likelihood": "likelihoods",
    "turn_likelihood": "likelihoods of whole turns",
    "reward": "rewards",
}


class Resolved(NamedTuple):
    """A request as it is sent, with its key and the model that the recipe calls `model`."""

    key: str
    request: Request
    model: str
    info: ModelInfo

    def wanted(self, least: int = 0) -> Wanted:
        """Return what to look for in the store: its reply, from the attempt `least` on."""
        return Wanted(self.request, self.info.identity_for(self.request), least)


class ResolvedTexts(NamedTuple):
    """Texts as an encoder is sent them, and the keys of their vectors."""

    model: str
    info: ModelInfo
    texts: tuple[str, ...]
    keys: Sequence[bytes]


class Resolver:
    """Resolve requests to the models and encoders of one recipe."""

    def __init__(self, infos: Mapping[str, ModelInfo], *, bounded: bool = False) -> None:
        """Resolve for `infos`; where money has a ceiling, replies are `bounded`."""
        self.infos, self._bounded = infos, bounded

    def resolve(self, request: Request, task: RowTask) -> Resolved:
        """Return what is sent for a request of `task`, with the model's defaults filled in.

        Raises:
            RecipeError: no such model, or it does not answer this form of request.
        """
        name = self.named(request.model)
        info = self.infos[name]
        if request.form not in info.forms:
            raise RecipeError(
                f"a step asks the model '{name}' ({info.identity}) for {FORMS[request.form]}; it "
                f"gives {', '.join(FORMS[form] for form in info.forms)}: name another model"
            )
        if info.chat_only and isinstance(request, Ask) and not request.prompt:
            users = request.turn == "user"
            if users or request.prefill:
                what = "a user's turn" if users else "the rest of an answer that is begun"
                raise RecipeError(
                    f"a step asks the model '{name}' ({info.identity}) for {what}, and a chat "
                    "endpoint writes whole answers only; give the model's mapping its 'tokenizer: "
                    "NAME' or 'template: FILE' where its server has raw completions, or use local, "
                    "hf: or vllm:"
                )
        # A vector is that of its text, whoever asks.
        shares = isinstance(request, Embed) or (
            task.shares if request.share is None else request.share
        )
        sent = with_defaults(request, info.defaults)
        key = request_key(sent, info.identity, "" if shares else task.salt)
        if self._bounded and isinstance(sent, Ask) and sent.max_tokens is None:
            sent = dataclasses.replace(sent, max_tokens=sent.longest_reply)
        return Resolved(key, sent, name, info)

    def resolve_texts(self, name: str | None, texts: Sequence[str]) -> ResolvedTexts:
        """Return texts as the encoder called `name` is sent them."""
        name = self.named(name)
        info = self.infos[name]
        sent = with_defaults(Embed(texts=tuple(texts)), info.defaults)
        assert isinstance(sent, Embed)
        return ResolvedTexts(
            name, info, sent.texts, vector_keys(info.identity_for(sent), sent.texts)
        )

    def named(self, name: str | None) -> str:
        """Return the name of the model that is asked; where there is only one, it need not say."""
        if name is None and len(self.infos) == 1:
            return next(iter(self.infos))
        if name is not None and name in self.infos:
            return name
        known = ", ".join(sorted(self.infos)) or "none"
        asked = f"the model '{name}'" if name else "a model without naming one"
        more = "" if name else "; name one at the step (model: NAME), or give --model MODEL"
        raise RecipeError(
            f"a step asks {asked}; the recipe's models and encoders are: {known}{more}"
        )
