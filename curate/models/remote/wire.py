"""The JSON of OpenAI-compatible servers: what is sent for a request, and what a body means.

Nothing here does input or output. A body that does not hold a reply is a `TemporaryFault` named
"malformed": proxies and overloaded servers send such bodies, and the next try is often right.
"""

from __future__ import annotations

import itertools
import json
import math
from array import array
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from curate.ask import Ask, Choose, Embed, Likelihood, Reply, Request, TurnLikelihood
from curate.errors import ModelError, NotSent, PermanentFault, TemporaryFault
from curate.models.choice import CHOICE_TOKENS, by_text, choice_reply
from curate.models.inprocess.strict import strict_form
from curate.models.remote.faults import LOGPROBS, SCHEMA, StatusError, fault_of
from curate.models.turns import openai_turns

if TYPE_CHECKING:
    from curate.models.remote.chat_template import ChatTemplate

# The longest vectors that encoders give have 12,288 numbers.
MOST_DIMENSIONS = 1 << 14
CHAT, COMPLETION, EMBEDDING = "chat/completions", "completions", "embeddings"
_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")
# OpenAI's most, and vLLM's.
MOST_LOGPROBS = 20
# How servers say that a reply is done, or that it reached its limit; OpenAI's words stand for all.
_FINISHED = {
    **dict.fromkeys(("eos", "eos_token", "end_turn", "stop_sequence", "STOP"), "stop"),
    **dict.fromkeys(("max_tokens", "model_length", "MAX_TOKENS"), "length"),
}
# What says that the server itself broke off: vLLM, gateways, DeepSeek.
_BROKEN = ("abort", "error", "insufficient_system_resource")
_MOST_TOKENS = 1 << 62
# What holds the thoughts: of DeepSeek and older vLLM; of OpenRouter and newer vLLM.
_THOUGHTS = ("reasoning_content", "reasoning")


def path_of(request: Request, template: ChatTemplate | None = None) -> str:
    """Return the path that answers `request`, below the base URL."""
    if isinstance(request, Embed):
        return EMBEDDING
    if isinstance(request, Ask | Choose):
        return CHAT if request.prompt is None and template is None else COMPLETION
    if isinstance(request, Likelihood):
        return COMPLETION
    if isinstance(request, TurnLikelihood):
        raise NotSent(
            "an OpenAI-compatible server does not say which tokens of a chat are the assistant's; "
            "use local, hf: or vllm: for the likelihood of whole turns"
        )
    raise NotSent(
        "an OpenAI-compatible server has no reward scores; use an hf: reward model for this step"
    )


