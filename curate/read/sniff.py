"""Learn a file's shape from its first records, before anything is run."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.errors import InputError
from curate.read.documents import read_document
from curate.read.lines import BOM, Cut, cut_file, cut_stream, open_stream
from curate.read.part import Read
from curate.read.strict import read_lines, too_long
from curate.read.tables import read_csv, read_flan, read_parquet

SNIFFED = 20
_HEAD = 1 << 20


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


def reads_of(path: Path, form: str) -> Generator[Read, None, None]:
    """Yield a file's records, few of each part unless none of them can be read."""
    if form == ".json":
        yield from read_document(path)
    elif form in (".csv", ".tsv"):
        yield from read_csv(path, "," if form == ".csv" else "\t")
    elif form == "flan":
        yield from read_flan(path)
    elif form == ".parquet":
        for batch in read_parquet(path):
            yield from (Read(record) for record in batch.slice(0, SNIFFED).to_pylist())
    elif form == ".jsonl":
        for number, cut in enumerate(cut_file(path)):
            yield from _few_lines(_first_lines(path, cut), cut, first=number == 0)
    else:
        with open_stream(path) as stream:
            for number, cut in enumerate(cut_stream(stream)):
                yield from _few_lines(iter([cut.data or b""]), cut, first=number == 0)


def _few_lines(pieces: Iterator[bytes], cut: Cut, *, first: bool) -> Iterator[Read]:
    if cut.head is not None:
        yield overlong(cut)
        return
    for data in pieces:
        yield from read_lines(data.removeprefix(BOM) if first else data)
    if cut.broken:
        yield Read(None, cut.broken, b"", 1)


def _first_lines(path: Path, cut: Cut) -> Iterator[bytes]:
    """Yield the lines of a range in two pieces: a shape is learnt without reading it all."""
    with open(path, "rb") as file:
        file.seek(cut.offset)
        data = file.read(min(_HEAD, cut.length))
        end = data.rfind(b"\n") + 1
        yield data[:end]
        yield data[end:] + file.read(cut.length - len(data))


def overlong(cut: Cut) -> Read:
    """Return the record of a line that is too long to be held."""
    return Read(None, cut.broken or too_long(), cut.head or b"", 1)
