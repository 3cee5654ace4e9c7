"""Rows in memory as an input: a list of dicts, a pandas DataFrame, or a `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from curate.errors import InputError, UsageError
from curate.read.file import File
from curate.read.part import Read
from curate.read.shapes import guess, shape
from curate.read.shapes.record_fields import plain
from curate.read.sniff import SNIFFED
from curate.read.strict_json import check_depth, describe

_ALLOWED = "give a path, a list of dicts, a pandas DataFrame or a datasets.Dataset"


def open_memory(
    index: int, source: str, given: Any, wanted: str | None, name: str = "memory"
) -> File:
    """Open a list of records, a pandas DataFrame, or a `datasets.Dataset`."""
    records: Any
    if hasattr(given, "with_format") and hasattr(given, "data"):
        records, form, size = given, "dataset", int(given.data.nbytes)
        first = given.with_format("arrow")[:SNIFFED].to_pylist()
    else:
        records, form = [_settled(record) for record in _records(source, given)], "memory"
        first = records[:SNIFFED]
        size = sum(len(str(r)) for r in records[:100]) * max(1, len(records) // 100)
    seen = [record for record in first if isinstance(record, Mapping)]
    if not seen:
        why = first[0].error if len(first) else "it is empty"
        raise InputError(f"input '{source}' holds no record ({why}); {_ALLOWED}")
    found = wanted or guess(seen, f"input '{source}'")
    shape(found)
    return File(index, 0, name, source, found, form, size, records=records)


def _records(source: str, given: Any) -> Iterable[Any]:
    if hasattr(given, "to_dict") and hasattr(given, "columns") and hasattr(given, "iloc"):
        records: Iterable[Any] = given.to_dict(orient="records")
        return records
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        return given
    raise UsageError(f"input '{source}' is of type {type(given).__name__}; {_ALLOWED}")


def _settled(record: Any) -> Any:
    """Return a record in memory as JSON data, or a `Read` that says why it is none."""
    if not isinstance(record, Mapping):
        wrong = f"a row must be a dict, not {type(record).__name__}"
        return Read(None, wrong, repr(record).encode("utf-8", "replace"))
    try:
        settled = plain(record)
        check_depth(settled)
    except (ValueError, RecursionError) as error:
        return Read(None, describe(error), ", ".join(map(str, record)).encode("utf-8", "replace"))
    return settled
