"""Texts made comparable, and their 128-bit hashes: one by one, or a whole Arrow column at once.

All are composed (NFC) first.

Columns take a fast path for ASCII rows only. Arrow's rules for other scripts differ from Python's
in rare cases, and a row must be equal to another or not, whichever path looked at it.
"""

from __future__ import annotations

import functools
import re
import string
import sys
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from curate.kernels.text.words import composed
from curate.rows.hashing import digests_between

_SPACE = re.compile(r"\s+")
# Python's white space within ASCII; RE2's own `\s` lacks five of these characters.
_ASCII_SPACE = r"[\t-\r\x1c-\x20]+"
_ASCII_PUNCTUATION = f"[{re.escape(string.punctuation)}]+"


class Ignored(NamedTuple):
    """What a comparison of two texts overlooks."""

    case: bool = False
    space: bool = False
    punctuation: bool = False


def normalise(text: str, ignored: Ignored) -> str:
    """Return `text` composed (NFC), with everything that is `ignored` removed or made alike.

    Runs of white space become one space and vanish at both ends; punctuation means every character
    that Unicode calls punctuation or a symbol.
    """
    text = composed(text)
    if ignored.case:
        text = text.lower()
    if ignored.punctuation:
        text = text.translate(_punctuation())
    return _SPACE.sub(" ", text).strip() if ignored.space else text


def composed_column(texts: pa.StringArray) -> pa.StringArray:
    """Return what `composed` does for every text of a column without nulls."""
    others = np.flatnonzero(~np.asarray(pc.string_is_ascii(texts)))
    changed = {
        place: composed(text)
        for place, text in zip(
            others.tolist(), texts.take(pa.array(others)).to_pylist(), strict=True
        )
        if not unicodedata.is_normalized("NFC", text)
    }
    if not changed:
        return texts
    mask = np.zeros(len(texts), np.bool_)
    mask[list(changed)] = True
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(changed.values(), pa.string()))


def lowered_column(texts: pa.StringArray, lower: Callable[[str], str]) -> pa.StringArray:
    """Return a column without nulls with every text that is not ASCII put in lower case by `lower`.

    ASCII texts are returned as they are.
    """
    others = pc.invert(pc.string_is_ascii(texts))
    if not pc.any(others).as_py():
        return texts
    lowered = list(map(lower, texts.filter(others).to_pylist()))
    return pc.replace_with_mask(texts, others, pa.array(lowered, pa.string()))


def normalise_column(texts: pa.StringArray, ignored: Ignored) -> pa.StringArray:
    """Return what `normalise` does for every text of a column without nulls."""
    if not any(ignored):
        return composed_column(texts)
    ascii_only = pc.string_is_ascii(texts)
    out = pc.if_else(ascii_only, texts, "")
    if ignored.case:
        out = pc.ascii_lower(out)
    if ignored.punctuation:
        out = pc.replace_substring_regex(out, _ASCII_PUNCTUATION, "")
    if ignored.space:
        out = pc.ascii_trim(pc.replace_substring_regex(out, _ASCII_SPACE, " "), " ")
    others = pc.invert(ascii_only)
    if not pc.any(others).as_py():
        return out
    rewritten = [normalise(text, ignored) for text in texts.filter(others).to_pylist()]
    return pc.replace_with_mask(out, others, pa.array(rewritten, pa.string()))


@functools.cache
def _punctuation() -> dict[int, None]:
    points = range(sys.maxunicode + 1)
    return {point: None for point in points if unicodedata.category(chr(point))[0] in "PS"}


def text_digest(text: str, attached: str = "") -> bytes | None:
    """Return the 128-bit hash (XXH3) of a text and what is `attached`, `None` where both are empty.

    A byte that no text holds stands between the two.
    """
    if attached:
        return xxhash.xxh3_128_digest(b"\xff".join((text.encode(), attached.encode())))
    return xxhash.xxh3_128_digest(text.encode()) if text else None


def text_digests(
    texts: pa.StringArray, attached: Mapping[int, str] | None = None
) -> pa.FixedSizeBinaryArray:
    """Return `text_digest` of every text of a column without nulls, `attached` by place."""
    _, ends, data = texts.buffers()
    out = pa.nulls(len(texts), pa.binary(16))
    if len(texts) and data is not None:
        offsets = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        joined = b"".join(digests_between(offsets.tolist(), memoryview(data)))
        hashes = pa.Array.from_buffers(pa.binary(16), len(texts), [None, pa.py_buffer(joined)])
        out = pc.if_else(pa.array(np.diff(offsets) > 0), hashes, pa.scalar(None, pa.binary(16)))
    if not attached:
        return out
    where = sorted(attached)
    pairs = zip(texts.take(pa.array(where)).to_pylist(), map(attached.get, where), strict=True)
    mask = np.zeros(len(texts), np.bool_)
    mask[where] = True
    mixed = pa.array([text_digest(text, more or "") for text, more in pairs], pa.binary(16))
    return pc.replace_with_mask(out, pa.array(mask), mixed)
