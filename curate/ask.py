"""What a step may ask of a model, and what comes back.

Steps yield these and import no client. A request's *key* is made of everything that decides its
reply, so equal keys may share one paid reply and different keys never do. The price: a new field
that changes replies must be part of `content()`, or old replies are served for new questions; the
tests change every field in turn and expect a new key.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curate.errors import UnusableReply
from curate.row import Message


@dataclass(frozen=True, kw_only=True)
class Request:
    """What all requests share.

    `model` is a name in the recipe's `models` (or `encoders`). `share=None` follows the step:
    judges share equal requests, generators do not. `sample` numbers several replies to one prompt.
    """

    model: str | None = None
    sample: int = 0
    share: bool | None = None

    form: ClassVar[str] = ""

    def content(self) -> dict[str, Any]:
        """Return everything that decides the reply, as JSON data, without the model's identity."""
        names = _deciding(type(self))  # type: ignore[arg-type]  # A class is hashable.
        return {"form": self.form, **{name: getattr(self, name) for name in names}}


@functools.cache
def _deciding(form: type[Any]) -> tuple[str, ...]:
    """Return the fields of a form of request that decide its reply."""
    names = (field.name for field in dataclasses.fields(form))
    return tuple(name for name in names if name not in ("model", "share"))


@dataclass(frozen=True, kw_only=True)
class Ask(Request):
    """Ask for a text: a chat (`messages`, plus `system`) or a raw completion (`prompt`).

    Sampling fields left at `None` take the model mapping's value, then the server's default. The
    reply is held to `schema` where the model can do that; whoever asks checks it in any case.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    schema: Mapping[str, Any] | None = None
    logprobs: int | None = None

    form: ClassVar[str] = "ask"

    @classmethod
    def text(cls, text: str, **fields: Any) -> Ask:
        """Return a request whose only turn is the user's `text`."""
        return cls(messages=(Message("user", text),), **fields)

    @property
    def sample_seed(self) -> int | None:
        """The seed to send: each sample has its own, since with one they would be one answer."""
        return None if self.seed is None else self.seed + self.sample

    def turns(self) -> list[dict[str, str]]:
        """Return the chat as role and content, the system prompt first."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        return head + [{"role": m.role, "content": m.content} for m in self.messages]


@dataclass(frozen=True, kw_only=True)
class Embed(Request):
    """Ask an encoder for one vector per text."""

    texts: tuple[str, ...]
    form: ClassVar[str] = "embed"


@dataclass(frozen=True, kw_only=True)
class Likelihood(Request):
    """Ask for the log-probabilities of `answer`'s tokens after `prompt`."""

    prompt: str
    answer: str
    form: ClassVar[str] = "likelihood"


@dataclass(frozen=True, kw_only=True)
class Reward(Request):
    """Ask a reward model for the score of a conversation."""

    messages: tuple[Message, ...]
    form: ClassVar[str] = "reward"


# Why a reply may end before it is done, and what to do about it.
_CUT = {
    "length": ("at max_tokens", "raise max_tokens in the step or the model's mapping, and rerun"),
    "content_filter": ("by the server's content filter", "change the prompt or the model"),
}


@dataclass(frozen=True)
class Reply:
    """A model's answer.

    `text` for an `Ask`; `values` holds numbers for the other forms (a vector per text, token
    log-probabilities, one reward). `input_tokens` and `output_tokens` are the server's own usage.
    `cut` numbers the texts of an `Embed` of which the encoder read only the beginning.
    """

    text: str = ""
    finish_reason: str = "stop"
    values: tuple[Any, ...] = ()
    logprobs: tuple[Any, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cut: tuple[int, ...] = ()
    key: str = field(default="", compare=False)

    def whole(self) -> str:
        """Return the text, or raise `UnusableReply` when it was cut off before its end."""
        cut = _CUT.get(self.finish_reason)
        if cut is None:
            return self.text
        raise UnusableReply(
            f"the reply was cut off {cut[0]} (finish_reason={self.finish_reason}, "
            f"{self.output_tokens} tokens): {cut[1]}",
            key=self.key,
        )

    def to_json(self) -> str:
        """Return the reply as the store keeps it."""
        own = vars(self).items()
        data = {name: value for name, value in own if name != "key" and (name != "cut" or value)}
        return json.dumps(data, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, key: str = "") -> Reply:
        """Read a reply back from `to_json`."""
        data = json.loads(text)
        data |= {name: tuple(data.get(name, ())) for name in ("values", "logprobs", "cut")}
        return cls(**data, key=key)


def request_key(request: Request, identity: str, salt: str) -> str:
    """Return the key of `request`: 32 hex digits over its content, the model's identity and a salt.

    `identity` names the model and its sampling defaults; `salt` is empty for shared requests.
    Attempts share the key: the store numbers them, so that replay can take the newest.
    """
    content = {"content": request.content(), "identity": identity, "salt": salt}
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


Yielded = Request | Sequence[Request]
