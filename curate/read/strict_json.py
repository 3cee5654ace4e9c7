"""Strict JSON, one line at a time: what the fast path must agree with, and what explains errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from curate.read.part import LINE_BYTES, MOST_VALUES, RAW_BYTES, Read

# Far beyond any example, and far below Python's own limit, which depends on the caller's stack.
MAX_DEPTH = 200
# A JSON text, or what is there of one that has no end yet.
_TEXT = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def read_lines(data: bytes) -> Iterator[Read]:
    """Yield every non-blank line of `data` as a record or an error."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line or line.isspace():
            continue
        record, error = None, None
        if len(line) > LINE_BYTES:
            error = too_long()
        else:
            try:
                record = parse(line.decode())
            except (ValueError, RecursionError) as wrong:
                error = describe(wrong)
        if error is None and not isinstance(record, dict):
            names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
            error = f"a line must be a JSON object, not {names.get(type(record), 'a number')}"
        yield Read(record, error, line[:RAW_BYTES], number, len(line))


def line_count(data: bytes) -> int:
    """Return the number of lines; a last one may lack its newline."""
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def parse(text: str) -> Any:
    """Return the JSON value of `text`; refuse what no two readers would understand alike.

    That is NaN, numbers out of range, duplicate keys, lone surrogates, bottomless nesting and more
    values than memory may be spent on.
    """
    if len(text) > MOST_VALUES and has_too_many(text):
        raise ValueError(too_many())
    value = _DECODER.decode(text)
    if text.count("[") + text.count("{") > MAX_DEPTH:
        check_depth(value)
    if "\\ud" in text or "\\uD" in text:
        check_text(value)
    return value


def most_values(text: str) -> int:
    """Return how many values there are at most in a JSON text."""
    return text.count(",") + text.count("[") + text.count("{")


def has_too_many(text: str) -> bool:
    """Tell whether a JSON text has more values than are read."""
    # Commas and brackets in texts are not values.
    return most_values(text) > MOST_VALUES and most_values(_TEXT.sub("", text)) > MOST_VALUES


def check_depth(value: Any) -> None:
    """Raise `ValueError` when lists and objects in `value` stand too deep in each other."""
    level, depth = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(_too_deep())
        level = [v for box in level for v in (box.values() if isinstance(box, dict) else box)]


def _too_deep() -> str:
    return f"nested deeper than {MAX_DEPTH} levels"


def check_text(value: Any) -> None:
    """Raise `ValueError` when a text in `value` holds half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        if 0xDC80 <= code <= 0xDCFF:
            # How Python holds a byte that is not UTF-8 (PEP 383), where a reader lets it through.
            raise ValueError(f"invalid UTF-8 (0x{code - 0xDC00:02x})") from None
        found = f"\\u{code:04x}"
        raise ValueError(
            f"a lone surrogate ({found}) is not text; write the whole character"
        ) from None


def describe(error: Exception) -> str:
    """Say in words why a line is not JSON."""
    if isinstance(error, UnicodeDecodeError):
        return f"invalid UTF-8 at byte {error.start + 1} (0x{error.object[error.start]:02x})"
    if isinstance(error, RecursionError):
        return _too_deep()
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON at column {error.colno}: {error.msg}"
    return str(error)


def too_long() -> str:
    """Say that a record passes the limit in bytes."""
    return f"longer than {LINE_BYTES >> 20} MB"


def too_many() -> str:
    """Say that a record has more values than are read."""
    return f"more than {MOST_VALUES:,} values in one record; split it into several"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key '{twice}' stands twice; which one counts cannot be known")
    return out


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number; write null or a number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
)
