"""Change small files at random, by bytes, by structure and by type, from a seed that repeats."""

from __future__ import annotations

import datetime
import decimal
import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa

_PIECES = (
    b"", b"\0", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b'"',
    b"'", b",", b":", b"{", b"}", b"[", b"]", b"<", b">", b"&", b"\\", b"\\u", b"\\ud800", b"null",
    b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-0", b"true", b"\t", b";", b"|", b"---\n",
    b"<<: *a\n", b"&a ", b"*a", b"!!python/object/apply:os.system [id]\n", b"{{", b"}}", b"{%",
    b"%}", b"|||", b"#", b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"<row ", b"/>", b"]]>", b"PAR1",
    b"\x1f\x8b\x08", b"[" * 400, b'{"a":' * 400, "\u2028\u2029\x85".encode(), "\U0001f600".encode(),
    "e\u0301\u0301\u0301".encode(), "\ufdfa".encode() * 40, b"\x1b]0;x\x07\x1b[2J",
)  # fmt: skip
_DEEP: Any = "x"
for _ in range(300):
    _DEEP = [_DEEP]
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 10**30, -(10**30), 10**4200, 0.5, -0.0, 1e308, 5e-324, "", " ",
    "x", "0", "1", "-1", "NaN", "true", "null", "chosen", "user", "assistant", "system", "tool",
    "\n", "\0", "\ud800", "\x1b[31m", "\u202e", "e\u0301", "x" * 3000, "[]", "{}",
    '[{"role": "user"}]',
    "[" * 500, [], {}, [None], [[]], [{}], ["x"], {"": ""}, {"a": {"b": [1, "c"]}}, ["x", 1, None],
    [{"role": "user", "content": "x"}], [{"from": "human", "value": "x"}], {"role": "x"}, _DEEP,
)  # fmt: skip


