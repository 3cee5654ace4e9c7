"""The JSON of OpenAI-compatible servers: what is sent for a request, and what a body means.

Nothing here does input or output. A body that does not hold a reply is a `TemporaryFault` named
"malformed": proxies and overloaded servers send such bodies, and the next try is often right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from curate.ask import Ask, Embed, Likelihood, Reply, Request
from curate.errors import ModelError, PermanentFault, TemporaryFault
from curate.models.inprocess.strict import strict_form
from curate.models.remote.faults import StatusError, fault_of

CHAT, COMPLETION, EMBEDDING = "chat/completions", "completions", "embeddings"
_SAMPLING = ("temperature", "top_p")
# How servers say that a reply is done, or that it reached its limit; OpenAI's words stand for all.
_FINISHED = {
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence", "STOP"), "stop"),
    **dict.fromkeys(("max_tokens", "model_length", "MAX_TOKENS"), "length"),
}
# What says that the server itself broke off: vLLM, gateways, DeepSeek.
_BROKEN = ("abort", "error", "insufficient_system_resource")
_MOST_TOKENS = 1 << 62


def path_of(request: Request) -> str:
    """Return the path that answers `request`, below the base URL."""
    if isinstance(request, Embed):
        return EMBEDDING
    if isinstance(request, Likelihood) or (isinstance(request, Ask) and request.prompt is not None):
        return COMPLETION
    if isinstance(request, Ask):
        return CHAT
    raise PermanentFault(
        "an OpenAI-compatible server has no reward scores; use an hf: reward model for this step"
    )


def body_of(request: Request, model: str, length_field: str) -> dict[str, Any]:
    """Return the JSON to send; `length_field` is what the server calls a chat's `max_tokens`."""
    if isinstance(request, Embed):
        return {"model": model, "input": list(request.texts), "encoding_format": "float"}
    if isinstance(request, Likelihood):
        # One token is written and dropped: some servers refuse none.
        echo = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
        return {"model": model, "prompt": request.prompt + request.answer, **echo}
    assert isinstance(request, Ask)
    body: dict[str, Any] = {"model": model}
    if request.prompt is not None:
        body["prompt"], length_field = request.prompt, "max_tokens"
        if request.logprobs is not None:
            body["logprobs"] = request.logprobs
    else:
        body["messages"] = request.turns()
        if request.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
    body |= {n: getattr(request, n) for n in _SAMPLING if getattr(request, n) is not None}
    if request.sample_seed is not None:
        body["seed"] = request.sample_seed
    if request.max_tokens is not None:
        body[length_field] = request.max_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    if request.schema is not None:
        schema, strict = strict_form(request.schema)
        form = {"name": "reply", "schema": schema, "strict": strict}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body


def reply_of(request: Request, data: Any) -> Reply:
    """Return the reply that a server's JSON holds."""
    if not isinstance(data, dict):
        raise malformed(f"JSON of type {type(data).__name__} where an object was due")
    if isinstance(data.get("error"), dict) and not data.get("choices"):
        raise error_inside(data["error"])
    try:
        if isinstance(request, Embed):
            rows = sorted(data["data"], key=lambda one: one["index"])
            if len(rows) != len(request.texts):
                raise malformed(f"{len(rows)} vectors for {len(request.texts)} texts")
            # What is no number in a vector comes as null: JSON has no NaN.
            vectors = tuple(
                [math.nan if value is None else float(value) for value in row["embedding"]]
                for row in rows
            )
            return Reply(values=vectors, **_usage(data))
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise malformed("a reply with no choices in it")
        choice = choices[0]
        if isinstance(request, Likelihood):
            return _likelihood(request, choice, data)
        return _text(choice, data)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise malformed(f"a reply without the expected fields ({detail})") from None


def malformed(what: str) -> TemporaryFault:
    """Return the fault for an answer that holds no reply."""
    return TemporaryFault(f"the server sent {what}", cause="malformed")


def error_inside(error: Mapping[str, Any]) -> ModelError:
    """Return what an error means that came with status 200, as gateways send them."""
    code = str(error.get("code"))
    if code.isdecimal() and 400 <= int(code) < 600:
        content = json.dumps({"error": dict(error)}).encode()
        return fault_of(StatusError(int(code), {}, content), "the server behind the gateway")
    return malformed(f"an error: {str(error.get('message'))[:200]}")


def _text(choice: Mapping[str, Any], data: Mapping[str, Any]) -> Reply:
    message, given = choice.get("message"), choice.get("finish_reason")
    if given in _BROKEN:
        raise malformed(f"a reply that it broke off itself (finish_reason={given})")
    text = choice["text"] if message is None else _content(message)
    reason = _FINISHED.get(str(given), str(given or "stop"))
    if message is not None and not text and message.get("refusal"):
        text, reason = message["refusal"], "refusal"
    if text is None and given:
        # All of it was hidden reasoning or the call of a tool. It was paid for: another try would
        # be, too.
        text = ""
    if not isinstance(text, str):
        raise malformed("a reply that holds no text")
    return Reply(
        text=text,
        finish_reason=reason,
        logprobs=_logprobs(choice.get("logprobs")),
        **_usage(data),
    )


