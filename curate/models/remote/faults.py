"""What a server's refusal or an error of the connection means for a request.

Temporary: the rate limit, a busy or broken server, a time-out, a lost connection. Permanent: what
the same request would meet again. Messages quote the server, but never a key.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from curate.errors import ModelError, PermanentFault, TemporaryFault

# The cause of a fault after which the same request is sent in another form.
ADAPTED = "adapted"
SCHEMA, STREAM, LENGTH = "a JSON schema", "streaming", "max_tokens"
LOGPROBS, SEED, ECHO = "log-probabilities", "a seed", "echo"
# What a server may lack, and the fields of a request that ask for it.
FEATURES = {
    LOGPROBS: ("logprobs", "top_logprobs"),
    SCHEMA: ("response_format", "json_schema", "guided"),
    SEED: ("seed",),
    ECHO: ("echo",),
    STREAM: ("stream_options", "stream"),
    LENGTH: ("max_tokens", "max_completion_tokens"),
}
# Codes that say of a named field that it is not known; others may speak of its value.
_UNKNOWN = re.compile(r"unsupported|unknown|unrecogni[sz]ed|not_supported|extra|forbidden|literal")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# What to look at where a proxy is in the way.
_PROXIES = "HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
_LOGIN = ": it wants a login, as in http://USER:PASSWORD@HOST:PORT"
# Of aiohttp, and of the HTTP client that the openai library brings.
_NOT_CONNECTED = ("ConnectionTimeout", "ConnectorError", "ConnectTimeout", "ConnectError")
_QUOTA = ("insufficient_quota", "billing_hard_limit_reached")
# How OpenAI and vLLM name a model that is not there.
_NO_MODEL = ("model_not_found", "NotFoundError")
# How much of an answer is read, and how much of that is shown: what lies between may be the rest of
# a key, which must be found whole to be masked.
_READ, _SHOWN = 4000, 200


class StatusError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Read the answer.

        `said` is what it says on one line, which may quote the request and decides nothing. `code`
        and `fields` are structured: what kind of error it is, and the fields of the request that it
        names, each with what is said of that field.
        """
        super().__init__(f"status {status}")
        self.status, self.headers = status, headers
        text = content.decode("utf-8", "replace")
        body: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(text)
        if isinstance(body, list) and len(body) == 1:  # Gemini's compatible endpoint.
            body = body[0]
        # OpenAI puts the details under "error"; other servers have them at the top.
        if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
            body = body["error"]
        self.code, self.fields = "", dict[str, str]()
        if isinstance(body, Mapping):
            detail = body.get("message") or body.get("detail") or body.get("error") or dict(body)
            code = body.get("code")
            text = f"{detail} [{code}]" if code else str(detail)
            self.code = f"{code or ''} {body.get('type') or ''}"
            # Fields are named in `param`, or in the `loc` of each detail.
            if isinstance(body.get("param"), str):
                self.fields[re.split(r"[.\[]", body["param"])[0]] = str(code or "")
            details = body.get("detail")
            for one in details if isinstance(details, list) else ():
                loc = one.get("loc") if isinstance(one, Mapping) else None
                names = [name for name in loc or () if isinstance(name, str) and name != "body"]
                if names:
                    self.fields[names[0]] = str(one.get("type") or "")
        else:
            text = re.sub(r"<[^>]*>", " ", text)
        self.said = " ".join(text[:_READ].split()) or "no reason given"


class TooLong(Exception):
    """Say that an answer is longer than anything that was asked for."""


class Unasked(Exception):
    """Say that a server sent something that nobody had asked for."""


def fault_of(error: Exception, where: str) -> ModelError:
    """Return what `error` means; `where` names model and server for the message."""
    if isinstance(error, StatusError):
        return _of_refusal(error, where)
    if isinstance(error, TooLong | Unasked):
        return TemporaryFault(f"{where} sent {error}", cause="malformed")
    names = " ".join(cls.__name__ for cls in type(error).__mro__)
    if "Certificate" in names or "SSL" in names:
        said = _one_line(error)
        return TemporaryFault(
            f"no secure connection to {where}: {said}; check base_url, and let SSL_CERT_FILE name "
            "the certificates of a server of your own",
            cause="connect",
        )
    if "ProxyConnectionError" in names:
        return TemporaryFault(
            f"cannot connect to the proxy for {where}; check {_PROXIES}", cause="connect"
        )
    if "ProxyError" in names:
        return _of_proxy(error, where)
    if any(name in names for name in _NOT_CONNECTED):
        return TemporaryFault(
            f"cannot connect to {where}; check that the server runs and that base_url is right",
            cause="connect",
        )
    if "ContentEncoding" in f"{names} {error!r} {error.__cause__!r}":
        return TemporaryFault(
            f"{where} sent a body that cannot be unpacked ({_one_line(error)})", cause="malformed"
        )
    if "Timeout" in names:
        return TemporaryFault(f"{where} sent nothing for too long", cause="timeout")
    return TemporaryFault(
        f"the connection to {where} was lost ({type(error).__name__})", cause="connection"
    )


