"""The Batch API of OpenAI-compatible servers: files up, jobs made and found, answers down.

On the openai library, whose Files and Batches interfaces are worth having; chat itself does
without it (connection.py). It is imported when the first job is sent. It retries nothing here: a
job that was made twice would be paid for twice, so whoever gets no answer looks for the job by its
name before making it again.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

from curate.ask import Reply, Request
from curate.errors import ModelError, PermanentFault, RecipeError, TemporaryFault
from curate.models.remote.faults import StatusError, fault_of
from curate.models.remote.masking import Secrets
from curate.models.remote.wire import body_of, malformed, path_of, reply_of

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

# What one job may hold: https://platform.openai.com/docs/guides/batch, "Rate limits".
MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000
# Where a job carries its name, so that it is found again.
NAME = "curate_job"
ENDED = ("completed", "failed", "expired", "cancelled")
# Clocks differ; a job in the list that is older than this was not made by us.
SKEW_SECONDS = 86_400
CONNECT_SECONDS = 10.0
# How a server answers that does not know of files.
_NOT_THERE = (404, 405, 501)
# What the server says of requests that it did not come to within the job's time.
_NOT_REACHED = ("batch_expired", "batch_cancelled")

T = TypeVar("T")


class Missing(PermanentFault):
    """Say that the server does not have a job, or a file of it, any more."""


class Refused(NamedTuple):
    """Why a job was refused as a whole; `line` counts from 1 and is `None` where all are meant."""

    code: str
    message: str
    line: int | None = None


class Remote(NamedTuple):
    """A job as the server tells of it; `files` hold its answers, good ones first."""

    id: str
    status: str
    done: int = 0
    total: int = 0
    files: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ENDED


class Answer(NamedTuple):
    """One line of a job's answers: a body with its status, or an error without one (status 0)."""

    id: str
    status: int
    body: Any
    code: str = ""
    message: str = ""


