"""`record:FILE`: ask another model, and write its replies down as a file for `scripted:`.

    judge: {model: "record:replies.jsonl", of: {model: "openai:NAME", api_key_env: VARIABLE}}

A run with `scripted:FILE` in that place then gives the same outputs and sends nothing: whoever gets
recipe, input and file can follow it without a key. A reply is on disk before it is used, and one
that the file has is not asked for again, so a killed recording continues. What was refused, or
never answered, is written down in the fault's words; the latter is asked again next time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.ask import Reply, Request
from curate.errors import PermanentFault, RecipeError, TemporaryFault
from curate.models.model import RATES, Model, ModelInfo, ModelSpec, info_of, open_model
from curate.models.providers.scripted import FAULTS, identity_line
from curate.system.posix import sync

OPTIONS = ("of",)
Place = tuple[str, int]
# Fields of a reply that a line names only where they hold something.
_LISTS = ("values", "cut", "read", "logprobs", "floored")


class Recorder:
    """Another model, with everything that it answers appended to a file."""

    def __init__(self, info: ModelInfo, inner: Model, path: Path) -> None:
        """Read what an earlier recording left in the file, and open it to append."""
        self.info, self._inner = info, inner
        self._unanswered: dict[Place, TemporaryFault] = {}
        head = identity_line(info.identity, info.defaults)
        content = path.read_bytes() if path.exists() else b""
        # A line that a kill cut off is left out, and so is a fault that may have cleared by now.
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        if lines and lines[0] + b"\n" != _encoded(head):
            raise RecipeError(
                f"'{path.name}' is not a recording of this model with this sampling; name another "
                "file, or remove it"
            )
        settled: list[dict[str, Any]] = [json.loads(line) for line in lines[1:]]
        found = [line for line in settled if line.get("fault") in (None, "permanent")]
        self._known = {(line["when"]["key"], line["attempt"]): line for line in found}
        made = path.with_name(path.name + ".tmp")
        made.write_bytes(b"".join(map(_encoded, [head, *found])))
        sync(made)
        made.replace(path)
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND)

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the reply on file, or the other model's once it is on disk."""
        if known := self._known.get((key, attempt)):
            if "fault" in known:
                raise PermanentFault(known["message"])
            lists: dict[str, Any] = {name: tuple(known.get(name, ())) for name in _LISTS}
            return Reply(
                text=known["reply"],
                finish_reason=known["finish_reason"],
                mass=known.get("mass"),
                **lists,
                **known["usage"],
            )
        try:
            reply = await self._inner.answer(request, key=key, attempt=attempt)
        except PermanentFault as error:
            if not error.for_all:  # What a wrong key was told is not an answer to the request.
                self._append(_of_fault((key, attempt), "permanent", str(error)))
            raise
        except TemporaryFault as error:
            self._unanswered[key, attempt] = error
            raise
        self._unanswered.pop((key, attempt), None)
        line = {"when": {"key": key}, "attempt": attempt, "reply": reply.text}
        line["finish_reason"] = reply.finish_reason
        line |= {name: list(getattr(reply, name)) for name in _LISTS if getattr(reply, name)}
        if reply.mass is not None:
            line["mass"] = reply.mass
        used = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
        self._append({**line, "usage": used})
        return reply

    async def close(self) -> None:
        """Close the file and the other model."""
        if self._file is not None:
            for place, fault in self._unanswered.items():
                cause = fault.cause if fault.cause in FAULTS else "server"
                self._append(_of_fault(place, cause, str(fault)))
            os.close(self._file)
            self._file = None
        await self._inner.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        os.write(self._file, _encoded(line))
        os.fsync(self._file)


def open_spec(spec: ModelSpec, folder: Path) -> Recorder:
    """Return the recorder that `spec` describes; a relative file starts at `folder`."""
    if not spec.name or "of" not in spec.options:
        raise RecipeError(
            "'record:' needs a file and the model to ask; write "
            "{model: 'record:FILE', of: PREFIX:NAME}"
        )
    path = folder / spec.name
    inner = open_model(spec.options["of"], folder=folder)
    if inner.info.discount is not None:
        raise RecipeError(
            "'record:' cannot watch batch jobs; run without it first, then again with it and "
            "without 'batch', from the same store"
        )
    try:
        return Recorder(describe(spec, folder), inner, path)
    except OSError as error:
        raise RecipeError(
            f"cannot record to '{spec.name}' ({error.strerror}); name a file that can be written"
        ) from None


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the other model, changed by what the recorder's mapping says."""
    inner = info_of(spec.options["of"], folder=folder)
    named = spec.identity != f"record:{spec.name}"
    own = {name: getattr(spec, name) for name in ("price", "max_concurrency", *RATES)}
    return dataclasses.replace(
        inner,
        identity=spec.identity if named else inner.identity,
        # Vectors are recorded like every other reply, one text at a time.
        embed_identity=None,
        embed_texts=1,
        embed_characters=sys.maxsize,
        defaults={**inner.defaults, **spec.defaults},
        **{name: value for name, value in own.items() if value},
    )


def _of_fault(place: Place, cause: str, message: str) -> dict[str, Any]:
    key, attempt = place
    where = {"when": {"key": key}, "attempt": attempt}
    return {**where, "fault": cause, "times": None, "message": message}


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
