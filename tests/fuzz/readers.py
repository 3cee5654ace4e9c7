"""What a reader must do with a mutant: refuse it in words, or account for every record of it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import shutil
import signal
import xml.etree.ElementTree as etree
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from curate import Pipeline
from curate.chunk import Chunk
from curate.errors import UsageError
from curate.read import open_inputs, open_records, read_part
from curate.read.shapes import shape as shape_called
from curate.steps import Length

SECONDS = 20.0
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".bz2": lambda data: bz2.compress(data, 1),
    ".zst": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
}
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
}


class Hang(BaseException):
    """A mutant took longer than `SECONDS`."""


class Finding(AssertionError):
    """A mutant was neither refused in words nor accounted for."""


class Target(NamedTuple):
    """A reader: what makes a mutant (a name and bytes, or data) and what reads it."""

    mutant: Callable[[random.Random], Any]
    read: Callable[[Any, Path], str]


@contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """Raise `Hang` where the body takes longer; only the main thread can have such a limit."""

    def late(signum: int, frame: FrameType | None) -> None:
        raise Hang(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check(target: Target, mutant: Any, folder: Path) -> str:
    """Return how a mutant ended, "read" or "refused"; raise for anything else."""
    try:
        with limited():
            return target.read(mutant, folder)
    except UsageError as error:
        said = str(error)
        if len(said) < 12 or len(said) > 20_000:
            raise Finding(f"a message of {len(said)} characters: {said[:200]!r}") from error
        return "refused"


# -- data files -----------------------------------------------------------------------------------


def read_file(given: tuple[str, bytes, bool], folder: Path) -> str:
    name, data, whole_run = given
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    try:
        return _accounted(path, data, whole_run, folder)
    finally:
        path.unlink()


def _accounted(path: Path, data: bytes, whole_run: bool, folder: Path) -> str:
    # As a test set it may be refused where it is not an input, and the other way round.
    records = None
    with suppress(UsageError):
        records = sum(1 for _, reads in open_records(str(path)) for _ in reads)
    inputs = open_inputs(str(path))
    read = failed = lines = 0
    for part in inputs.parts():
        rows = read_part(part)
        places = sorted([*rows.ordinals.tolist(), *(one.ordinal for one in rows.unreadable)])
        if places != list(range(rows.records)) or rows.table.num_rows != len(rows.ordinals):
            raise Finding(f"{rows.records} records, and {places} are rows or failures")
        if any(not one.error for one in rows.unreadable):
            raise Finding("a failure without a reason")
        if rows.table.num_rows:
            rows.table.validate(full=True)
            whole = rows.table.append_column(
                "id", pa.array([b"0" * 16] * len(rows.table), pa.binary(16))
            )
            Chunk(whole.append_column("seq", pa.array([[0, 0, 0]] * len(whole)))).rows()
        read, failed = read + len(rows.ordinals), failed + len(rows.unreadable)
        lines += rows.lines
    file = inputs.files[0]
    form = shape_called(file.shape)
    if not form.grouped and form.instances is None:
        wanted = _count(file.form, data)
        # Other readers of packed files pass over rubbish behind them; for ours the file breaks off.
        rubbish = int(file.form.endswith(tuple(PACKINGS)))
        if wanted is not None and read + failed not in (wanted, wanted + rubbish):
            raise Finding(f"{wanted} records came in; {read} rows and {failed} failures are known")
        if records is not None and records != read + failed:
            raise Finding(f"{records} as a test set, {read + failed} as an input")
    if whole_run:
        _run(path, read, failed, folder)
    return "read"


def _run(path: Path, read: int, failed: int, folder: Path) -> None:
    """Put a file through a whole run; all rows must be accounted for there, too."""
    run, out = folder / "run", folder / "out.jsonl"
    try:
        step = Length(min=1, on="whole")
        result = Pipeline([step]).run(str(path), run=run, store=folder / "store", allow_failed=1.0)
        told = result.summary
        ends = told["kept"] + told["used"] + told["dropped"] + told["failed"]
        if told["in"] + told["made"] != ends or told["in"] != read + failed:
            raise Finding(f"the report counts {told}, {read} rows and {failed} failures were read")
        result.kept.to_list()
    finally:
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(folder / "store", ignore_errors=True)
        out.unlink(missing_ok=True)


def _count(form: str, data: bytes) -> int | None:
    """Return the number of records by another reader than ours, where that one can read it."""
    packing = next((p for p in PACKINGS if form.endswith(p)), "")
    form = form.removesuffix(packing)
    try:
        if packing == ".zst":
            data = pa.input_stream(pa.BufferReader(data), compression="zstd").read()
        elif packing:
            data = _UNPACK[packing](data)
        if form == ".jsonl":
            lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
            return sum(bool(line.strip()) for line in lines)
        if form == ".json":
            value = json.loads(data.decode("utf-8-sig"))
            return len(value) if isinstance(value, list) else 1
        if form in (".csv", ".tsv"):
            text = io.StringIO(data.decode("utf-8-sig"), newline="")
            rows = csv.reader(text, delimiter="," if form == ".csv" else "\t", strict=True)
            return sum(bool(row) for row in rows) - 1
        if form == ".xml":
            return sum(1 for _ in etree.fromstring(data).iter("row"))
        if form == ".parquet":
            return int(pq.read_table(io.BytesIO(data)).num_rows)
        if form == "documents":
            return 1
    except (ValueError, EOFError, OSError, csv.Error, RecursionError, etree.ParseError):
        return None
    except (lzma.LZMAError, pa.ArrowException, zlib.error):
        return None
    return None
