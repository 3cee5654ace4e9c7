"""Judgements that stand in columns: numbers and verdicts, found by a path into a row's columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# How verdicts on two answers are written: 1 the first, 0 the second, 0.5 neither.
_VERDICTS = {
    "1": 1.0, "a": 1.0, "first": 1.0, "output_1": 1.0, "response1": 1.0, "chosen": 1.0,
    "2": 0.0, "b": 0.0, "second": 0.0, "output_2": 0.0, "response2": 0.0, "rejected": 0.0,
    "0": 0.5, "c": 0.5, "tie": 0.5, "equal": 0.5, "both": 0.5, "neither": 0.5,
}  # fmt: skip


def value_at(columns: Any, path: str) -> Any:
    """Return what stands at a path into nested columns (`results.0.winner`), `None` for nothing.

    Names and places of lists are separated by full stops; a name that holds one is found whole.
    """
    if isinstance(columns, Mapping) and path in columns:
        return columns[path]
    head, _, rest = path.partition(".")
    if isinstance(columns, Mapping):
        inner = columns.get(head)
    elif isinstance(columns, list) and head.isdecimal() and int(head) < len(columns):
        inner = columns[int(head)]
    else:
        return None
    return value_at(inner, rest) if rest else inner


def number_at(columns: Any, path: str) -> float | None:
    """Return the number at a path; true is 1, false 0, and `None` stands for all else."""
    value = value_at(columns, path)
    return float(value) if isinstance(value, int | float) else None


def numbers_below(columns: Any, path: str) -> Iterator[tuple[str, float]]:
    """Yield every number at a path or below it, with its own path."""
    value = value_at(columns, path)
    if isinstance(value, Mapping):
        for name in value:
            yield from numbers_below(columns, f"{path}.{name}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, float(value)


def verdict_at(columns: Any, path: str) -> float | None:
    """Return the verdict at a path: 1 for the first answer, 0 for the second, 0.5 for a tie.

    Raises:
        ValueError: something else stands there; nothing at all is `None`.
    """
    value = value_at(columns, path)
    if value is None:
        return None
    found = _VERDICTS.get(str(value).strip().lower())
    if found is None:
        raise ValueError(
            f"the column '{path}' holds {value!r:.40}, which is not a verdict; allowed: 1, A or "
            "first; 2, B or second; 0, C or tie"
        )
    return found
