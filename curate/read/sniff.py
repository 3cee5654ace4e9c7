"""Learn a file's shape from its first records, before anything is run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.errors import InputError
from curate.read.records import reads_of

SNIFFED = 20


def first_records(path: Path, form: str, name: str) -> list[Mapping[str, Any]]:
    """Return the first readable records of the file that its user calls `name`, or raise."""
    found: list[Mapping[str, Any]] = []
    first_error = None
    with contextlib.closing(reads_of(path, form)) as reads:
        for number, read in enumerate(reads, 1):
            if isinstance(read.record, Mapping):
                found.append(read.record)
            elif first_error is None:
                first_error = f"line {read.line}: {read.error}"
            if len(found) == SNIFFED or (found and number >= SNIFFED):
                break
    if not found:
        raise InputError(f"{name}: not one readable row; {first_error or 'it holds no record'}")
    return found