def _of_proxy(error: Exception, where: str) -> ModelError:
    """Return what it means that a proxy did not open the way to the server."""
    # aiohttp has the status as a number; the HTTP client of the openai library only says it.
    said = re.match(r"\d{3}", str(getattr(error, "status", error)))
    status = int(said[0]) if said else 0
    if status in (408, 429) or status >= 500 or not status:
        return TemporaryFault(
            f"the proxy cannot reach {where} ({status or 'it gave no status'}); check {_PROXIES}",
            cause="connect",
        )
    return PermanentFault(
        f"the proxy refused the way to {where} ({status}){_LOGIN if status == 407 else ''}; check "
        f"{_PROXIES}",
        for_all=True,
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_SHOWN]


def _of_refusal(refusal: StatusError, where: str) -> ModelError:
    status, headers = refusal.status, refusal.headers
    said, empty = refusal.said[:_SHOWN], any(word in refusal.code for word in _QUOTA)
    if status == 429 and not empty:
        return TemporaryFault(
            f"{where} limits the rate (429): {said}",
            cause="rate_limit",
            retry_after=wait_of(headers),
        )
    if status in (408, 504, 524):
        return TemporaryFault(f"{where} timed out ({status}): {said}", cause="timeout")
    # llama.cpp's Python server answers 500 to a field that it does not know.
    refused = status == 500 and "validation error" in refusal.said
    if (status >= 500 and not refused) or status in (409, 425):
        return TemporaryFault(
            f"{where} failed ({status}): {said}", cause="server", retry_after=wait_of(headers)
        )
    if 300 <= status < 400:
        elsewhere = urlsplit(str(headers.get("location", "")))
        host = elsewhere.hostname or "another path of its own"
        return PermanentFault(
            f"{where} redirects ({status}) to {host}; redirects are not followed, because a prompt "
            "goes only where you send it: give the address in base_url if it is the right one"
        )
    advice = {
        401: "; check the key in the variable that 'api_key_env' names",
        402: "; the account has no credit left",
        403: "; check what the key may do",
        404: "; check the model's name and base_url",
        407: f"{_LOGIN}; check {_PROXIES}",
        429: "; the account has no credit left",
    }.get(status, "")
    # A wrong key or login, an empty account and a model that is not there are no row's fault.
    missing = status == 404 and any(word in refusal.code for word in _NO_MODEL)
    for_all = status in (401, 402, 407, 429) or missing
    return PermanentFault(
        f"{where} refused the request ({status}): {said}{advice}", for_all=for_all
    )


def named_lack(body: Mapping[str, Any], refusal: StatusError) -> str | None:
    """Return the feature that a refusal's structured fields say the server lacks.

    Nothing is read from the message: a server that quotes the request would let the text of one row
    decide for all others.
    """
    for feature, names in FEATURES.items():
        said = [refusal.fields[name] for name in names if name in body and name in refusal.fields]
        # Of max_tokens, servers also name the value.
        if any(_UNKNOWN.search(code) or (not code and feature != LENGTH) for code in said):
            return feature
    return None


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds the server asks to be left alone, if it does."""
    if (given := _number(headers.get("retry-after-ms"))) is not None:
        return given / 1000
    after = headers.get("retry-after")
    if after is not None:
        if (seconds := duration(after)) is not None:
            return seconds
        try:
            return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError, OSError):  # No date, or one of no calendar.
            return None
    return spent_until(headers)


def spent_until(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until an allowance that is used up comes back, by the rate headers."""
    waits = [
        duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if _number(headers.get(f"x-ratelimit-remaining-{what}")) == 0
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def duration(text: str) -> float | None:
    """Read `6m0s`, `20ms` or plain seconds."""
    if (plain := _number(text)) is not None:
        return plain
    if not re.fullmatch(rf"(?:{_DURATION.pattern})+", text.strip()):
        return None
    return sum(float(n) * _SECONDS[unit] for n, unit in _DURATION.findall(text))


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e7 else None