class OpenAIBatch:
    """The batch side of one model behind one server."""

    def __init__(
        self,
        name: str,
        base_url: str,
        key: str | None,
        length_field: str,
        idle_seconds: float,
        proxy: str | None = None,
    ) -> None:
        """Open nothing yet."""
        self.name, self.base_url = name, base_url
        self._key, self._length_field, self._idle = key, length_field, idle_seconds
        self._proxy, self._secrets = proxy, Secrets(key, proxy)
        self._client: AsyncOpenAI | None = None

    # -- what is sent -----------------------------------------------------------------------------

    @staticmethod
    def path(request: Request) -> str:
        """Return the endpoint that answers `request`; a job has one for all its lines."""
        return f"/v1/{path_of(request)}"

    def line(self, request: Request, name: str) -> bytes:
        """Return the line of a job's file that asks `request` under `name`."""
        body = body_of(request, self.name, self._length_field)
        line = {"custom_id": name, "method": "POST", "url": self.path(request), "body": body}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    async def upload(self, path: Path) -> str:
        """Send a job's file and return what the server calls it."""
        client = await self._opened()
        try:
            with path.open("rb") as file:
                made = await client.files.create(file=(path.name, file), purpose="batch")
            return self._named(made.id)
        except OSError:
            raise
        except Exception as error:
            if (status := getattr(error, "status_code", 0)) in _NOT_THERE:
                raise RecipeError(
                    f"{self.name} at {self.base_url} has no Batch API ({status}); leave 'batch' "
                    "out, or check base_url"
                ) from None
            raise self._fault(error) from None

    async def find_file(self, name: str, since: float) -> str | None:
        """Return the newest file called `name` that was uploaded after `since`, if there is one."""
        client = await self._opened()

        async def look() -> str | None:
            async for file in client.files.list(purpose="batch", order="desc"):
                if file.filename == name:
                    return self._named(file.id)
                if file.created_at < since - SKEW_SECONDS:
                    break
            return None

        return await self._asked(look())

    async def create(self, name: str, file: str, path: str) -> Remote:
        """Make the job called `name` of an uploaded file."""
        client = await self._opened()
        made = client.batches.create(
            completion_window="24h",
            endpoint=path,  # type: ignore[arg-type]  # One of those that `path` returns.
            input_file_id=file,
            metadata={NAME: name},
        )
        return self._remote(await self._asked(made))

    async def find(self, name: str, since: float) -> Remote | None:
        """Return the job that was made under `name` after `since`, if the server has it."""
        client = await self._opened()

        async def look() -> Remote | None:
            async for job in client.batches.list(limit=100):
                if (job.metadata or {}).get(NAME) == name:
                    return self._remote(job)
                if job.created_at < since - SKEW_SECONDS:
                    break
            return None

        return await self._asked(look())

    async def retrieve(self, job: str) -> Remote:
        """Return how a job stands."""
        client = await self._opened()
        return self._remote(await self._asked(client.batches.retrieve(job)))

    # -- what comes back --------------------------------------------------------------------------

    async def answers(self, file: str) -> AsyncIterator[Answer]:
        """Yield the lines of a file of answers; a line that is none is left out."""
        client = await self._opened()
        rest = b""
        try:
            async with client.files.with_streaming_response.content(file) as response:
                # Not its `iter_lines`: that splits at U+2028, too, which JSON text may hold.
                async for piece in response.iter_bytes():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        if (answer := self._answer(line)) is not None:
                            yield answer
        except Exception as error:
            raise self._fault(error) from None
        if (answer := self._answer(rest)) is not None:
            yield answer

    def _answer(self, line: bytes) -> Answer | None:
        try:
            data = json.loads(line.decode("utf-8", "replace"))
            name, response, error = str(data["custom_id"]), data.get("response"), data.get("error")
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return None
        if isinstance(response, dict) and isinstance(response.get("status_code"), int):
            return Answer(name, response["status_code"], response.get("body"))
        error = error if isinstance(error, dict) else {}
        return Answer(name, 0, None, str(error.get("code") or ""), str(error.get("message") or ""))

    def reply(self, request: Request, answer: Answer) -> Reply | ModelError:
        """Return the reply that an answer holds, or what its failure means."""
        found = self._read(request, answer)
        if isinstance(found, Reply):
            return self._secrets.masked_reply(found)
        found.args = (self._secrets.masked(str(found)),)
        return found

    def _read(self, request: Request, answer: Answer) -> Reply | ModelError:
        where = f"{self.name} at {self.base_url}"
        try:
            if answer.status == 0:
                said = answer.message or answer.code or "no reason given"
                if answer.code in _NOT_REACHED:
                    return TemporaryFault(
                        f"{where} did not come to the request ({said})", cause="expired"
                    )
                return TemporaryFault(
                    f"{where} could not answer the request: {said}", cause="server"
                )
            if answer.status >= 400:
                content = json.dumps(answer.body).encode()
                refusal = StatusError(answer.status, {}, content)
                refusal.said = self._secrets.masked(refusal.said)  # Whole, before it is shortened.
                return fault_of(refusal, where)
            return reply_of(request, answer.body, hide=self._secrets.masked)
        except ModelError as error:
            return error

    # -- the connection ---------------------------------------------------------------------------

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def _opened(self) -> AsyncOpenAI:
        if self._client is None:
            # Half a second: not in the event loop, which has others to serve.
            openai = await asyncio.to_thread(importlib.import_module, "openai")
            certificates = await asyncio.to_thread(ssl.create_default_context)
            if self._client is not None:
                return self._client  # Another call was faster; nobody would close a second one.
            parts = urlsplit(self.base_url)
            client: AsyncOpenAI = openai.AsyncOpenAI(
                api_key=self._key or "none",
                admin_api_key="",
                base_url=parts._replace(query="").geturl(),
                default_query=dict(parse_qsl(parts.query)),
                timeout=openai.Timeout(self._idle, connect=CONNECT_SECONDS),
                max_retries=0,
                # A redirect would send the prompts, and the key, to a server nobody named.
                # The proxy is chosen as it is for chats, and so are the certificates.
                http_client=openai.DefaultAsyncHttpxClient(
                    follow_redirects=False,
                    trust_env=False,
                    proxy=self._proxy,
                    verify=certificates,
                ),
            )
            # The library reads these from the environment for any server; a chat sends none.
            client.organization = client.project = None
            client._custom_headers = {}
            self._client = client
        return self._client

    async def _asked(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except Exception as error:
            # Neither the error's own message nor its chain is kept: they may quote headers.
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> ModelError:
        if isinstance(error, ModelError):
            return error
        response, where = getattr(error, "response", None), f"{self.name} at {self.base_url}"
        if response is None:
            # The library wraps what the connection raised, and only that says which it was.
            cause = error.__cause__
            return fault_of(cause if isinstance(cause, Exception) else error, where)
        body = getattr(error, "body", None)
        content = json.dumps(body) if isinstance(body, dict) else str(body or "")
        refusal = StatusError(response.status_code, response.headers, content.encode())
        refusal.said = self._secrets.masked(refusal.said)  # Whole, before it is shortened.
        fault = fault_of(refusal, where)
        fault.args = (self._secrets.masked(str(fault)),)
        return Missing(str(fault)) if response.status_code == 404 else fault

    def _remote(self, job: Batch) -> Remote:
        """Return what is needed of a job; other servers leave out much of what OpenAI says.

        Nothing checks what the library takes over: a field may hold anything.
        """
        try:
            return self._read_job(job)
        except (AttributeError, TypeError):
            raise malformed("a batch job without the expected fields") from None

    def _read_job(self, job: Batch) -> Remote:
        if not job.id or not job.status:
            raise malformed("a batch job without an id or a status")
        files = tuple(name for name in (job.output_file_id, job.error_file_id) if name)
        if job.status == "completed" and not files:
            raise malformed("a completed batch job without its answers")
        counts, errors = job.request_counts, (job.errors.data if job.errors else None) or ()
        hidden = self._secrets.masked
        return Remote(
            self._named(job.id),
            hidden(job.status),
            done=_count(counts.completed) + _count(counts.failed) if counts else 0,
            total=_count(counts.total) if counts else 0,
            files=tuple(map(self._named, files)),
            refused=tuple(
                Refused(
                    hidden(e.code or ""),
                    hidden(e.message or "")[:300],
                    e.line if isinstance(e.line, int) else None,
                )
                for e in errors
            ),
        )

    def _named(self, name: str) -> str:
        """Return what the server calls something; it is noted, so it must not be the key."""
        if self._secrets.masked(name) != name:
            raise malformed("a name that holds the key that it was sent")
        return name


def _count(given: Any) -> int:
    """Return a count of requests as a progress line shows it; what is none counts as nothing."""
    return given if isinstance(given, int) else 0