def body_of(
    request: Request,
    model: str,
    length_field: str,
    *,
    template: ChatTemplate | None = None,
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Return the JSON to send.

    Args:
        request: what is asked.
        model: the model's name at the server.
        length_field: what the server calls a chat's `max_tokens`.
        template: the chat template of a model behind a server that takes raw text.
        without: features that the server lacks and the request can do without.

    Raises:
        NotSent: the server has no form for the request.
    """
    if isinstance(request, Embed):
        return {"model": model, "input": list(request.texts), "encoding_format": "float"}
    if isinstance(request, Likelihood):
        # One token is written and dropped: some servers refuse none.
        echo = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
        return {"model": model, "prompt": _before(request, template) + request.answer, **echo}
    chat = path_of(request, template) == CHAT
    assert isinstance(request, Ask | Choose)
    if isinstance(request, Ask) and template is not None:
        request = template.with_turn_ends(request)
    body: dict[str, Any] = {"model": model}
    if not chat:
        body["prompt"], length_field = _before(request, template), "max_tokens"
    elif (isinstance(request, Ask) and request.turn == "user") or request.prefill:
        asked = "to begin an answer" if request.prefill else "for a user's turn"
        raise NotSent(
            f"a chat endpoint cannot be asked {asked}; give the model's mapping its 'tokenizer: "
            "NAME' or 'template: FILE', for a server with raw completions, or use vllm: or hf:"
        )
    else:
        body["messages"] = openai_turns(request.chat)
    logprobs = request.logprobs if isinstance(request, Ask) else MOST_LOGPROBS
    if logprobs is not None and LOGPROBS not in without:
        body |= {"logprobs": True, "top_logprobs": logprobs} if chat else {"logprobs": logprobs}
    if isinstance(request, Choose):
        short = CHOICE_TOKENS if LOGPROBS in without else 1
        return {**body, "temperature": 0.0, length_field: short}
    body |= {n: getattr(request, n) for n in _SAMPLING if getattr(request, n) is not None}
    if request.sample_seed is not None:
        body["seed"] = request.sample_seed
    if request.stop or request.stop_tokens:
        body["stop"] = [*request.stop, *request.stop_tokens]
    if request.schema is not None and SCHEMA not in without:
        schema, strict = strict_form(request.schema)
        form = {"name": "reply", "schema": schema, "strict": strict}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    if request.max_tokens is not None:
        body[length_field] = request.max_tokens
    return body


def _before(request: Ask | Choose | Likelihood, template: ChatTemplate | None) -> str:
    """Return the raw text that the answer follows."""
    prefill = "" if isinstance(request, Likelihood) else request.prefill
    if request.prompt is not None:
        return request.prompt + prefill
    if isinstance(request, Likelihood) and not request.messages:
        return template.begin if template is not None else ""
    if template is None:
        raise NotSent(
            "a server has no likelihood of an answer to a chat; give the model's mapping its "
            "'tokenizer: NAME' or 'template: FILE', or use vllm: or hf:"
        )
    chat = request.messages or () if isinstance(request, Likelihood) else request.chat
    turn = request.turn if isinstance(request, Ask) else "assistant"
    return template.text(chat, turn) + prefill


def reply_of(
    request: Request,
    data: Any,
    template: ChatTemplate | None = None,
    hide: Callable[[str], str] = str,
) -> Reply:
    """Return the reply that a server's JSON holds; `hide` masks what a message is to quote."""
    if not isinstance(data, dict):
        raise malformed(f"JSON of type {type(data).__name__} where an object was due")
    if isinstance(data.get("error"), dict) and not data.get("choices"):
        raise error_inside(data["error"], hide)
    try:
        if isinstance(request, Embed):
            return Reply(values=_vectors(data["data"], len(request.texts)), **_usage(data))
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise malformed("a reply with no choices in it")
        choice = choices[0]
        if isinstance(request, Likelihood):
            return _likelihood(request, _before(request, template), choice, data)
        if isinstance(request, Choose) and (likely := _first_likely(choice.get("logprobs"))):
            return choice_reply(request.options, likely, **_usage(data))
        return _text(choice, data)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        detail = f"{type(error).__name__}: {hide(str(error))[:200]}"
        raise malformed(f"a reply without the expected fields ({detail})") from None


def _vectors(rows: Any, count: int) -> tuple[array[float], ...]:
    """Return `count` vectors (float64) in the order of their texts."""
    if not isinstance(rows, list) or len(rows) != count:
        found = f"{len(rows):,}" if isinstance(rows, list) else type(rows).__name__
        raise malformed(f"{found} vectors for {count:,} texts")
    ordered = sorted(rows, key=lambda one: one["index"])
    if any(one["index"] == after["index"] for one, after in itertools.pairwise(ordered)):
        raise malformed("two vectors with the same index")
    vectors = [row["embedding"] for row in ordered]
    for vector in vectors:
        if not isinstance(vector, list):
            raise malformed(f"a vector of type {type(vector).__name__}, where a list was asked for")
        if len(vector) > MOST_DIMENSIONS:
            raise malformed(
                f"a vector of {len(vector):,} numbers; at most {MOST_DIMENSIONS:,} are read"
            )
    # What is not a number in a vector comes as null: JSON has no NaN.
    return tuple(array("d", (math.nan if v is None else v for v in one)) for one in vectors)


def malformed(what: str) -> TemporaryFault:
    """Return the fault for an answer that holds no reply."""
    return TemporaryFault(f"the server sent {what}", cause="malformed")


def error_inside(error: Mapping[str, Any], hide: Callable[[str], str] = str) -> ModelError:
    """Return what an error means that came with status 200, as gateways send them.

    `hide` masks what is quoted of it: whole, because the beginning of a key is not found any more.
    """
    code = str(error.get("code"))
    if code.isdecimal() and 400 <= int(code) < 600:
        content = json.dumps({"error": dict(error)}).encode()
        refusal = StatusError(int(code), {}, content)
        refusal.said = hide(refusal.said)
        return fault_of(refusal, "the server behind the gateway")
    return malformed(f"an error: {hide(str(error.get('message')))[:200]}")


def _text(choice: Mapping[str, Any], data: Mapping[str, Any]) -> Reply:
    message, given = choice.get("message"), choice.get("finish_reason")
    if given in _BROKEN:
        raise malformed(f"a reply that it broke off itself (finish_reason={given})")
    content = None if message is None else message.get("content")
    text = choice["text"] if message is None else content
    if isinstance(content, list):
        text, _ = _of_parts(content)
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
        reasoning=_reasoning(message or {}),
        **_usage(data),
    )


