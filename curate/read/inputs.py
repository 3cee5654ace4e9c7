"""Open inputs: find their files, learn their shapes, and cut them into parts."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.errors import InputError, NoRows, UsageError
from curate.read.arrow.arrow_tables import table_reads
from curate.read.class_names import with_class_names
from curate.read.documents import DOCUMENT, check_documents, documents_in, is_document
from curate.read.file import File, digest_of, parts_of
from curate.read.finished_runs import ROWS, is_run, shape_of
from curate.read.part import PART_ROWS, Part, Read
from curate.read.paths import form_of
from curate.read.records import reads_of
from curate.read.remote import files_of, is_hub, load_hub, split_of
from curate.read.shapes import shape
from curate.read.shapes.mapped import PREFIX, columns_shape
from curate.read.shapes.record_fields import plain
from curate.read.shapes.record_fields import shown as shown_value
from curate.read.shapes.shape import ARRAY
from curate.read.sniff import SNIFFED, first_records, guess
from curate.read.strict_json import check_depth, check_text, describe

_KEYS = ("path", "shape", "columns", "count")
# The name of an input that has none.
_UNNAMED = "input"
_ALLOWED = "give a path, a list of dicts, a pandas DataFrame or a datasets.Dataset"


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
        return {shape(file.shape).kind for file in self.files}

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
                "digest": digest_of(file),
                "shape": file.shape,
            }
            for file in self.files
        ]

    def parts(self) -> Iterator[Part]:
        """Yield every part of every file, in order."""
        for file in self.files:
            yield from parts_of(file)


def open_inputs(inputs: Any, *, shape: str | None = None) -> Inputs:
    """Open a path, a mapping of names to paths, or rows in memory.

    Raises:
        InputError: a file is missing, empty, not what its name says, or of no known shape.
        UsageError: the inputs are none of what can be read.
    """
    if inputs is None or (isinstance(inputs, Mapping) and not inputs):
        raise UsageError("no input: give a path, rows, or `inputs:` in the recipe")
    if type(inputs).__name__ == "DatasetDict":
        inputs = split_of(inputs, "the DatasetDict", "give dataset['SPLIT']")
    several = isinstance(inputs, Mapping) and "path" not in inputs
    named = dict(inputs) if several else {_UNNAMED: inputs}
    if several and isinstance(named.get("count"), int):
        raise UsageError("blank rows are an input with a name, as in {blank: {count: N}}")
    files: list[File] = []
    for index, (name, given) in enumerate(named.items()):
        if not isinstance(given, Mapping):
            files.extend(_open(index, name, given, shape))
            continue
        if strange := [key for key in given if key not in _KEYS]:
            raise UsageError(
                f"input '{name}' has an unknown key '{strange[0]}'; allowed: {', '.join(_KEYS)}"
            )
        own = given.get("shape")
        if given.get("columns") is not None:
            if own is not None:
                raise UsageError(
                    f"input '{name}' has `columns` and `shape`; the columns are the shape"
                )
            own = columns_shape(given["columns"])
        if "count" in given:
            count = given["count"]
            if len(given) > 1 or not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise UsageError(
                    f"input '{name}' is {dict(given)}; {{count: N}}, with nothing else, makes N "
                    "empty prompts (1 or more)"
                )
            title = f"{count} empty prompts"
            files.append(File(index, 0, title, name, "prompt", "blank", count, records=count))
            continue
        if "path" not in given:
            raise UsageError(
                f"input '{name}' has no path; write {name}: {{path: FILE}}, or {name}: "
                "{count: N} for N empty prompts"
            )
        files.extend(_open(index, name, given["path"], own or shape))
    return Inputs(files, len(named))


def with_shape(inputs: Any, shape: str) -> Any:
    """Return the `inputs` of a recipe as they read where `shape` holds for those that name none."""
    own: dict[str, Any] = {"shape": shape}
    if shape.startswith(PREFIX):
        own = {"columns": json.loads(shape.removeprefix(PREFIX))}

    def named(given: Any) -> Any:
        if not isinstance(given, Mapping):
            return {"path": given, **own}
        return given if {"shape", "columns", "count"} & given.keys() else {**given, **own}

    if isinstance(inputs, Mapping) and "path" not in inputs:
        return {name: named(given) for name, given in inputs.items()}
    return {_UNNAMED: named(inputs)}


def _open(index: int, source: str, where: Any, wanted: str | None) -> list[File]:
    if not isinstance(where, str | os.PathLike):
        return [_open_memory(index, source, where, wanted)]
    address = os.fspath(where)
    if is_hub(address):
        dataset = load_hub(address)
        return [_open_memory(index, source, dataset, wanted, name=address)]
    with _named_errors(address):
        if wanted == DOCUMENT and Path(address).is_dir():
            files = [(str(path), path) for path in documents_in(Path(address))]
        else:
            files = files_of(address)
        if any(is_document(path) for _, path in files) or not files:
            # One that cannot be read is a failed row, not an error: they are one input.
            documents = check_documents(address, files)
            size = sum(document.path.stat().st_size for document in documents)
            form = "documents"
            return [File(index, 0, address, source, DOCUMENT, form, size, records=documents)]
        found: list[File] = []
        without: list[NoRows] = []
        for number, (name, path) in enumerate(files):
            form, called = ".jsonl", ""
            try:
                with _called(name, path):
                    form = form_of(path)
                    if form == ROWS:
                        # The rows of a run leave in the `wanted` shape, or that of their kind.
                        own = shape_of(path)
                        if wanted is not None and shape(wanted).kind != shape(own).kind:
                            raise UsageError(
                                f"{path}: holds {shape(own).kind} rows of a run, and the shape "
                                f"'{wanted}' is one of {shape(wanted).kind} rows; leave the shape "
                                f"out, or name one of {shape(own).kind} rows"
                            )
                        called = wanted or own
                    else:
                        called = wanted or guess(first_records(path, form, name), name)
                    shape(called)
            except NoRows as error:
                without.append(error)  # whether it is one, the other files decide
            size = path.stat().st_size
            found.append(File(index, number, name, source, called, form, size, path))
        like = next((file.shape for file in found if file.shape), None)
        if like is None:
            raise without[0]
        # Frameworks write a file for each worker, and leave empty those of workers without rows. It
        # is named among the inputs, so that the run notices when rows come into it.
        return [file if file.shape else file._replace(shape=like) for file in found]


def _open_memory(
    index: int, source: str, given: Any, wanted: str | None, name: str = "memory"
) -> File:
    """Open a list of records, a pandas DataFrame, or a `datasets.Dataset`."""
    records: Any
    first: Any
    if hasattr(given, "with_format") and hasattr(given, "data"):
        records, form, size = given, "dataset", int(given.data.nbytes)
        table = given.with_format("arrow")[:SNIFFED]
        reads = table_reads(with_class_names(table, f"input '{source}'"))
        first = [read if read.error else read.record for read in reads]
    else:
        if hasattr(given, "to_dict") and hasattr(given, "columns") and hasattr(given, "iloc"):
            given = given.to_dict(orient="records")
        if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
            raise UsageError(f"input '{source}' is of type {type(given).__name__}; {_ALLOWED}")
        records, form = [_settled(record) for record in given], "memory"
        first = records[:SNIFFED]
        shown = sum(len(shown_value(r)) for r in records[:100] if not isinstance(r, Read))
        size = shown * max(1, len(records) // 100)
    seen = [record for record in first if isinstance(record, Mapping)]
    lists = [{ARRAY: r.record} for r in first if isinstance(r, Read) and r.record]
    seen = seen or [record for record in lists if shape("turn_list").detect(record)]
    if not seen:
        why = first[0].error if len(first) else "it is empty"
        raise InputError(f"input '{source}' holds no record ({why}); {_ALLOWED}")
    found = wanted or guess(seen, f"input '{source}'")
    shape(found)
    return File(index, 0, name, source, found, form, size, records=records)


def _settled(record: Any) -> Any:
    """Return a record in memory as JSON data, or a `Read` that says why it is none."""
    try:
        settled = plain(record) if isinstance(record, list | Mapping) else None
        check_depth(settled)
        # Of a record that is a list a `Read` shows the beginning, so nothing looks at it again.
        check_text(settled if isinstance(settled, list) else None)
    except (ValueError, RecursionError) as error:
        return Read(None, describe(error), _raw(record))
    if isinstance(record, Mapping):
        return settled
    return Read(settled or None, f"a row must be a dict, not {type(record).__name__}", _raw(record))


def _raw(given: Any) -> bytes:
    """Return the beginning of what stands where a record should."""
    try:
        return reprlib.repr(given).encode("utf-8", "replace")
    except ValueError:
        # A number that is too long to be written.
        return type(given).__name__.encode()


@contextlib.contextmanager
def _named_errors(address: str) -> Iterator[None]:
    """Turn the system's errors into those that name the file."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or address}: cannot be read: {error.strerror}"
        ) from error


@contextlib.contextmanager
def _called(name: str, path: Path) -> Iterator[None]:
    """Call a file in errors as its user does: what lies elsewhere is read from a copy."""
    try:
        yield
    except UsageError as error:
        raise type(error)(str(error).replace(str(path), name)) from None


def open_records(where: str) -> Iterator[tuple[str, Iterator[Read]]]:
    """Yield each file that an input would name with its records as they stand, of whatever shape.

    A run is one file, whose records have a question and an answer. A dataset on the Hub is one
    file; of its splits, `test` is the usual one.

    Raises:
        InputError: a file is missing, empty or not what its name says.
        UsageError: `where` is nothing that can be read.
    """
    if is_hub(where):
        batches = load_hub(where, "test").with_format("arrow").iter(PART_ROWS)
        tables = (with_class_names(batch, where) for batch in batches)
        yield where, (read for table in tables for read in table_reads(table))
        return
    with _named_errors(where):
        files = [(name, path, form_of(path)) for name, path in files_of(where)]
        if is_run(Path(where)):
            # One test set, whatever files it lies in.
            yield where, (read for _, path, form in files for read in reads_of(path, form))
            return
        for name, path, form in files:
            yield name, reads_of(path, form)
