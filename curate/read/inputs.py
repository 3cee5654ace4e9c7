"""Open inputs: find their files, learn their shapes, and cut them into parts."""

from __future__ import annotations

import contextlib
import difflib
import functools
import glob
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from curate.data import shipped
from curate.errors import InputError, UsageError
from curate.read.documents import read_document
from curate.read.lines import BOM, Cut, cut_file, cut_stream, open_stream
from curate.read.part import PART_BYTES, PART_ROWS, Part, Read
from curate.read.shapes import guess, shape
from curate.read.shapes.fields import dumps, plain
from curate.read.strict import check_depth, describe, read_lines, too_long
from curate.read.tables import is_flan, read_csv, read_flan, read_parquet

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet", ".csv", ".tsv")
_SNIFFED = 20
_HEAD = 1 << 20
_MAGIC = {b"\x1f\x8b": ".jsonl.gz", b"\x28\xb5\x2f\xfd": ".jsonl.zst", b"PAR1": ".parquet"}


class File(NamedTuple):
    """One file of an input, or rows in memory (`records`)."""

    input_index: int
    file_index: int
    name: str
    source: str
    shape: str
    form: str
    size: int
    records: list[Any] | None = None


class Inputs:
    """All inputs of a run, in order."""

    def __init__(self, files: list[File], count: int) -> None:
        self.files, self.count = files, count

    @property
    def total_bytes(self) -> int:
        """The size of all files (compressed ones as they are)."""
        return sum(file.size for file in self.files)

    def kinds(self) -> set[str]:
        """Return the record kinds that the files' shapes give."""
        return {shape(file.shape).KIND for file in self.files}

    def fingerprint(self) -> list[dict[str, Any]]:
        """Return what the inputs are, by content: a changed byte makes another run."""
        return [dict(entry) for entry in self._fingerprint]

    @functools.cached_property
    def _fingerprint(self) -> list[dict[str, Any]]:
        return [
            {
                "input": file.source,
                "file": file.name,
                "size": file.size,
                "digest": _digest(file),
                "shape": file.shape,
            }
            for file in self.files
        ]

    def parts(self) -> Iterator[Part]:
        """Yield every part of every file, in order."""
        for file in self.files:
            yield from _parts(file)


def open_inputs(inputs: Any, *, shape: str | None = None) -> Inputs:
    """Open a path, a mapping of names to paths, or rows in memory.

    Raises:
        InputError: a file is missing, empty, not what its name says, or of no known shape.
        UsageError: the inputs are none of what can be read.
    """
    if inputs is None:
        raise UsageError("no input: give a path, rows, or `inputs:` in the recipe")
    named = _named(inputs)
    files: list[File] = []
    for index, (name, given) in enumerate(named.items()):
        own = given.get("shape") if isinstance(given, Mapping) else None
        where = given.get("path") if isinstance(given, Mapping) else given
        if isinstance(where, str | os.PathLike):
            files.extend(_open_files(index, name, os.fspath(where), own or shape))
        else:
            files.append(_open_memory(index, name, where, own or shape))
    return Inputs(files, len(named))


def _named(inputs: Any) -> dict[str, Any]:
    if isinstance(inputs, Mapping):
        return {"input": inputs} if "path" in inputs else dict(inputs)
    return {"input": inputs}


# -- rows in memory -------------------------------------------------------------------------------


def _open_memory(index: int, name: str, given: Any, wanted: str | None) -> File:
    """Open a list of records, a pandas DataFrame, or a datasets.Dataset."""
    if hasattr(given, "to_dict") and hasattr(given, "iloc"):
        records = given.to_dict(orient="records")
    elif hasattr(given, "to_list") and hasattr(given, "features"):
        records = given.to_list()
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        records = list(given)
    else:
        raise UsageError(
            f"input '{name}' is a {type(given).__name__}; give a path, a list of dicts, a pandas "
            "DataFrame or a datasets.Dataset"
        )
    records = [_settled(record) for record in records]
    seen = [record for record in records[:_SNIFFED] if isinstance(record, Mapping)]
    if not seen:
        raise InputError(f"input '{name}' holds no record (a dict) among its first rows")
    found = wanted or guess(seen, f"input '{name}'")
    shape(found)
    size = sum(len(str(r)) for r in records[:100]) * max(1, len(records) // 100)
    return File(index, 0, "memory", name, found, "memory", size, records)


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


# -- files ----------------------------------------------------------------------------------------


def _open_files(index: int, source: str, where: str, wanted: str | None) -> list[File]:
    files = []
    for number, path in enumerate(expand(where)):
        form = _form(path)
        found = wanted or guess(_first_records(path, form), str(path))
        shape(found)
        size = path.stat().st_size
        files.append(File(index, number, str(path), source, found, form, size))
    return files


def expand(where: str) -> list[Path]:
    """Return the files that a path, a folder or a pattern names, in the order of their bytes."""
    where = shipped(where)
    path = Path(where)
    if path.is_dir():
        found = [p for p in sorted(path.iterdir(), key=os.fsencode) if _ending(p)]
        if not found:
            raise InputError(f"{where}: no file here ends in one of {', '.join(ENDINGS)}")
        return found
    if path.exists():
        return [path]
    if glob.has_magic(where):
        matches = sorted(glob.glob(where, recursive=True), key=os.fsencode)
        if matches:
            return [Path(match) for match in matches]
        raise InputError(f"{where}: no file matches")
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, 1)
    hint = f"; did you mean {path.parent / near[0]}?" if near else ""
    raise InputError(f"{where}: no such file{hint}")