def _reasoning(message: Mapping[str, Any]) -> str:
    """Return what a server says apart from the answer as thoughts; summaries of them are none."""
    given = (message.get(name) for name in _THOUGHTS)
    found = next((text for text in given if isinstance(text, str) and text.strip()), "")
    parts = message.get("content")
    return found or (_of_parts(parts)[1] if isinstance(parts, list) else "")


def _of_parts(parts: list[Any]) -> tuple[str, str]:
    """Return the text and the thoughts of a content that comes in parts, as Mistral's do."""
    text = "".join(part["text"] for part in parts if part.get("type") == "text")
    thinking = [part.get("thinking") or [] for part in parts if part.get("type") == "thinking"]
    texts = [[one] if isinstance(one, str) else one for one in thinking]
    return text, "".join(t if isinstance(t, str) else t.get("text", "") for ts in texts for t in ts)


def _usage(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was billed; the total counts where it says more than its parts.

    Some servers leave hidden reasoning out of the completion's tokens, but not out of the bill.
    """
    usage = data.get("usage")
    if not isinstance(usage, Mapping):
        return {}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    # What is not a count is 0: then what was reserved is the bill.
    given, wrote, total = (
        int(min(count, _MOST_TOKENS)) if isinstance(count, int | float) and count > 0 else 0
        for count in map(usage.get, names)
    )
    return {"input_tokens": given, "output_tokens": max(wrote, total - given) if given else wrote}


def _first_likely(found: Any) -> list[tuple[str, float]]:
    """Return the likely tokens at the first place, each with its log-probability.

    Chats list them, and two may have one text; completions name each text once.
    """
    if not found:
        return []
    if "content" in found:
        first = (found["content"] or [{}])[0]
        likely = [(one["token"], float(one["logprob"])) for one in first.get("top_logprobs") or ()]
        own = (first["token"], float(first["logprob"])) if "token" in first else None
    else:
        tops = found.get("top_logprobs") or [{}]
        likely = [(token, float(value)) for token, value in (tops[0] or {}).items()]
        tokens = found.get("tokens")
        own = (tokens[0], float(found["token_logprobs"][0])) if tokens else None
    # The token that was written may lie outside the list.
    texts = {token for token, _ in likely}
    return [*likely, own] if likely and own is not None and own[0] not in texts else likely


def _logprobs(found: Any) -> tuple[Any, ...]:
    """Return `{token, logprob, top: {token: logprob}}` for each token, for chat and completion.

    The values are numbers: a text there would be kept as it came.
    """
    if not found:
        return ()
    if "content" in found:
        return tuple(
            {
                "token": one["token"],
                "logprob": _number(one["logprob"]),
                "top": by_text(
                    (t["token"], _number(t["logprob"])) for t in one.get("top_logprobs") or ()
                ),
            }
            for one in found["content"] or ()
        )
    tokens, values = found["tokens"], found["token_logprobs"]
    tops = found.get("top_logprobs") or [{}] * len(tokens)
    return tuple(
        {
            "token": token,
            "logprob": _number(value),
            "top": {text: _number(other) for text, other in (top or {}).items()},
        }
        for token, value, top in zip(tokens, values, tops, strict=True)
    )


def _number(value: Any) -> Any:
    """Return a log-probability, which may be `None`: the first token of a text has none."""
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"a log-probability of type {type(value).__name__}")
    return value


def _likelihood(
    request: Likelihood, before: str, choice: Mapping[str, Any], data: Mapping[str, Any]
) -> Reply:
    """Return the log-probabilities of the answer's tokens out of the echoed prompt."""
    found = choice.get("logprobs") or {}
    offsets = found.get("text_offset")
    whole = before + request.answer
    if not offsets or not str(choice.get("text", "")).startswith(whole):
        raise PermanentFault(
            "the server does not return log-probabilities of the prompt (echo with logprobs); use "
            "vllm: or hf:, or a server that echoes"
        )
    # Does each token come with the chances of the one behind it (llama-cpp-python)? Then the token
    # that was written, the likeliest, is not a token of its own: it is the likeliest at the last
    # place of the prompt. An end of the text is written as nothing.
    tokens, tops = found["tokens"], found.get("top_logprobs") or ()
    shifted = False
    if tops and tops[-1] and len("".join(tokens)) <= len(whole):
        likeliest, written = max(tops[-1], key=tops[-1].__getitem__), str(choice["text"])
        last = written[len(whole) :]
        shifted = likeliest == last if last else likeliest != tokens[-1]
    if shifted:
        raise PermanentFault(
            "the server's log-probabilities of the prompt are shifted by one token (they are those "
            "of what comes next), so they say nothing of the answer; use vllm: or hf:, or another "
            "server"
        )
    begin = len(before)
    values = tuple(
        float(value)
        for offset, token, value in zip(
            offsets, found["tokens"], found["token_logprobs"], strict=True
        )
        if offset + len(token) > begin and offset < len(whole) and value is not None
    )
    return Reply(values=values, **_usage(data))


class Assembly:
    """A streamed reply, put together again into what an unstreamed one looks like."""

    def __init__(self, chat: bool, hide: Callable[[str], str] = str) -> None:
        self._chat, self._hide = chat, hide
        # As bytes: a hundred thousand tokens, each a string of its own, would take 6 MB.
        self._said = {name: bytearray() for name in ("content", "thinking", "refusal", *_THOUGHTS)}
        self._reason: Any = None
        self._logprobs: dict[str, Any] = {}
        self._usage: Any = None
        self._began = False
        # Whether the server has said that the stream is whole: some give no reason of its end.
        self.done = False

    def add(self, event: Any, size: int = 0) -> int:
        """Take one event's JSON, of `size` bytes; return about how many bytes of it are kept."""
        if not isinstance(event, dict):
            raise malformed("a stream whose events are not objects")
        if isinstance(event.get("error"), dict):
            raise error_inside(event["error"], self._hide)
        self._usage = event.get("usage") or self._usage
        kept = 0
        try:
            for choice in (event.get("choices") or ())[:1]:
                self._began, delta = True, choice.get("delta") or {}
                said: dict[str, Any] = {
                    name: t for name in _THOUGHTS if isinstance(t := delta.get(name), str)
                }
                said["content"] = delta.get("content") if self._chat else choice.get("text")
                said["refusal"] = delta.get("refusal")
                if isinstance(said["content"], list):
                    said["content"], said["thinking"] = _of_parts(said["content"])
                for name, text in said.items():
                    piece = (text or "").encode("utf-8", "surrogatepass")
                    self._said[name] += piece
                    kept += len(piece)
                self._reason = choice.get("finish_reason") or self._reason
                for name, values in (choice.get("logprobs") or {}).items():
                    if isinstance(values, list):
                        self._logprobs.setdefault(name, []).extend(values)
                        kept = size
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            detail = f"{type(error).__name__}: {error}"
            raise malformed(f"a stream without the expected fields ({detail})") from None
        return kept

    def whole(self) -> dict[str, Any]:
        """Return the reply's JSON, or raise when the stream broke off."""
        if not self._began or (self._reason is None and not self.done):
            raise malformed("a stream that ended before its reply did")
        said: dict[str, Any] = {
            name: text.decode("utf-8", "surrogatepass") for name, text in self._said.items()
        }
        if thoughts := said.pop("thinking"):
            text = {"type": "text", "text": said["content"]}
            said["content"] = [{"type": "thinking", "thinking": thoughts}, text]
        body = {"message": said} if self._chat else {"text": said["content"]}
        choice = {**body, "finish_reason": self._reason or "stop", "logprobs": self._logprobs}
        return {"choices": [choice], "usage": self._usage}
