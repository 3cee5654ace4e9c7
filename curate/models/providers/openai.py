"""`openai:MODEL`: any server that speaks OpenAI's protocol.

`base_url` names the server (OpenAI's own by default), `api_key_env` the variable that holds the
key. Without `api_key_env` only OpenAI itself is sent `OPENAI_API_KEY`: another server never sees a
key that was not meant for it. There are no retries here: each attempt is reserved and counted by
the engine. A long reply is streamed, so that only silence times out, not its length. A server that
takes raw text alone is given chats by the model's `template` or `tokenizer`.

What a server lacks is believed where structured fields of its refusal name it. A refusal in mere
words decides about its own request only: that one is tried without what may be lacking, and when
two have passed so, the others are sent without it, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from curate.ask import Ask, Choose, Embed, Likelihood, Reply, Request
from curate.errors import ModelError, NotSent, PermanentFault, RecipeError, TemporaryFault
from curate.models.model import ModelInfo, ModelSpec
from curate.models.prices import HOME as HOME_HOST
from curate.models.prices import discount_of, price_of
from curate.models.providers.openai_batch import MOST_REQUESTS, OpenAIBatch
from curate.models.remote.chat_template import template_identity, template_of
from curate.models.remote.faults import (
    ADAPTED,
    FEATURES,
    LENGTH,
    LOGPROBS,
    SCHEMA,
    STREAM,
    StatusError,
    fault_of,
    named_lack,
    spent_until,
)
from curate.models.remote.masking import Secrets
from curate.models.remote.wire import CHAT, Assembly, body_of, malformed, path_of, reply_of
from curate.system.credentials import remember_secret
from curate.system.proxy import proxy_of

if TYPE_CHECKING:
    from curate.models.remote.chat_template import ChatTemplate
    from curate.models.remote.connection import Connection

OPTIONS = (
    "idle_timeout", "stream", "length_field", "batch_size", "batch", "template", "tokenizer",
)  # fmt: skip
IN_PROCESS = False

# Texts of one `Embed`: what servers take that state no limit of their own.
EMBED_TEXTS = 32
HOME = "https://api.openai.com/v1"
MAX_CONCURRENCY = 64
IDLE_SECONDS = 300.0
# A reply of at most so many tokens is fetched in one piece: at 4 tokens a second it still comes
# within `IDLE_SECONDS`, and streaming costs a parse for every token.
WHOLE_TOKENS = 1024
MAX_HOLD_SECONDS = 60.0
# A reply has to be whole within so many times the time that a server may be silent.
DEADLINES = 12
# Requests that must pass without a feature, refused with it, before others are sent without it.
ENOUGH_PROOF = 2
# What an answer may take: some room, and for each token its text or event, for each that comes with
# the likeliest others these, for each text its vector.
ROOM_BYTES, TOKEN_BYTES, LIKELY_BYTES, VECTOR_BYTES = 1 << 20, 1024, 4096, 256 << 10
# What is held as a whole, unlike a stream; and how long a reply may be where nothing says it.
MOST_BYTES, LONGEST_TOKENS = 64 << 20, 1 << 17


class OpenAI:
    """A model behind a server; connections open with the first request."""

    def __init__(
        self, info: ModelInfo, spec: ModelSpec, key: str | None, template: ChatTemplate | None
    ) -> None:
        self.info = info
        self.name, self.base_url = spec.name, spec.base_url or HOME
        self._where = f"{self.name} at {self.base_url}"
        self._idle = float(spec.options.get("idle_timeout", IDLE_SECONDS))
        self._stream: bool | None = spec.options.get("stream")
        home_field = "max_completion_tokens" if _is_home(spec) else "max_tokens"
        self._length_field = str(spec.options.get("length_field", home_field))
        self._key, self._template = key, template
        proxy = proxy_of(self.base_url)
        self._proxy, self._secrets = proxy, Secrets(key, proxy)
        self.batch = OpenAIBatch(
            self.name, self.base_url, key, self._length_field, self._idle, proxy
        )
        self._connection: Connection | None = None
        self._held_until = 0.0
        # What the server lacks, with its words; what it has served; what each refused request is
        # tried without; and how many have passed so.
        self._lacks: dict[str, str] = {}
        self._served: set[str] = set()
        self._trials: dict[str, list[str]] = {}
        self._passed: Counter[str] = Counter()

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the server's reply, or raise what its failure means."""
        path, spared = path_of(request, self._template), self._spared(request)
        without = (spared & set(self._lacks)) | set(self._trials.get(key, ())[-1:])
        other = LENGTH in without
        length_field = next(n for n in FEATURES[LENGTH] if (n == self._length_field) != other)
        body = body_of(request, self.name, length_field, template=self._template, without=without)
        if isinstance(request, Ask) and STREAM not in without:
            long = request.max_tokens is None or request.max_tokens > WHOLE_TOKENS
            if self._stream or (self._stream is None and long):
                body |= {"stream": True, "stream_options": {"include_usage": True}}
        for feature in (_features(body) & set(self._lacks)) - {LENGTH}:
            raise NotSent(self._lacking(feature))
        if (pause := self._held_until - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        fault: Exception | None = None
        try:
            async with asyncio.timeout(DEADLINES * self._idle):
                fetched = self._fetched(path, body, _most_bytes(request))
                reply = reply_of(request, await fetched, self._template, self._secrets.masked)
            reply = self._secrets.masked_reply(reply)
        except Exception as error:
            fault = self._fault(error, request, body, key)
        if fault is not None:
            # Neither the error's own message nor its chain is kept: they may quote headers. And all
            # that was read would live as long as the frames, which is until the next attempt.
            fault.__context__ = None
            raise fault.with_traceback(None)
        if isinstance(request, Choose) and not reply.values and LOGPROBS not in without:
            # They were left out silently; a text of one token may not be an option yet.
            self._trials[key] = [*self._trials.get(key, ()), LOGPROBS]
            said = f"{self._where} gave no log-probabilities; the choice is read from a text"
            raise TemporaryFault(said, cause="malformed")
        self._served |= _features(body)
        if trial := self._trials.pop(key, None):
            self._passed[trial[-1]] += 1
            if self._passed[trial[-1]] >= ENOUGH_PROOF:
                self._lacks.setdefault(trial[-1], "requests were refused with it only")
        return reply

    async def close(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()
        await self.batch.close()

    # -- the wire ---------------------------------------------------------------------------------

    async def _fetched(self, path: str, body: Mapping[str, Any], most: int) -> Any:
        """Return the JSON of an answer of at most `most` bytes, put together if it is streamed."""
        from curate.models.remote.connection import Connection, bounded

        if self._connection is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            self._connection = Connection(self.base_url, headers, self._idle, self._proxy)
        async with self._connection.opened(path, body) as response:
            # Hold further requests while the server says that its allowance is used up.
            if wait := spent_until(response.headers):
                until = time.monotonic() + min(wait, MAX_HOLD_SECONDS)
                self._held_until = max(self._held_until, until)
            events = "event-stream" in response.headers.get("content-type", "")
            if "stream" not in body or not events:
                most = min(most, MOST_BYTES)
                return self._parsed(await bounded(response, most, self._connection.held))
            assembly = Assembly(chat=path == CHAT, hide=self._secrets.masked)
            with self._connection.held.counted(most, "a stream") as count:
                async for line in response.content:
                    count(len(line), 0)
                    if line.startswith(b"data:") and (event := line[5:].strip()) != b"[DONE]":
                        count(0, assembly.add(self._parsed(event), len(event)))
                    elif line.startswith(b"data:"):
                        assembly.done = True
        return assembly.whole()

    def _parsed(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            head = self._secrets.masked(content[:4000].decode("utf-8", "replace"))[:80]
            raise malformed(f"no JSON: {' '.join(head.split())!r}") from None

    # -- what a refusal means ---------------------------------------------------------------------

    def _fault(
        self, error: Exception, request: Request, body: Mapping[str, Any], key: str
    ) -> ModelError:
        """Return what an error means; a refused request may be tried again in another form."""
        if isinstance(error, StatusError):
            error.said = self._secrets.masked(error.said)
        fault = error if isinstance(error, ModelError) else fault_of(error, self._where)
        # The class and its cause stay; only the text may hold what a server quoted of the key.
        fault.args = (self._secrets.masked(str(fault)),)
        if not isinstance(error, StatusError) or not isinstance(fault, PermanentFault):
            return fault
        if fault.for_all or error.status not in (400, 415, 422, 500, 501):
            return fault
        spared, tried = self._spared(request), self._trials.get(key, [])
        lack = named_lack(body, error)
        if lack is not None and not (lack == LENGTH and "messages" not in body):
            self._lacks.setdefault(lack, error.said[:200])
            said = self._lacking(lack)
            # A length that is refused by both of its names is lacking.
            if lack not in spared or (lack == LENGTH and self._length_field not in body):
                return PermanentFault(said)
            return TemporaryFault(f"{said}; it is asked without from now on", cause=ADAPTED)
        used = _features(body)
        for feature in (SCHEMA, LOGPROBS, STREAM):
            if feature in spared & used and feature not in self._served and feature not in tried:
                self._trials[key] = [*tried, feature]
                return TemporaryFault(f"{fault}; it is tried without {feature}", cause=ADAPTED)
        self._trials.pop(key, None)
        return fault

    @staticmethod
    def _spared(request: Request) -> set[str]:
        """Return the features that `request` can do without, or under another name."""
        found = {SCHEMA, STREAM} | ({LOGPROBS} if isinstance(request, Choose) else set())
        chat = isinstance(request, Ask | Choose) and request.prompt is None
        return found | ({LENGTH} if chat else set())

    def _lacking(self, feature: str) -> str:
        said = self._lacks[feature]
        return (
            f"{self._where} does not serve {feature} ({said}); leave it out of the step, or use a "
            "server that has it"
        )


def _features(body: Mapping[str, Any]) -> set[str]:
    """Return the features that a request asks for."""
    return {what for what, names in FEATURES.items() if not body.keys().isdisjoint(names)}


def _most_bytes(request: Request) -> int:
    """Return the most bytes that an answer to `request` may take."""
    if isinstance(request, Embed):
        return ROOM_BYTES + VECTOR_BYTES * len(request.texts)
    tokens, likely = 1, True
    if isinstance(request, Ask):
        tokens, likely = request.max_tokens or LONGEST_TOKENS, request.logprobs is not None
    if isinstance(request, Likelihood):  # The prompt comes back, with its log-probabilities.
        tokens += len(request.prompt or "") + len(request.answer)
    return ROOM_BYTES + (LIKELY_BYTES if likely else TOKEN_BYTES) * tokens


def open_spec(spec: ModelSpec, folder: Path) -> OpenAI:
    """Return the model that `spec` describes; `folder` is not needed."""
    if not spec.name:
        raise RecipeError("'openai:' names no model; write openai:MODEL")
    idle = spec.options.get("idle_timeout", IDLE_SECONDS)
    if isinstance(idle, bool) or not isinstance(idle, int | float) or not 0 < idle < 1e6:
        raise RecipeError(f"'idle_timeout' is {idle!r}; it must be a number of seconds above 0")
    stream, field = spec.options.get("stream"), spec.options.get("length_field", "max_tokens")
    if stream is not None and not isinstance(stream, bool):
        raise RecipeError(f"'stream' is {stream!r}; it must be true or false")
    if field not in ("max_tokens", "max_completion_tokens"):
        raise RecipeError(
            f"'length_field' is {field!r}; allowed: max_tokens, max_completion_tokens"
        )
    batch = spec.options.get("batch")
    if not isinstance(batch, bool | None):
        share = batch.get("discount") if isinstance(batch, Mapping) and len(batch) == 1 else None
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            raise RecipeError(
                f"'batch' is {batch!r}; it must be true, false, or {{discount: SHARE}}, the part "
                "of the price that is taken off (0.5 for half)"
            )
    # Which server is meant is not guessed: the key of one must not be sent to the other.
    named = os.environ.get("OPENAI_BASE_URL", "").strip()
    if named and not spec.base_url and urlsplit(named).hostname != HOME_HOST:
        raise RecipeError(
            f"openai:{spec.name} has no 'base_url', and OPENAI_BASE_URL names another server than "
            "OpenAI's; a recipe names its server itself, because replies depend on it: write "
            f"'base_url: URL' with that address, or with {HOME}"
        )
    variable = spec.api_key_env or ("OPENAI_API_KEY" if _is_home(spec) else None)
    key = os.environ.get(variable, "").strip() if variable else None
    if variable and not key:
        raise RecipeError(
            f"the environment variable {variable} holds no key for openai:{spec.name}; set it, "
            "name another one in 'api_key_env', or give 'base_url' for a server that needs none"
        )
    remember_secret(key, variable or "")
    return OpenAI(describe(spec, folder), spec, key, template_of(spec.options, folder))


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the model; its price is the recipe's or the table's."""
    discount = discount_of(spec)
    unnamed = spec.identity.startswith(f"openai:{spec.name}")
    # In a batch job nothing waits for a place: there it is how many requests a job holds.
    most = MAX_CONCURRENCY if discount is None else MOST_REQUESTS
    return ModelInfo(
        # Who names an identity says that replies by any template are the same.
        identity=spec.identity + (template_identity(spec.options, folder) if unnamed else ""),
        forms=("ask", "choose", "embed", "likelihood"),
        defaults=spec.defaults,
        price=price_of(spec),
        max_concurrency=spec.max_concurrency or most,
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
        embed_texts=int(spec.options.get("batch_size", EMBED_TEXTS)),
        discount=discount,
        chat_only=not {"template", "tokenizer"} & set(spec.options),
    )


def _is_home(spec: ModelSpec) -> bool:
    """Tell whether a model is asked at OpenAI itself."""
    return not spec.base_url or urlsplit(spec.base_url).hostname == HOME_HOST
