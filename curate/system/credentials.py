"""Keys and logins: told from other texts, and masked in whatever form they come back.

They never reach a file, a log or a message. What a server echoes of a key may be written as JSON
escapes, percent-encoded, as base64, or broken over lines. Those that the environment holds are
known: a recipe must not quote one, and what is said of a failure is masked for all of them.
"""

from __future__ import annotations

import base64
import functools
import itertools
import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from curate.errors import UsageError

_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|signature|^sig$", re.IGNORECASE)
# What a part of a path is called before a secret: words of their own, unlike `tokenizer`, `turkey`.
_SECRET_STEP = re.compile(
    r"(?:^|[-_.=:])(?:(?:api|auth|access|secret)?(?:key|token)s?|secrets?|passw[a-z]*|credentials?"
    r"|signature|sig)(?:$|[-_.=:])",
    re.IGNORECASE,
)
# How the keys of providers begin, and what is too random to be a name: both cases and digits.
_KEY = re.compile(
    r"(?:sk|pk|rk|hf|gsk|ghp|gho|xai|nvapi|pplx|csk|fw|r8|glpat|xoxb)[-_][A-Za-z0-9_-]{12,}"
    r"|AIza[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{16}|eyJ[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_-]+)*"
    r"|(?=[A-Za-z]*[0-9])(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])[A-Za-z0-9]{24,}"
)
# Where fsspec's addresses of several file systems are joined; `[::1]` is a host.
_CHAINED = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")
MASK = "***"
# Shorter keys are those of local servers, which any text may spell by chance.
_LONG = 12
# A text that is quoted once more has its backslashes doubled.
_BREAK = r"(?:\s|\\{1,8}[nrt]){0,8}"
# How variables are called that hold a secret. In that of a proxy it is a part of the address.
_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:$|_)", re.IGNORECASE
)
_PROXY_VARIABLE = re.compile(r"_proxy$", re.IGNORECASE)
# A shorter one is not a secret, and would be found in any text: EMPTY, none, dummy, local.
SHORTEST_SECRET = 8
# Also several in one: `simplecache::s3://...`.
_ADDRESS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]+):/")
_ONE_SLASH = re.compile(rf"^{_ADDRESS.pattern}(?!/)")
# What to do instead of writing to an address in a run.
WRITE_LATER = (
    "a run writes files of this machine; choose a path, and send the rows when the run is done: "
    "curate export RUN -o ADDRESS"
)
# Secrets that were read, by the variable or the file that they are from.
_remembered = dict[str, str]()


def holds_credentials(address: str) -> bool:
    """Tell whether the URL `address` holds a login, or a key or signature in its query.

    Of several in one, as in `simplecache::ftp://host/a`, each is looked at.

    Raises:
        ValueError: it is not a valid URL.
    """
    return any(_holds_credentials(one) for one in _CHAINED.split(address))


def _holds_credentials(address: str) -> bool:
    # `hub://name@split` names a split, and the Hub's addresses hold no login.
    if "://" not in address or address.startswith("hub://"):
        return False
    parts = urlsplit(address)
    # A key that was pasted as it is may have a slash, at which the host seems to end.
    port = parts.netloc.rpartition("]")[2].partition(":")[2]
    cut = "@" in address and port != "" and not port.isdigit()
    # In Azure's addresses the name of a container stands before that of its account.
    azure = parts.scheme in _CONTAINERS and ":" not in parts.netloc
    login = cut or ("@" in parts.netloc and not azure)
    return login or any(_SECRET_NAME.search(n) for n, _ in parse_qsl(parts.query))


def holds_token(address: str) -> bool:
    """Tell whether a server's URL may hold a token: in a query or fragment, or as part of its path.

    Raises:
        ValueError: it is not a valid URL.
    """
    parts = urlsplit(address)
    steps = parts.path.split("/")
    named = any(_SECRET_STEP.search(one) and after for one, after in itertools.pairwise(steps))
    values = [value for _, value in parse_qsl(parts.query)]
    # `api-version=2024-10-21-preview` is none; a long run of digits and letters is not a word.
    mixed = [one for value in values for one in re.split(r"[-_.]", value) if len(one) >= _LONG]
    random = any(re.search("[0-9]", one) and re.search("[A-Za-z]", one) for one in mixed)
    return bool(parts.fragment) or named or random or any(map(looks_like_key, [*steps, *values]))


def looks_like_key(text: str) -> bool:
    """Tell whether a text has the form of a key, and not that of a name."""
    return _KEY.fullmatch(text) is not None