def _ending(path: Path) -> str | None:
    return next((e for e in sorted(ENDINGS, key=len, reverse=True) if path.name.endswith(e)), None)


def _form(path: Path) -> str:
    """Return how a file is to be read, by its name and its first bytes."""
    ending = _ending(path)
    if ending is None:
        raise UsageError(f"{path}: cannot tell its format; allowed endings: {', '.join(ENDINGS)}")
    with open(path, "rb") as file:
        head = file.read(4096)
    if not head.removeprefix(BOM).strip():
        raise InputError(f"{path}: the file is empty")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: the file is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    real = next((e for magic, e in _MAGIC.items() if head.startswith(magic)), None)
    if real is not None and real != ending:
        raise InputError(f"{path}: its name says {ending}, its content is {real}; rename the file")
    if real is None and ending in _MAGIC.values():
        raise InputError(f"{path}: its name says {ending}, but its content is not; rename the file")
    text = head.removeprefix(BOM).lstrip()
    if ending == ".jsonl" and text.startswith(b"[") and text[1:].lstrip().startswith(b"{"):
        return ".json"
    if ending == ".tsv" and is_flan(text.decode("utf-8", "replace")):
        return "flan"
    if ending == ".json" and text.startswith(b"{") and _is_lines(text):
        return ".jsonl"
    return ending


def _is_lines(text: bytes) -> bool:
    """Tell whether a file called .json holds one object per line."""
    line, newline, rest = text.partition(b"\n")
    return bool(newline) and line.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{")


def _first_records(path: Path, form: str) -> list[Mapping[str, Any]]:
    """Return the first readable records, or raise when there is none."""
    found: list[Mapping[str, Any]] = []
    first_error = None
    with contextlib.closing(_sniff(path, form)) as reads:
        for number, read in enumerate(reads, 1):
            if isinstance(read.record, Mapping):
                found.append(read.record)
            elif first_error is None:
                first_error = f"line {read.line}: {read.error}"
            if len(found) == _SNIFFED or (found and number >= _SNIFFED):
                break
    if not found:
        raise InputError(f"{path}: not one readable row; {first_error or 'it holds no record'}")
    return found


def _sniff(path: Path, form: str) -> Generator[Read, None, None]:
    """Yield a file's records, few of each part unless none of them can be read."""
    if form == ".json":
        yield from read_document(path)
    elif form in (".csv", ".tsv"):
        yield from read_csv(path, "," if form == ".csv" else "\t")
    elif form == "flan":
        yield from read_flan(path)
    elif form == ".parquet":
        for batch in read_parquet(path):
            yield from (Read(record) for record in batch.slice(0, _SNIFFED).to_pylist())
    elif form == ".jsonl":
        for number, cut in enumerate(cut_file(path)):
            yield from _sniff_lines(_first_lines(path, cut), cut, first=number == 0)
    else:
        with open_stream(path) as stream:
            for number, cut in enumerate(cut_stream(stream)):
                yield from _sniff_lines(iter([cut.data or b""]), cut, first=number == 0)


def _sniff_lines(pieces: Iterator[bytes], cut: Cut, *, first: bool) -> Iterator[Read]:
    if cut.head is not None:
        yield _overlong(cut)
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


def _parts(file: File) -> Iterator[Part]:
    base = Part(file.input_index, file.file_index, file.name, file.source, file.shape, "range")
    path = Path(file.name)
    if file.form == ".jsonl":
        yield from _line_parts(base, cut_file(path))
    elif file.form in (".jsonl.gz", ".jsonl.zst"):
        with open_stream(path) as stream:
            yield from _line_parts(base._replace(form="lines"), cut_stream(stream))
    elif file.form == ".parquet":
        for batch in read_parquet(path):
            yield base._replace(form="batch", data=batch)
    else:
        for records in _batched(_reads(file)):
            yield base._replace(form="records", data=records)


def _line_parts(base: Part, cuts: Iterable[Cut]) -> Iterator[Part]:
    for number, cut in enumerate(cuts):
        if cut.head is not None:
            yield base._replace(form="long", data=_overlong(cut))
        else:
            yield base._replace(
                offset=cut.offset,
                length=cut.length,
                data=cut.data,
                broken=cut.broken,
                first=number == 0,
            )


def _overlong(cut: Cut) -> Read:
    return Read(None, cut.broken or too_long(), cut.head or b"", 1)


def _reads(file: File) -> Iterator[Read]:
    if file.records is not None:
        for record in file.records:
            yield record if isinstance(record, Read) else Read(record)
        return
    yield from _sniff(Path(file.name), file.form)


def _batched(reads: Iterator[Read]) -> Iterator[list[Read]]:
    """Yield records in lists of 16,384, or of 64 MB."""
    batch: list[Read] = []
    size = 0
    for read in reads:
        batch.append(read)
        size += read.size
        if len(batch) == PART_ROWS or size >= PART_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _digest(file: File) -> str:
    state = xxhash.xxh3_128()
    if file.records is not None:
        for record in file.records:
            state.update(dumps(record).encode("utf-8", "surrogatepass"))
    else:
        with open(file.name, "rb", buffering=0) as handle:
            while block := handle.read(8 << 20):
                state.update(block)
    return state.hexdigest()