def _content(message: Mapping[str, Any]) -> Any:
    """Return a message's text; of one in parts, those that are no reasoning."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content


def _usage(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was billed; the total counts where it says more than its parts.

    Some servers leave hidden reasoning out of the completion's tokens, but not out of the bill.
    """
    usage = data.get("usage")
    if not isinstance(usage, Mapping):
        return {}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    given, wrote, total = (_count(usage.get(name)) for name in names)
    return {"input_tokens": given, "output_tokens": max(wrote, total - given) if given else wrote}


def _count(tokens: Any) -> int:
    """Return a count, or 0 for what is none: then what was reserved is the bill."""
    known = isinstance(tokens, int | float) and tokens > 0
    return int(min(tokens, _MOST_TOKENS)) if known else 0


def _logprobs(found: Any) -> tuple[Any, ...]:
    """Return `{token, logprob, top: {token: logprob}}` for each token, for chat and completion."""
    if not found:
        return ()
    if "content" in found:
        return tuple(
            {
                "token": one["token"],
                "logprob": one["logprob"],
                "top": {t["token"]: t["logprob"] for t in one.get("top_logprobs") or ()},
            }
            for one in found["content"] or ()
        )
    tokens, values = found["tokens"], found["token_logprobs"]
    tops = found.get("top_logprobs") or [{}] * len(tokens)
    return tuple(
        {"token": token, "logprob": value, "top": dict(top or {})}
        for token, value, top in zip(tokens, values, tops, strict=True)
    )


def _likelihood(request: Likelihood, choice: Mapping[str, Any], data: Mapping[str, Any]) -> Reply:
    """Return the log-probabilities of the answer's tokens out of the echoed prompt."""
    found = choice.get("logprobs") or {}
    offsets = found.get("text_offset")
    whole = request.prompt + request.answer
    if not offsets or not str(choice.get("text", "")).startswith(whole):
        raise PermanentFault(
            "the server does not return log-probabilities of the prompt (echo with logprobs); use "
            "vllm: or hf:, or a server that echoes"
        )
    if _shifted(choice, whole):
        raise PermanentFault(
            "the server's log-probabilities of the prompt are shifted by one token (they are those "
            "of what comes next), so they say nothing of the answer; use vllm: or hf:, or another "
            "server"
        )
    begin = len(request.prompt)
    values = tuple(
        float(value)
        for offset, token, value in zip(
            offsets, found["tokens"], found["token_logprobs"], strict=True
        )
        if offset + len(token) > begin and offset < len(whole) and value is not None
    )
    return Reply(values=values, **_usage(data))


def _shifted(choice: Mapping[str, Any], whole: str) -> bool:
    """Tell whether each token came with the chances of the one behind it (llama-cpp-python does).

    The token that was written, the likeliest, is then no token of its own: it is the likeliest at
    the last place of the prompt.
    """
    found, written = choice["logprobs"], str(choice["text"])[len(whole) :]
    tokens, tops = found["tokens"], found.get("top_logprobs") or ()
    if not tops or not tops[-1] or len("".join(tokens)) > len(whole):
        return False
    likeliest = max(tops[-1], key=tops[-1].__getitem__)
    # An end of the text is written as nothing.
    return bool(likeliest == written if written else likeliest != tokens[-1])


class Assembly:
    """A streamed reply, put together again into what an unstreamed one looks like."""

    def __init__(self, chat: bool) -> None:
        self._chat, self._texts = chat, list[str]()
        self._refusal, self._reason = "", None
        self._logprobs: dict[str, Any] = {}
        self._usage: Any = None
        self._began = False

    def add(self, event: Any) -> None:
        """Take one event's JSON."""
        if not isinstance(event, dict):
            raise malformed("a stream whose events are no objects")
        if isinstance(event.get("error"), dict):
            raise error_inside(event["error"])
        self._usage = event.get("usage") or self._usage
        for choice in (event.get("choices") or ())[:1]:
            self._began = True
            delta = choice.get("delta") or {}
            self._texts.append((delta.get("content") if self._chat else choice.get("text")) or "")
            self._refusal += delta.get("refusal") or ""
            self._reason = choice.get("finish_reason") or self._reason
            for name, values in (choice.get("logprobs") or {}).items():
                if isinstance(values, list):
                    self._logprobs.setdefault(name, []).extend(values)

    def whole(self) -> dict[str, Any]:
        """Return the reply's JSON, or raise when the stream broke off."""
        if not self._began or self._reason is None:
            raise malformed("a stream that ended before its reply did")
        text = "".join(self._texts)
        body = (
            {"message": {"content": text, "refusal": self._refusal}}
            if self._chat
            else {"text": text}
        )
        choice = {**body, "finish_reason": self._reason, "logprobs": self._logprobs}
        return {"choices": [choice], "usage": self._usage}