def bytes_changed(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return `data` after a few changes that know nothing of its format."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(out) + 1)
        end = min(len(out), at + rng.choice((1, 1, 2, 8, 64, 1024)))
        what = rng.randrange(8)
        if what == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif what == 1:
            out[at:at] = rng.choice(_PIECES)
        elif what == 2:
            del out[at:end]
        elif what == 3:
            out[at:at] = out[at:end] * rng.choice((1, 1, 3, 30))
        elif what == 4:
            del out[at:]
        elif what == 5:
            out[at:end] = rng.randbytes(end - at)
        elif what == 6:
            out[at:end] = rng.choice(_PIECES)
        else:
            other = rng.choice(others)
            from_ = rng.randrange(len(other) + 1)
            out[at:end] = other[from_ : from_ + rng.choice((4, 64, 1024))]
    return bytes(out[: 1 << 20])


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in lists and mappings."""
    found = [path]
    if isinstance(value, dict):
        for key, own in value.items():
            found += places_of(own, (*path, key))
    elif isinstance(value, list) and value is not _DEEP:
        for index, own in enumerate(value):
            found += places_of(own, (*path, index))
    return found


def data_changed(value: Any, rng: random.Random, values: tuple[Any, ...] = VALUES) -> Any:
    """Return plain data after a few changes of its values, keys and lists."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _changed_once(value, rng.choice(places_of(value)), rng, values)
    return value


def _changed_once(
    value: Any, path: tuple[Any, ...], rng: random.Random, values: tuple[Any, ...]
) -> Any:
    if path:
        inner = _changed_once(value[path[0]], path[1:], rng, values)
        if len(path) > 1 or rng.random() < 0.7:
            if isinstance(value, dict):
                return {**value, path[0]: inner}
            return [*value[: path[0]], inner, *value[path[0] + 1 :]]
        if isinstance(value, dict):
            rest = {key: own for key, own in value.items() if key != path[0]}
            name = rng.choice([*value, "x", "", "model", "on", "path", "messages", "extra", "id"])
            return rest if rng.random() < 0.5 else {**rest, name: value[path[0]]}
        what = rng.randrange(3)
        rest = [*value[: path[0]], *value[path[0] + 1 :]]
        if what == 0:
            return rest
        return [*value, value[path[0]]] if what == 1 else rng.sample(value, len(value))
    what = rng.randrange(6)
    if what == 0:
        return [value]
    if what == 1:
        try:
            return str(value)
        except ValueError:  # A number of over 4,300 digits.
            return f"{value:x}" if isinstance(value, int) else type(value).__name__
    if what == 2 and isinstance(value, dict):
        return list(value.values())
    if what == 3 and isinstance(value, str):
        return bytes_changed(value.encode("utf-8", "replace"), rng, [b"x"]).decode(
            "utf-8", "replace"
        )
    return rng.choice(values)


def json_of(value: Any) -> bytes:
    """Return plain data as JSON, lone surrogates as escapes."""
    return json.dumps(value, ensure_ascii=True).encode()


_NOW = datetime.datetime(2026, 1, 1)
_ARROW: tuple[Callable[[int], pa.Array], ...] = (
    lambda n: pa.nulls(n),
    lambda n: pa.array([2**63 - 1] * n, pa.int64()),
    lambda n: pa.array([2**64 - 1] * n, pa.uint64()),
    lambda n: pa.array([float("nan"), float("inf"), 1.5][:n] + [None] * (n - 3), pa.float64()),
    lambda n: pa.array([1.5] * n, pa.float16()),
    lambda n: pa.array([True] * n),
    lambda n: pa.array([b"\xff\xfe"] * n, pa.binary()),
    lambda n: pa.Array.from_buffers(
        pa.string(),
        n,
        [
            None,
            pa.array(range(0, 2 * n + 2, 2), pa.int32()).buffers()[1],
            pa.py_buffer(b"\xff\xc0" * n),
        ],
    ),
    lambda n: pa.array(["x"] * n, pa.large_string()),
    lambda n: pa.array(["x"] * n, pa.string_view()),
    lambda n: pa.array(["x"] * n).dictionary_encode(),
    lambda n: pa.array([_NOW] * n, pa.timestamp("ns", "Europe/Paris")),
    lambda n: pa.array([_NOW] * n, pa.timestamp("s")),
    lambda n: pa.array([2**62] * n, pa.timestamp("us")),
    lambda n: pa.array([2**31 - 1] * n, pa.date32()),
    lambda n: pa.array([_NOW.time()] * n, pa.time64("ns")),
    lambda n: pa.array([2**63 - 1] * n, pa.duration("ns")),
    lambda n: pa.array([decimal.Decimal("1.10")] * n, pa.decimal128(38, 2)),
    lambda n: pa.array([[("k", "v"), ("k", "w")]] * n, pa.map_(pa.string(), pa.string())),
    lambda n: pa.array([[1, None]] * n, pa.list_(pa.int32())),
    lambda n: pa.array([[{"role": "user", "content": None}]] * n),
    lambda n: pa.array([{"a": None, "b": [1]}] * n),
    lambda n: pa.array([[["x"]]] * n, pa.large_list(pa.list_(pa.string()))),
    lambda n: pa.array([[1.0, 2.0]] * n, pa.list_(pa.float32(), 2)),
    lambda n: pa.array([b"0123456789abcdef"] * n, pa.binary(16)),
    lambda n: pa.array(['{"a": NaN}', "[" * 500, "1"][:n] + ["{}"] * (n - 3), pa.json_()),
    lambda n: pa.array([b"0123456789abcdef"] * n, pa.uuid()),
    lambda n: pa.array([[]] * n, pa.list_(pa.struct([]))),
)


def table_changed(table: pa.Table, rng: random.Random) -> pa.Table:
    """Return a table with a column of another type, name or place, or without one."""
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(table.num_columns)
        name, what = table.column_names[at], rng.randrange(8)
        if what == 0 and table.num_columns > 1:
            table = table.remove_column(at)
        elif what == 1:
            names = [*table.column_names, "x", "", "messages", "prompt", "extra", "system"]
            table = table.rename_columns(
                [rng.choice(names) if n == at else one for n, one in enumerate(table.column_names)]
            )
        elif what == 2:
            table = table.append_column(
                rng.choice(["x", "", "score", "id"]), rng.choice(_ARROW)(len(table))
            )
        elif what == 3:
            table = pa.concat_tables([table] * rng.choice((1, 2, 3)))
        elif what == 4:
            table = table.slice(rng.randrange(len(table) + 1))
            if not len(table):
                return table
        else:
            table = table.set_column(at, name, rng.choice(_ARROW)(len(table)))
    return table
