"""`scripted:FILE`: replies read from a JSON Lines file, for tests, demonstrations and shared runs.

Each line says when it applies and what it answers; the first line that matches wins:

    {"when": {"contains": "2 + 2"}, "reply": "4"}
    {"when": {"messages": [{"role": "user", "content": "Hi"}]}, "reply": ["Hello", "Hey"]}
    {"when": {}, "fault": "rate_limit", "times": 2}

`when` holds any of `contains` (a text, or several that must all occur), `messages` and `prompt`
(equal as a whole) and `key`; `{}` matches everything. `sample` and `attempt` narrow a line further;
a list of replies is numbered by sample. A fault clears after `times` tries of one request within
this process (`null`: never), and then gives the line's own reply, or what the next line says.

A `Choose` is answered by `reply`, as from a server without log-probabilities, or by `values`, the
log-probability of each option.

A first line `{"model": {"identity": ..., "defaults": {...}}}`, which `record:` writes, says whose
replies these are: requests then get the keys that they had when they were recorded.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.ask import Ask, Choose, Embed, Likelihood, Reply, Request, Reward, TurnLikelihood
from curate.errors import PermanentFault, RecipeError, TemporaryFault
from curate.models.choice import choice_reply
from curate.models.model import ModelInfo, ModelSpec
from curate.row import seed_of

OPTIONS = ("log", "shuffle")
IN_PROCESS = False
FORMS = ("ask", "choose", "embed", "likelihood", "turn_likelihood", "reward")
FAULTS = ("rate_limit", "server", "timeout", "malformed", "permanent")
_LINE = (
    "when",
    "sample",
    "attempt",
    "reply",
    "values",
    "cut",
    "read",
    "mass",
    "floored",
    "logprobs",
    "usage",
    "finish_reason",
    "delay",
    "fault",
    "times",
    "retry_after",
    "message",
)
_WHEN = ("contains", "messages", "prompt", "key")
_SHUFFLE_SECONDS = 0.004
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ScriptedLine:
    """One line of the file, checked."""

    number: int
    contains: tuple[str, ...] = ()
    exact: tuple[tuple[str, str], ...] = ()
    sample: int | None = None
    attempt: int | None = None
    replies: tuple[str, ...] | str | None = None
    values: tuple[Any, ...] | None = None
    cut: tuple[int, ...] = ()
    read: tuple[tuple[int, int], ...] = ()
    mass: float | None = None
    floored: tuple[int, ...] = ()
    logprobs: tuple[Any, ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)
    finish_reason: str = "stop"
    delay: float = 0.0
    fault: str | None = None
    times: int | None = None
    retry_after: float | None = None
    message: str | None = None

    @property
    def answers(self) -> bool:
        """Whether the line has a reply, and not only a fault."""
        return self.replies is not None or self.values is not None

    def matches(self, traits: Mapping[str, str], request: Request, attempt: int) -> bool:
        """Tell whether the line applies; `traits` come from `_traits`."""
        if self.sample not in (None, request.sample) or self.attempt not in (None, attempt):
            return False
        if isinstance(self.replies, tuple) and request.sample >= len(self.replies):
            return False
        if any(traits.get(name) != value for name, value in self.exact):
            return False
        return all(text in traits["text"] for text in self.contains)

    def reply(self, request: Request) -> Reply:
        """Return what the line answers."""
        if isinstance(request, Choose) and self.values is not None and self.mass is None:
            if len(self.values) != len(request.options):
                raise PermanentFault(
                    f"line {self.number} has {len(self.values)} values for the options "
                    f"{', '.join(request.options)}; give the log-probability of each"
                )
            likely = zip((option.strip() for option in request.options), self.values, strict=True)
            return choice_reply(request.options, likely, whole=True, **self.usage)
        text = self.replies[request.sample] if isinstance(self.replies, tuple) else self.replies
        return Reply(
            text=text or "",
            finish_reason=self.finish_reason,
            values=self.values or (),
            cut=self.cut,
            read=self.read,
            mass=self.mass,
            floored=self.floored,
            logprobs=self.logprobs,
            input_tokens=self.usage.get("input_tokens", 0),
            output_tokens=self.usage.get("output_tokens", 0),
        )


class Scripted:
    """A model that answers from a file; it sends nothing and costs what its mapping says."""

    def __init__(
        self, info: ModelInfo, lines: list[ScriptedLine], spec: ModelSpec, folder: Path
    ) -> None:
        self.info = info
        # Not the whole path: the text of a failed row must not depend on where the file lies.
        self._file, self._lines = Path(spec.name).name, _Index(lines)
        self._tries: Counter[tuple[int, str]] = Counter()
        self._shuffle: int | None = spec.options.get("shuffle")
        self._log: int | None = None
        if "log" in spec.options:
            path = folder / str(spec.options["log"])
            self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the reply of the first line that matches, or raise its fault."""
        if self._log is not None:
            # One short write with O_APPEND is never interleaved with another process's.
            os.write(self._log, f"{key}\n".encode())
        traits = _traits(request, key)
        usable = (
            line
            for line in self._lines.candidates(traits)
            if line.answers or self._still_faulty(line, key)
        )
        line = next((one for one in usable if one.matches(traits, request, attempt)), None)
        delay = line.delay if line else 0.0
        if self._shuffle is not None:
            order = random.Random(seed_of(self._shuffle, key, self._tries[0, key]))
            self._tries[0, key] += 1
            delay += order.uniform(0, _SHUFFLE_SECONDS)
        if delay:
            await asyncio.sleep(delay)
        if line is None:
            head = " ".join(traits["text"].split())[:80]
            raise PermanentFault(
                f"no line of {self._file} matches the prompt '{head}'; add one, or a last line "
                'with "when": {}'
            )
        if self._still_faulty(line, key):
            self._tries[line.number, key] += 1
            said = line.message or f"{line.fault} (scripted by {self._file}:{line.number})"
            if line.fault == "permanent":
                raise PermanentFault(said)
            raise TemporaryFault(said, cause=line.fault or "", retry_after=line.retry_after)
        return line.reply(request)

    async def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def _still_faulty(self, line: ScriptedLine, key: str) -> bool:
        if line.fault is None:
            return False
        return line.times is None or self._tries[line.number, key] < line.times


