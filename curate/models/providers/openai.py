"""`openai:MODEL`: any server that speaks OpenAI's protocol.

`base_url` names the server (OpenAI's own by default), `api_key_env` the variable that holds the
key. Without `api_key_env` only OpenAI itself is sent `OPENAI_API_KEY`: another server never sees a
key that was not meant for it. There are no retries here: each attempt is reserved and counted by
the engine. A long reply is streamed, so that only silence times out, not its length. What a server
lacks and another form of the request does without is learnt from its first refusal.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from curate.ask import Ask, Reply, Request
from curate.errors import ModelError, PermanentFault, RecipeError, TemporaryFault
from curate.models.model import ModelInfo, ModelSpec
from curate.models.prices import HOME as HOME_HOST
from curate.models.prices import discount_of, price_of
from curate.models.providers.openai_batch import MOST_REQUESTS, OpenAIBatch
from curate.models.remote.faults import (
    ADAPTED,
    FEATURES,
    LENGTH,
    SCHEMA,
    STREAM,
    StatusError,
    fault_of,
    lacking,
    spent_until,
)
from curate.models.remote.wire import (
    CHAT,
    EMBEDDING,
    Assembly,
    body_of,
    malformed,
    path_of,
    reply_of,
)

if TYPE_CHECKING:
    from curate.models.remote.connection import Connection

OPTIONS = ("idle_timeout", "stream", "length_field", "batch_size", "batch")
# Texts of one `Embed`: what servers take that state no limit of their own.
EMBED_TEXTS = 32
HOME = "https://api.openai.com/v1"
MAX_CONCURRENCY = 64
IDLE_SECONDS = 300.0
# A reply of at most so many tokens is fetched in one piece: at 4 tokens a second it still comes
# within `IDLE_SECONDS`, and streaming costs a parse for every token.
WHOLE_TOKENS = 1024
MAX_HOLD_SECONDS = 60.0
_MASK = "***"


class OpenAI:
    """A model behind a server; connections open with the first request."""

    def __init__(self, info: ModelInfo, spec: ModelSpec, key: str | None) -> None:
        self.info = info
        self.name, self.base_url = spec.name, spec.base_url or HOME
        self._idle = float(spec.options.get("idle_timeout", IDLE_SECONDS))
        self._stream: bool | None = spec.options.get("stream")
        home_field = "max_completion_tokens" if _is_home(spec) else "max_tokens"
        self._length_field = str(spec.options.get("length_field", home_field))
        self._key = key
        self.batch = OpenAIBatch(self.name, self.base_url, key, self._length_field, self._idle)
        self._connection: Connection | None = None
        self._lacks: dict[str, str] = {}
        self._held_until = 0.0
        self._renamed = False

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the server's reply, or raise what its failure means."""
        path = path_of(request)
        body = self._servable(body_of(request, self.name, self._length_field))
        if (pause := self._held_until - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        fetch = self._fetched
        if self._streams(request, path):
            fetch = self._streamed
            body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        try:
            reply = reply_of(request, await fetch(self._connected(), path, body))
        except Exception as error:
            # Neither the error's own message nor its chain is kept: they may quote headers.
            raise self._fault(error, body) from None
        if self._key and self._key in reply.text:  # JSON may have spelt it in another way.
            return dataclasses.replace(reply, text=self._masked(reply.text))
        return reply

    async def close(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()
        await self.batch.close()

    # -- the wire ---------------------------------------------------------------------------------

    def _streams(self, request: Request, path: str) -> bool:
        if path == EMBEDDING or not isinstance(request, Ask):
            return False
        if self._stream is not None:
            return self._stream
        return request.max_tokens is None or request.max_tokens > WHOLE_TOKENS

    def _connected(self) -> Connection:
        if self._connection is None:
            from curate.models.remote.connection import Connection

            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            self._connection = Connection(self.base_url, headers, self._idle)
        return self._connection

    async def _fetched(self, connection: Connection, path: str, body: Mapping[str, Any]) -> Any:
        headers, content = await connection.post(path, body)
        self._note(headers)
        return self._parsed(content)

    async def _streamed(self, connection: Connection, path: str, body: Mapping[str, Any]) -> Any:
        assembly = Assembly(chat=path == CHAT)
        async with connection.stream(path, body) as response:
            self._note(response.headers)
            if "event-stream" not in response.headers.get("content-type", ""):
                return self._parsed(await response.read())  # It answered in one piece.
            async for line in response.content:
                if line.startswith(b"data:") and (event := line[5:].strip()) != b"[DONE]":
                    assembly.add(self._parsed(event))
        return json.loads(self._masked(json.dumps(assembly.whole())))

    def _parsed(self, content: bytes) -> Any:
        if self._key and self._key.encode() in content:
            content = content.replace(self._key.encode(), _MASK.encode())
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            head = content[:80].decode("utf-8", "replace")
            raise malformed(f"no JSON: {' '.join(head.split())!r}") from None

    # -- what the server told ---------------------------------------------------------------------

    def _note(self, headers: Mapping[str, str]) -> None:
        """Hold further requests while the server says that its allowance is used up."""
        if wait := spent_until(headers):
            until = time.monotonic() + min(wait, MAX_HOLD_SECONDS)
            self._held_until = max(self._held_until, until)

    def _fault(self, error: Exception, body: Mapping[str, Any]) -> ModelError:
        if isinstance(error, StatusError):
            error.said = self._masked(error.said)
        where = f"{self.name} at {self.base_url}"
        fault = error if isinstance(error, ModelError) else fault_of(error, where)
        if isinstance(error, StatusError) and isinstance(fault, PermanentFault):
            feature = lacking(body, error.said)
            if feature is not None:
                return self._learnt(feature, error.said[:200], body)
        # The class and its cause stay; only the text may hold what a server quoted of the key.
        fault.args = (self._masked(str(fault)),)
        return fault

    def _servable(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return `body` without a schema that the server is known to refuse.

        Whoever asked checks the reply against it in any case; nothing else can be left out.
        """
        for feature in self._lacks:
            if feature != SCHEMA and any(name in body for name in FEATURES[feature]):
                raise self._without(feature)
        if SCHEMA not in self._lacks:
            return body
        return {name: value for name, value in body.items() if name not in FEATURES[SCHEMA]}

    def _learnt(self, feature: str, said: str, body: Mapping[str, Any]) -> ModelError:
        """Return the fault of the request by which a lack came out; the next try does without."""
        where = f"{self.name} at {self.base_url}"
        if feature == LENGTH and "prompt" not in body and self._may_rename(body):
            without = f"{feature} ({said}); it is sent {self._length_field} from now on"
        elif feature == STREAM:
            self._stream = False
            without = f"{feature} ({said}); it is asked for whole replies from now on"
        elif feature == SCHEMA:
            self._lacks[feature] = said
            without = f"{feature} ({said}); it is asked without, and its replies are checked here"
        else:
            self._lacks[feature] = said
            return self._without(feature)
        return TemporaryFault(f"{where} does not serve {without}", cause=ADAPTED)

    def _may_rename(self, body: Mapping[str, Any]) -> bool:
        """Call a chat's length by its other name, once; tell whether `body` has the name of old."""
        if not self._renamed:
            self._renamed = True
            self._length_field = next(n for n in FEATURES[LENGTH] if n != self._length_field)
        return self._length_field not in body

    def _without(self, feature: str) -> PermanentFault:
        return PermanentFault(
            f"{self.name} at {self.base_url} does not serve {feature} ({self._lacks[feature]}); "
            "leave it out of the step, or use a server that has it"
        )

    def _masked(self, text: str) -> str:
        return text.replace(self._key, _MASK) if self._key else text


def open_spec(spec: ModelSpec, folder: Path) -> OpenAI:
    """Return the model that `spec` describes; `folder` is not needed."""
    if not spec.name:
        raise RecipeError("'openai:' names no model; write openai:MODEL")
    _check_options(spec.options)
    _check_environment(spec)
    variable = spec.api_key_env or ("OPENAI_API_KEY" if _is_home(spec) else None)
    key = os.environ.get(variable, "").strip() if variable else None
    if variable and not key:
        raise RecipeError(
            f"the environment variable {variable} holds no key for openai:{spec.name}; set it, "
            "name another one in 'api_key_env', or give 'base_url' for a server that needs none"
        )
    return OpenAI(describe(spec, folder), spec, key)


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the model; its price is the recipe's or the table's."""
    discount = discount_of(spec)
    # In a batch job nothing waits for a place: there it is how many requests a job holds.
    most = MAX_CONCURRENCY if discount is None else MOST_REQUESTS
    return ModelInfo(
        identity=spec.identity,
        forms=("ask", "embed", "likelihood"),
        defaults=spec.defaults,
        price=price_of(spec),
        max_concurrency=spec.max_concurrency or most,
        requests_per_minute=spec.requests_per_minute,
        tokens_per_minute=spec.tokens_per_minute,
        embed_texts=int(spec.options.get("batch_size", EMBED_TEXTS)),
        discount=discount,
    )


def _is_home(spec: ModelSpec) -> bool:
    """Tell whether a model is asked at OpenAI itself."""
    return not spec.base_url or urlsplit(spec.base_url).hostname == HOME_HOST


def _check_environment(spec: ModelSpec) -> None:
    """Refuse to guess which server is meant: the key of one must not be sent to the other."""
    named = os.environ.get("OPENAI_BASE_URL", "").strip()
    if spec.base_url or not named or urlsplit(named).hostname == HOME_HOST:
        return
    raise RecipeError(
        f"openai:{spec.name} has no 'base_url', and OPENAI_BASE_URL names another server than "
        f"OpenAI's; a recipe names its server itself, because replies depend on it: write "
        f"'base_url: URL' with that address, or with {HOME}"
    )


def _check_options(options: Mapping[str, Any]) -> None:
    idle = options.get("idle_timeout", IDLE_SECONDS)
    if isinstance(idle, bool) or not isinstance(idle, int | float) or not 0 < idle < 1e6:
        raise RecipeError(f"'idle_timeout' is {idle!r}; it must be a number of seconds above 0")
    stream, field = options.get("stream"), options.get("length_field", "max_tokens")
    if stream is not None and not isinstance(stream, bool):
        raise RecipeError(f"'stream' is {stream!r}; it must be true or false")
    if field not in ("max_tokens", "max_completion_tokens"):
        raise RecipeError(
            f"'length_field' is {field!r}; allowed: max_tokens, max_completion_tokens"
        )
    _check_batch(options.get("batch"))


def _check_batch(batch: Any) -> None:
    if batch is None or isinstance(batch, bool):
        return
    given = batch.get("discount") if isinstance(batch, Mapping) and len(batch) == 1 else None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1:
        raise RecipeError(
            f"'batch' is {batch!r}; it must be true, false, or {{discount: SHARE}}, the part of "
            "the price that is taken off (0.5 for half)"
        )
