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
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from curate.errors import UnusableReply
from curate.row import Message


def check_asking(
    model: object,
    *,
    repairs: int = 0,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> None:
    """Raise `ValueError` when a step's fields name no model (or none of several), or no request."""
    if not model:
        raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
    if repairs < 0:
        raise ValueError(f"repairs is {repairs}; it must be 0 or more")
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens is {max_tokens}; it must be 1 or more")
    if temperature is not None and temperature < 0:
        raise ValueError(f"temperature is {temperature:g}; it must be 0 or more")


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
        """Return everything that decides the reply, as JSON data, without the model's identity.

        Fields that came later are left out at their default: then the key is the one it was before
        there were such fields, and old replies still answer.
        """
        found: dict[str, Any] = {"form": self.form}
        for name, default in _deciding(type(self)):  # type: ignore[arg-type]  # It is hashable.
            value = getattr(self, name)
            if default is _ALWAYS or value != default:
                found[name] = value
        return found


_ALWAYS = object()
# Fields that decide no reply.
_ASIDE = ("model", "share", "example", "longest_reply")


def _later(default: Any) -> Any:
    """Return a field that came after the first stores were written."""
    return field(default=default, metadata={"later": True})


@functools.cache
def _deciding(form: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a form of request that decide its reply, and when to leave one out."""
    return tuple(
        (one.name, one.default if one.metadata.get("later") else _ALWAYS)
        for one in dataclasses.fields(form)
        if one.name not in _ASIDE
    )


def _check_prompt(messages: tuple[Message, ...] | None, prompt: str | None, what: str) -> None:
    """Refuse a request with two prompts, or with none."""
    if (prompt is None) == (messages is None):
        raise ValueError(f"{what} takes messages or a raw prompt, one of the two")


@dataclass(frozen=True, kw_only=True)
class Ask(Request):
    """Ask for a text: a chat (`messages`, plus `system`) or a raw completion (`prompt`).

    A chat goes through the model's own template, up to the header of the turn that is to be written
    next: the assistant's, or with `turn="user"` the user's. `prefill` is how that turn begins; the
    reply is what follows it. Sampling fields left at `None` take the model mapping's value, then
    the server's default. The reply ends before a text of `stop`, searched with special tokens shown
    in the text, and before a special token named in `stop_tokens`; the model's own end tokens
    always end it. It is held to `schema` where the model can do that; whoever asks checks it in any
    case. `example` is a reply that whoever asks could read: estimates go on from it to what is
    asked next, and nobody else sees it. `longest_reply` is how many tokens a reply may have that
    whoever asks could read: where money has a ceiling and nothing sets `max_tokens`, it is what is
    sent, and the reply's key is the same as without a ceiling.
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
    turn: Literal["assistant", "user"] = _later("assistant")
    prefill: str = _later("")
    stop_tokens: tuple[str, ...] = _later(())
    top_k: int | None = _later(None)
    presence_penalty: float | None = _later(None)
    frequency_penalty: float | None = _later(None)
    example: str | None = field(default=None, compare=False)
    longest_reply: int | None = field(default=None, compare=False)

    form: ClassVar[str] = "ask"

    @classmethod
    def text(cls, text: str, **fields: Any) -> Ask:
        """Return a request whose only turn is the user's `text`."""
        return cls(messages=(Message("user", text),), **fields)

    @property
    def sample_seed(self) -> int | None:
        """The seed to send: each sample has its own, since with one they would be one answer."""
        return None if self.seed is None else self.seed + self.sample

    @property
    def chat(self) -> tuple[Message, ...]:
        """The turns before the one that is asked for, the system prompt first."""
        return _with_system(self.system, self.messages)


@dataclass(frozen=True, kw_only=True)
class Choose(Request):
    """Ask which of several options comes next: `options` of one token each, as A and B.

    The prompt is a chat or raw text, as in an `Ask`, and `prefill` how the answer begins. The reply
    holds the log-probability of each option: those of all tokens that spell it are summed, with or
    without a space before it, whatever else was likely. Where a server gives no log-probabilities
    the reply is a text, and `Reply.chosen` reads a strict verdict from it.
    """

    options: tuple[str, ...]
    messages: tuple[Message, ...] | None = None
    prompt: str | None = None
    system: str | None = None
    prefill: str = ""
    form: ClassVar[str] = "choose"

    def __post_init__(self) -> None:
        """Refuse options that cannot be told apart."""
        _check_prompt(self.messages, self.prompt, "Choose")
        spelt = [option.strip() for option in self.options]
        if len(set(spelt)) < 2 or len(set(spelt)) < len(spelt) or "" in spelt:
            raise ValueError(f"Choose needs two options or more, all different: {self.options!r}")

    @property
    def chat(self) -> tuple[Message, ...]:
        """The turns before the choice, the system prompt first."""
        return _with_system(self.system, self.messages or ())


def _with_system(system: str | None, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return (Message("system", system), *messages) if system else messages


@dataclass(frozen=True, kw_only=True)
class Embed(Request):
    """Ask an encoder for one vector per text."""

    texts: tuple[str, ...]
    form: ClassVar[str] = "embed"


@dataclass(frozen=True, kw_only=True)
class Likelihood(Request):
    """Ask for the log-probabilities of `answer`'s tokens after `prompt`, or after a chat.

    After `prompt`, prompt and answer are tokenised as one text, and a token that holds the end of
    the one and the beginning of the other counts as the answer's. After `messages`, the answer's
    tokens are those of the answer alone, behind the model's template up to the header of the
    assistant's turn; no end token is added. `messages=()` is the unconditional form: the answer
    behind the begin-of-text token alone, without any template; where a model has no such token
    nothing is before the answer's first token, and that one has no value.
    """

    prompt: str | None = None
    answer: str
    messages: tuple[Message, ...] | None = _later(None)
    form: ClassVar[str] = "likelihood"

    def __post_init__(self) -> None:
        """Refuse two prompts, or none."""
        _check_prompt(self.messages, self.prompt, "Likelihood")


@dataclass(frozen=True, kw_only=True)
class TurnLikelihood(Request):
    """Ask for the log-probabilities of whole turns of the assistant, as training learns them.

    The conversation is rendered by the model's own template, with `template_options` (`tools`,
    `chat_template_kwargs`; see `rendering_options`). What counts of each turn of the assistant from
    index `first` on are the answer's tokens and the token that ends the turn: those that `curate
    train sft` supervises, so that minus their mean is the loss that a trainer has of it.
    """

    messages: tuple[Message, ...]
    first: int = 0
    template_options: Mapping[str, Any] | None = None
    form: ClassVar[str] = "turn_likelihood"


@dataclass(frozen=True, kw_only=True)
class Reward(Request):
    """Ask a reward model for the score of a conversation.

    A chat template renders it with `template_options`, as a `TurnLikelihood`; a model without a
    template reads the texts alone.
    """

    messages: tuple[Message, ...]
    template_options: Mapping[str, Any] | None = _later(None)
    form: ClassVar[str] = "reward"


# Why a reply may end before it is done, and what to do about it.
_CUT = {
    "length": ("at max_tokens", "raise max_tokens in the step or the model's mapping, and rerun"),
    "content_filter": ("by the server's content filter", "change the prompt or the model"),
}


_LISTS = ("values", "logprobs", "cut", "read", "floored")
_RARE = ("cut", "read", "mass", "floored", "reasoning")


@dataclass(frozen=True)
class Reply:
    """A model's answer.

    `text` for an `Ask`; `values` holds numbers for the other forms (a vector per text, token
    log-probabilities, one reward, the log-probability of each option). `input_tokens` and
    `output_tokens` are the server's own usage. `cut` numbers the texts of an `Embed` of which the
    encoder read only the beginning; `read` numbers those that it did not read in whole (cut, or
    with unknown tokens), each with a hash of the tokens it read. Of a `Choose`, `mass` is the
    probability that its options hold together; `floored` numbers those that lay outside the
    server's list of likely tokens: their value is the least of that list, the true one is lower.
    `reasoning` is what a server gave apart from the text as the model's thoughts.
    """

    text: str = ""
    finish_reason: str = "stop"
    values: tuple[Any, ...] = ()
    logprobs: tuple[Any, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    cut: tuple[int, ...] = ()
    read: tuple[tuple[int, int], ...] = ()
    mass: float | None = None
    floored: tuple[int, ...] = ()
    reasoning: str = ""
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

    def chosen(self, options: Sequence[str]) -> int:
        """Return the number of the option that a `Choose` found: the likeliest, or the one written.

        Raises:
            UnusableReply: no option is likely at all, or the model gave no log-probabilities and
                wrote none of them.
        """
        if self.values:
            if max(self.values) == -math.inf or len(self.floored) == len(self.values):
                raise UnusableReply(
                    f"none of the options {', '.join(options)} is among the model's likely answers "
                    f"(together they hold a probability of {self.mass or 0:.2g}); look at what it "
                    "would rather say, with the same prompt and no options",
                    key=self.key,
                )
            return max(range(len(self.values)), key=self.values.__getitem__)
        said = self.text.strip()
        if said in options:
            return options.index(said)
        raise UnusableReply(
            f"the model wrote {said[:60]!r} and not one of the options {', '.join(options)}; it "
            "gives no log-probabilities, so the answer must be an option and nothing else",
            key=self.key,
        )

    def chances(self, options: Sequence[str]) -> list[float]:
        """Return the probability of each option of a `Choose`, as shares of what they hold: sum 1.

        Without log-probabilities the option that was written has all of it.

        Raises:
            UnusableReply: as `chosen` does.
        """
        best = self.chosen(options)
        if not self.values:
            return [float(number == best) for number in range(len(options))]
        weights = [math.exp(value - self.values[best]) for value in self.values]
        total = math.fsum(weights)
        return [weight / total for weight in weights]

    def to_json(self) -> str:
        """Return the reply as the store keeps it; what only some forms have is left out else."""
        own = vars(self).items()
        data = {n: v for n, v in own if n != "key" and (n not in _RARE or v not in (None, (), ""))}
        return json.dumps(data, ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, key: str = "") -> Reply:
        """Read a reply back from `to_json`."""
        data = json.loads(text)
        data |= {name: tuple(data.get(name, ())) for name in _LISTS}
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