class _Index:
    """Find the lines that may match, in file order, without trying every exact one."""

    def __init__(self, lines: list[ScriptedLine]) -> None:
        self._exact: dict[tuple[str, str], list[ScriptedLine]] = {}
        self._loose: list[ScriptedLine] = []
        for line in lines:
            if line.exact:
                self._exact.setdefault(line.exact[0], []).append(line)
            else:
                self._loose.append(line)

    def candidates(self, traits: Mapping[str, str]) -> Iterator[ScriptedLine]:
        exact = [
            line
            for name in ("key", "messages", "prompt")
            if name in traits
            for line in self._exact.get((name, traits[name]), ())
        ]
        if not exact:
            return iter(self._loose)
        return heapq.merge(sorted(exact, key=_number), self._loose, key=_number)


def _number(line: ScriptedLine) -> int:
    return line.number


def _traits(request: Request, key: str) -> dict[str, str]:
    """Return what lines are compared with: the key, all text, and the exact forms."""
    traits, texts = {"key": key}, list[str]()
    turns = request.chat if isinstance(request, Ask | Choose) else ()
    if isinstance(request, Reward | Likelihood | TurnLikelihood):
        turns = request.messages or ()
    if turns or isinstance(request, Ask | Reward | TurnLikelihood):
        traits["messages"] = _canonical({"role": m.role, "content": m.content} for m in turns)
        texts += [text for turn in turns for text in (turn.content, turn.parts) if text]
    if isinstance(request, Ask | Choose | Likelihood) and request.prompt is not None:
        traits["prompt"] = request.prompt
        texts.append(request.prompt)
    if isinstance(request, Likelihood):
        texts.append(request.answer)
    if isinstance(request, Embed):
        texts += request.texts
    traits["text"] = "\n".join(texts)
    return traits


def _canonical(turns: Iterable[Mapping[str, str]]) -> str:
    return json.dumps([[turn["role"], turn["content"]] for turn in turns])


def open_spec(spec: ModelSpec, folder: Path) -> Scripted:
    """Return the model that `spec` describes; a relative file starts at `folder`."""
    shuffle = spec.options.get("shuffle")
    if shuffle is not None and (not isinstance(shuffle, int) or isinstance(shuffle, bool)):
        raise RecipeError(f"'shuffle' is {shuffle!r}; it must be a whole number, the seed")
    try:
        data = (folder / spec.name).read_bytes()
    except OSError as error:
        raise RecipeError(
            f"cannot read the scripted replies '{spec.name}' ({error.strerror}); write "
            "scripted:FILE with the name of a JSON Lines file"
        ) from None
    lines = []
    texts = data.removeprefix(BOM).split(b"\n")
    head = _recorded(texts[0])
    for number, text in enumerate(texts, 1):
        if not text.strip() or (head is not None and number == 1):
            continue
        try:
            lines.append(_checked(json.loads(text), number))
        except RecursionError:
            raise RecipeError("not JSON (nested too deeply)", file=spec.name, line=number) from None
        except ValueError as error:
            broken = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
            wrong = f"not JSON ({error})" if broken else str(error)
            raise RecipeError(wrong, file=spec.name, line=number) from None
    return Scripted(_info(spec, head), lines, spec, folder)


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the model: of a recording, whose replies these are."""
    try:
        with (folder / spec.name).open("rb") as file:
            return _info(spec, _recorded(file.readline().removeprefix(BOM)))
    except OSError:
        return _info(spec, None)  # Whoever opens it will say so.


def _info(spec: ModelSpec, head: Mapping[str, Any] | None) -> ModelInfo:
    """Return what is known, with the recorded model's identity where the mapping gives none."""
    defaults = {**(head["defaults"] if head else {}), **spec.defaults}
    if "stop" in defaults:
        defaults["stop"] = tuple(defaults["stop"])
    own = spec.identity != f"scripted:{spec.name}"
    return ModelInfo(
        identity=spec.identity if own or not head else str(head["identity"]),
        forms=FORMS,
        defaults=defaults,
        price=spec.price,
        max_concurrency=spec.max_concurrency or 64,
        retry_delay=0.001,
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
    )