def masked(text: str, *keys: str | None) -> str:
    """Return `text` with a mask for every place where one of `keys` stands, however written."""
    for key in keys:
        text = _forms(key).sub(MASK, text) if key else text
    return text


def places_of(key: str, text: str) -> list[tuple[int, int]]:
    """Return where `key` stands in `text`, however written: begin and end of each place."""
    return [found.span() for found in _forms(key).finditer(text)]


def password_of(address: str) -> str | None:
    """Return the password in a URL as it is sent; `None` where there is none, or no URL."""
    try:
        password = urlsplit(address if "://" in address else f"//{address}").password
    except ValueError:
        return None
    return unquote(password) if password else None


def remember_secret(secret: str | None, source: str) -> None:
    """Count `secret` among those that are known; `source` names where it was read."""
    if secret and len(secret) >= SHORTEST_SECRET:
        _remembered[source] = secret


def known_secrets() -> dict[str, str]:
    """Return the secrets that were remembered or that the environment holds, by their source."""
    found = dict(_remembered)
    for name, value in os.environ.items():
        if _PROXY_VARIABLE.search(name):
            secret, least = password_of(value) or "", SHORTEST_SECRET
        elif _SECRET_VARIABLE.search(name) and not value.startswith(("/", ".", "~")):
            secret, least = value.strip(), _LONG
        else:
            continue
        if len(secret) >= least:
            found[name] = secret
    return found


def without_secrets(text: str) -> str:
    """Return what is to be said of a failure, without any secret that is known."""
    return masked(text, *sorted(set(known_secrets().values()), key=len, reverse=True))


def source_of_secret(text: str) -> str | None:
    """Return where the secret is from that stands in `text`, or `None`."""
    return next((source for source, one in known_secrets().items() if one in text), None)


@functools.lru_cache(maxsize=64)
def _forms(key: str) -> re.Pattern[str]:
    """Return what finds a key: plain, as escapes, percent-encoded, over lines, and as base64."""
    between = _BREAK if len(key) >= _LONG else ""
    escapes = r"(?i:\\{{1,8}}(?:u{0:04x}|u{0:08x}|x{0:02x})|%{0:02x}|&#x{0:x};)|&#{0};"
    plain = between.join(f"(?:{re.escape(c)}|{escapes.format(ord(c))})" for c in key)
    # As the name of a host a long one comes back in small letters.
    forms = [f"(?i:{plain})" if len(key) >= _LONG else plain]
    if len(key) >= _LONG:
        data = key.encode()
        # Where the key begins within three bytes decides how its inner part is spelt.
        for shift in range(3):
            spelt = base64.b64encode(b"\0" * shift + data).decode().rstrip("=")
            inner = spelt[(0, 2, 3)[shift] : len(spelt) - (1 if (shift + len(data)) % 3 else 0)]
            either = (f"[{c}{'-' if c == '+' else '_'}]" if c in "+/" else c for c in inner)
            forms.append(between.join(either))
    return re.compile("|".join(forms))


def is_address(path: str | Path) -> bool:
    """Tell whether a path is an address of another file system, also where a slash got lost."""
    return _ADDRESS.match(str(path)) is not None


def address_of(path: str | Path) -> str:
    """Return an address as it is written: a `Path` has lost one of its slashes, or two of them."""
    # Files of this machine have no host before their path.
    return _ONE_SLASH.sub(
        lambda found: f"{found[1]}:{'///' if found[1] == 'file' else '//'}", str(path)
    )


def shown_address(where: str) -> str:
    """Return an address as a message may show it: of one that holds credentials only the host."""
    # What is not a valid address may hold anything.
    with suppress(ValueError):
        if not holds_credentials(where):
            return where
    scheme, _, rest = where.partition("://")
    before = rest.partition("?")[0]
    if "@" in rest and "@" not in before:
        return f"{scheme}://..."
    host = before.rpartition("@")[2].partition("/")[0]
    return f"{scheme}://{host}/..."


def refuse_credentials(where: str) -> None:
    """Raise `UsageError` where an address holds credentials, which would end up in files."""
    shown = shown_address(where)
    try:
        held = holds_credentials(where)
    except ValueError:
        raise UsageError(f"{shown}: its host is invalid; write it as s3://NAME/PATH") from None
    if held:
        raise UsageError(
            f"{shown}: an address must not hold credentials; give them in the environment, as the "
            "file system's package reads them"
        )


def refuse_address(path: str | Path | None, what: str, instead: str) -> None:
    """Raise `UsageError` where a path for `what` is an address; `instead` says what to do."""
    if path is not None and is_address(path):
        raise UsageError(f"{what} cannot be {shown_address(address_of(path))}: {instead}")
