"""`openai:MODEL`: any OpenAI-compatible server, by the openai library.

`base_url` names the server (OpenAI's own by default), `api_key_env` the variable that holds the
key. Without `api_key_env` only OpenAI itself is sent `OPENAI_API_KEY`: another server never sees a
key that was not meant for it. The library's own retries are off: each attempt is reserved and
counted by the engine. A long reply is streamed, so that only silence times out, not its length.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.ask import Ask, Reply, Request
from curate.errors import ModelError, PermanentFault, RecipeError
from curate.models.faults import FEATURES, fault_of, lacking, spent_until, told
from curate.models.model import ModelSpec
from curate.models.prices import known_price
from curate.models.wire import CHAT, EMBEDDING, Assembly, body_of, malformed, path_of, reply_of

OPTIONS = ("idle_timeout", "stream", "length_field")
HOME = "https://api.openai.com/v1"
MAX_CONCURRENCY = 64
IDLE_SECONDS = 300.0
CONNECT_SECONDS = 10.0
# A reply of at most so many tokens is fetched in one piece: at 4 tokens a second it still comes
# within `IDLE_SECONDS`, and streaming costs a parse for every token.
WHOLE_TOKENS = 1024
MAX_HOLD_SECONDS = 60.0
_MASK = "***"


class OpenAI:
    """A model behind a server; connections open with the first request."""

    def __init__(self, spec: ModelSpec, key: str | None) -> None:
        self.identity, self.defaults = spec.identity, spec.defaults
        self.price = spec.price or known_price(spec.name, spec.base_url)
        self.max_concurrency = spec.max_concurrency or MAX_CONCURRENCY
        self.retry_delay = 0.5
        self.name, self.base_url = spec.name, spec.base_url or HOME
        self._idle = float(spec.options.get("idle_timeout", IDLE_SECONDS))
        self._stream: bool | None = spec.options.get("stream")
        home_field = "max_tokens" if spec.base_url else "max_completion_tokens"
        self._length_field = str(spec.options.get("length_field", home_field))
        self._key = key
        self._client: Any = None
        self._raw: Any = None
        self._lacks: dict[str, str] = {}
        self._held_until = 0.0

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the server's reply, or raise what its failure means."""
        path = path_of(request)
        body = body_of(request, self.name, self._length_field)
        self._refuse_what_lacks(body)
        if self._client is None:
            self._client = self._connect()
        if (pause := self._held_until - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        try:
            fetch = self._streamed if self._streams(request, path) else self._fetched
            data = await fetch(path, body)
        except ModelError:
            raise
        except Exception as error:
            # Neither the library's message nor its chain is kept: they may quote headers.
            raise self._fault(error, body) from None
        return reply_of(request, data)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    # -- the wire ---------------------------------------------------------------------------------

    def _streams(self, request: Request, path: str) -> bool:
        if path == EMBEDDING or not isinstance(request, Ask):
            return False
        if self._stream is not None:
            return self._stream
        return request.max_tokens is None or request.max_tokens > WHOLE_TOKENS

    async def _fetched(self, path: str, body: Mapping[str, Any]) -> Any:
        # Not the library's typed methods: checking and copying each message and each field of the
        # reply takes as long as everything else together.
        response = await self._client.post(f"/{path}", body=body, cast_to=self._raw)
        self._note(response.headers)
        return self._parsed(response.content)

    async def _streamed(self, path: str, body: Mapping[str, Any]) -> Any:
        assembly = Assembly(chat=path == CHAT)
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        resource = self._client.chat.completions if path == CHAT else self._client.completions
        create = resource.with_streaming_response.create
        async with create(**_arguments(path, body)) as response:
            self._note(response.headers)
            if "event-stream" not in response.headers.get("content-type", ""):
                return self._parsed(await response.read())  # It answered in one piece.
            async for line in response.iter_lines():
                if line.startswith("data:") and (event := line[5:].strip()) != "[DONE]":
                    assembly.add(self._parsed(event.encode()))
        return json.loads(self._masked(json.dumps(assembly.whole())))

    def _parsed(self, content: bytes) -> Any:
        if self._key and self._key.encode() in content:
            content = content.replace(self._key.encode(), _MASK.encode())
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            head = content[:80].decode("utf-8", "replace")
            raise malformed(f"no JSON: {' '.join(head.split())!r}") from None

    def _connect(self) -> Any:
        import openai

        timeout = openai.Timeout(self._idle, connect=CONNECT_SECONDS)
        # The library was built on httpx or httpx2; its classes are those the library took.
        loaded = (sys.modules.get(name) for name in ("httpx2", "httpx"))
        httpx: Any = next(m for m in loaded if m and m.Timeout is openai.Timeout)
        self._raw = httpx.Response
        # A connection for each place, all kept open. aiohttp: httpx's own pool looks at every
        # connection for every request, which halves the rate at 64 of them.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self.max_concurrency)
        return openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAioHttpClient(timeout=timeout, limits=limits),
        )

    # -- what the server told ---------------------------------------------------------------------

    def _note(self, headers: Mapping[str, str]) -> None:
        """Hold further requests while the server says that its allowance is used up."""
        if wait := spent_until(headers):
            until = time.monotonic() + min(wait, MAX_HOLD_SECONDS)
            self._held_until = max(self._held_until, until)

    def _fault(self, error: Exception, body: Mapping[str, Any]) -> ModelError:
        fault = fault_of(error, f"{self.name} at {self.base_url}")
        said = told(error)
        if isinstance(fault, PermanentFault) and (feature := lacking(body, said)):
            self._lacks[feature] = self._masked(said)
            return self._without(feature)
        # The class and its cause stay; only the text may hold what a server quoted of the key.
        fault.args = (self._masked(str(fault)),)
        return fault

    def _refuse_what_lacks(self, body: Mapping[str, Any]) -> None:
        for feature in self._lacks:
            if any(name in body for name in FEATURES[feature]):
                raise self._without(feature)

    def _without(self, feature: str) -> PermanentFault:
        return PermanentFault(
            f"{self.name} at {self.base_url} does not serve {feature} ({self._lacks[feature]}); "
            "leave it out of the step, or use a server that has it"
        )

    def _masked(self, text: str) -> str:
        return text.replace(self._key, _MASK) if self._key else text


def _arguments(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the library's arguments; what it need not look at goes past its typed checks."""
    extra = {name: value for name, value in body.items() if name not in ("model", "stream")}
    named = "messages" if path == CHAT else "prompt"
    return {"model": body["model"], named: [], "stream": True, "extra_body": extra}


def open_spec(spec: ModelSpec, folder: Path) -> OpenAI:
    """Return the model that `spec` describes; `folder` is not needed."""
    if not spec.name:
        raise RecipeError("'openai:' names no model; write openai:MODEL")
    _check_options(spec.options)
    variable = spec.api_key_env or (None if spec.base_url else "OPENAI_API_KEY")
    key = os.environ.get(variable, "").strip() if variable else None
    if variable and not key:
        raise RecipeError(
            f"the environment variable {variable} holds no key for openai:{spec.name}; set it, "
            "name another one in 'api_key_env', or give 'base_url' for a server that needs none"
        )
    return OpenAI(spec, key)


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