def identity_line(identity: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first line of a recording."""
    return {"model": {"identity": identity, "defaults": dict(defaults)}}


def _recorded(text: bytes) -> dict[str, Any] | None:
    """Return what a recording's first line says, or `None` for any other line."""
    try:
        head = json.loads(text)["model"]
        identity_line(head["identity"], head["defaults"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return dict(head)


def _checked(data: Any, number: int) -> ScriptedLine:
    """Return one line of the file, or raise `ValueError` with what is wrong with it."""
    _only(data, _LINE, "a line")
    when = _only(data.get("when"), _WHEN, "'when'")
    fault, reply = data.get("fault"), data.get("reply")
    if fault not in (None, *FAULTS):
        raise ValueError(f"unknown fault {fault!r}; allowed: {', '.join(FAULTS)}")
    if fault is None and reply is None and data.get("values") is None:
        raise ValueError("the line answers nothing; give it 'reply', 'values' or 'fault'")
    if not (reply is None or isinstance(reply, str) or _are_texts(reply)):
        raise ValueError(
            f"'reply' is {str(reply)[:60]!r}; it must be a string or a list of strings"
        )
    contains = when.get("contains") or []
    contains = [contains] if isinstance(contains, str) else contains
    if not _are_texts(contains):
        raise ValueError("'contains' must be a string or a list of strings")
    usage = _only(data.get("usage") or {}, ("input_tokens", "output_tokens"), "'usage'")
    _typed(data, ("sample", "attempt", "times"), (int,), "a whole number or null")
    _typed(data, ("delay", "retry_after"), (int, float), "a number of seconds")
    _typed(data, ("mass",), (int, float), "a probability")
    _typed(data, ("values", "cut", "read", "floored", "logprobs"), (list,), "a list")
    if any(v is None for v in data.get("values") or ()):
        raise ValueError("'values' must hold numbers (-Infinity is one), or lists of them")
    _typed(data, ("finish_reason", "message"), (str,), "a text")
    _typed(usage, tuple(usage), (int,), "a whole number")
    exact: list[tuple[str, str]] = [
        (name, str(when[name])) for name in ("prompt", "key") if name in when
    ]
    if "messages" in when:
        try:
            exact.insert(0, ("messages", _canonical(when["messages"])))
        except (TypeError, KeyError):
            raise ValueError(
                "'messages' must be a list of mappings with role and content"
            ) from None
    return ScriptedLine(
        number=number,
        contains=tuple(contains),
        exact=tuple(exact),
        sample=data.get("sample"),
        attempt=data.get("attempt"),
        replies=tuple(reply) if isinstance(reply, list) else reply,
        values=tuple(data["values"]) if data.get("values") is not None else None,
        cut=tuple(data.get("cut") or ()),
        read=tuple((number, tokens) for number, tokens in data.get("read") or ()),
        mass=data.get("mass"),
        floored=tuple(data.get("floored") or ()),
        logprobs=tuple(data.get("logprobs") or ()),
        usage=usage,
        finish_reason=data.get("finish_reason") or "stop",
        delay=float(data.get("delay") or 0.0),
        fault=fault,
        times=data.get("times"),
        retry_after=data.get("retry_after"),
        message=data.get("message"),
    )


def _only(value: Any, allowed: tuple[str, ...], what: str) -> dict[str, Any]:
    """Return a mapping, once it is seen to be one with no other keys than those allowed."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {type(value).__name__}; it must be a mapping")
    for name in value:
        if name not in allowed:
            raise ValueError(f"unknown '{name}' in {what}; allowed: {', '.join(allowed)}")
    return value


def _typed(
    data: dict[str, Any], names: tuple[str, ...], types: tuple[type, ...], what: str
) -> None:
    for name in names:
        value = data.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
            raise ValueError(f"'{name}' is {value!r}; it must be {what}")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
