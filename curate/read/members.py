"""Split plain JSON lines into the members of their objects, for a whole part at once.

Files carry columns beside those of their shape: ids, sources, tags. Here the bytes of each member
are found with NumPy, where every line has the same keys in the same order, as programs write them.
The shape's own members go on to Arrow, which checks them; the others become the text of `extra`.
Anything unusual makes `split_lines` give up, and the part is then read line by line.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.read.shapes.record_fields import dumps
from curate.read.strict_json import MAX_DEPTH, parse

# Of so many brackets and commas in a part the places alone would take hundreds of MB.
_MOST_MARKS = 8 << 20
# Each member has arrays of its own.
_MOST_MEMBERS = 1000
_QUOTE, _SLASH, _SPACE, _COLON, _COMMA, _NEWLINE, _OPEN, _CLOSE = b'"\\ :,\n{}'
# Texts without escapes, whole numbers and constants are written as they were read.
_AS_WRITTEN = r'^(?:"[^"\\\x00-\x1f]*"|-?[1-9][0-9]{0,17}|0|true|false|null)$'


class SplitMembers(NamedTuple):
    """A part's lines with only the wanted members; the others' `names`, and as JSON objects."""

    lines: pa.Buffer
    names: list[str]
    extra: pa.StringArray


class _Members(NamedTuple):
    """The lines' members: `names`, and where keys begin and values begin and end (lines x keys)."""

    names: list[str]
    keys: np.ndarray
    values: np.ndarray
    ends: np.ndarray


def split_lines(data: bytes, count: int, wanted: Collection[str]) -> SplitMembers | None:
    """Return the `wanted` members of `count` lines and the text of all others.

    `None` where lines differ in their keys, or hold what only a closer look can judge.
    """
    found = _members(data, count)
    if found is None:
        return None
    kept = [k for k, name in enumerate(found.names) if name in wanted]
    others = [k for k, name in enumerate(found.names) if name not in wanted]
    if not kept or not others:
        return None
    pieces: list[pa.Array | str] = []
    for k in others:
        texts = _compact(_slices(data, found.values[:, k], found.ends[:, k]))
        if texts is None:
            return None
        pieces += ["," if pieces else "{", dumps(found.names[k]) + ":", texts]
    extra = pc.binary_join_element_wise(*pieces, "}", "")
    members = [_slices(data, found.keys[:, k], found.ends[:, k], pa.binary()) for k in kept]
    objects = pc.binary_join_element_wise(*members, b",")
    lines = pc.binary_join_element_wise(b"{", objects, b"}\n", b"")
    return SplitMembers(lines.buffers()[2], [found.names[k] for k in others], extra)


def _slices(
    data: bytes, begins: np.ndarray, ends: np.ndarray, type_: pa.DataType | None = None
) -> pa.Array:
    """Return ranges of `data` as an array: every other piece of a list that points into it."""
    offsets = np.empty(2 * len(begins) + 1, np.int32)
    offsets[:-1:2], offsets[1::2], offsets[-1] = begins, ends, ends[-1]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    pieces = pa.Array.from_buffers(type_ or pa.string(), len(offsets) - 1, buffers)
    return pieces.take(pa.array(np.arange(0, len(offsets) - 1, 2)))


def _compact(values: pa.StringArray) -> pa.StringArray | None:
    """Return JSON values as `dumps` writes them, or `None` where strict JSON refuses one."""
    try:
        values.validate(full=True)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    other = pc.invert(pc.match_substring_regex(values, _AS_WRITTEN))
    texts = values.filter(other).to_pylist()
    if not texts:
        return values
    # The line itself is one level more.
    if any(text.count("[") + text.count("{") >= MAX_DEPTH for text in texts):
        return None
    try:
        written = [dumps(parse(text)) for text in texts]
    except (ValueError, RecursionError):
        return None
    return pc.replace_with_mask(values, other, pa.array(written, pa.string()))


# -- where members are ----------------------------------------------------------------------------


def _members(data: bytes, count: int) -> _Members | None:
    """Return the members of lines that all have the first line's keys, in its order."""
    view = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", np.uint8)
    marked = _MARKS[view]
    if np.count_nonzero(marked) > _MOST_MARKS:
        return None
    at, marks = _structure(view, np.flatnonzero(marked))
    level = np.cumsum(_STEPS[marks], dtype=np.int32)
    # What stands between lines, around an object, and between its members.
    outer = np.flatnonzero(_OUTER[marks] & (level <= _OUTERMOST[marks]))
    size, odd = divmod(len(outer), count)
    if odd or not 4 <= size <= 2 * _MOST_MEMBERS or size % 2:
        return None
    places, told = outer.reshape(count, size), marks[outer].reshape(count, size)
    # { then : , for every member, the last comma a brace, and the line's end.
    pattern = np.full(size, _COMMA, np.uint8)
    pattern[0], pattern[1::2], pattern[-2:] = _OPEN, _COLON, (_CLOSE, _NEWLINE)
    if not (told == pattern).all():
        return None
    colons, ends, before = places[:, 1:-2:2], at[places[:, 2:-1:2]], at[places[:, 0:-2:2]]
    keys = at[colons - 2]
    ahead = keys - before - 1
    tight = (at[colons - 1] == at[colons] - 1) & (marks[colons - 1] == _QUOTE)
    spaced = (ahead == 0) | ((ahead == 1) & (view[keys - 1] == _SPACE))
    if not (tight & spaced & (marks[colons - 2] == _QUOTE)).all():
        return None
    names = _names(view, keys, at[colons])
    values = at[colons] + 1
    values += view[values] == _SPACE
    return None if names is None else _Members(names, keys, values, ends)


def _table(marks: bytes, value: int = 1, *, kind: type = np.bool_) -> np.ndarray:
    table: np.ndarray = np.zeros(256, kind)
    table[list(marks)] = value
    return table


_MARKS = _table(b'"{}[]:,\n')
_OUTER = _table(b"{}:,\n")
_STEPS = _table(b"{[", 1, kind=np.int8) + _table(b"}]", -1, kind=np.int8)
# The level behind each mark where it belongs to the line's own object.
_OUTERMOST = _table(b"{:,", 1, kind=np.int8)


def _structure(view: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return those of the places `at` with quotes, and with other marks between texts."""
    marks = view[at]
    quotes = marks == _QUOTE
    escaped = np.flatnonzero(quotes & (view[at - 1] == _SLASH) & (at > 0))
    if len(escaped):
        # A quote behind an odd number of backslashes ends nothing.
        slashes = np.flatnonzero(view == _SLASH)
        fresh = np.ones(len(slashes), bool)
        fresh[1:] = np.diff(slashes) != 1
        begins = np.maximum.accumulate(np.where(fresh, slashes, 0))
        before = at[escaped] - begins[np.searchsorted(slashes, at[escaped]) - 1]
        quotes[escaped[before % 2 == 1]] = False
    inside = np.cumsum(quotes) & 1
    real = quotes | ((inside == 0) & (marks != _QUOTE))
    return at[real], marks[real]


def _names(view: np.ndarray, keys: np.ndarray, colons: np.ndarray) -> list[str] | None:
    """Return the first line's keys, once every line was found to have the same bytes there."""
    names = []
    lengths = colons - keys
    if (lengths != lengths[0]).any():
        return None
    for k, length in enumerate(lengths[0].tolist()):
        seen = view[keys[:, k, None] + np.arange(length)]
        if (seen != seen[0]).any():
            return None
        try:
            names.append(parse(seen[0].tobytes().decode()))
        except ValueError:
            return None
    return names if len(set(names)) == len(names) else None
