"""One file of an input (or rows in memory): its parts and its digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from curate.read.arrow.arrow_tables import read_table, table_reads
from curate.read.class_names import with_class_names
from curate.read.documents import read_documents
from curate.read.finished_runs import ROWS
from curate.read.lines import Cut, cut_file, cut_stream
from curate.read.packed import open_packed
from curate.read.part import PART_BYTES, PART_ROWS, Part, Read
from curate.read.records import overlong, reads_of
from curate.read.shapes import shape
from curate.read.shapes.record_fields import shown

if TYPE_CHECKING:
    import pyarrow as pa


class File(NamedTuple):
    """One file of an input, as its user called it (`name`) and where it lies (`path`).

    Rows in memory have no path: `records` is a list of dicts and `Read`s, or a `datasets.Dataset`,
    or, where `form` is "blank", the number of empty prompts that stand for a file. Where it is
    "documents", `records` are the documents that make up the input: each is one row.
    """

    input_index: int
    file_index: int
    name: str
    source: str
    shape: str
    form: str
    size: int
    path: Path = Path()
    records: Any = None


def parts_of(file: File) -> Iterator[Part]:
    """Yield the parts of a file, in order."""
    base = Part(file.input_index, file.file_index, file.name, file.source, file.shape, "range")
    base = base._replace(path=str(file.path))
    form = shape(file.shape)
    if form.grouped:
        from curate.read.agent_sessions import sessions_of
        from curate.read.message_rows import trees_of
        from curate.read.threads import threads_of

        # A tree is a prompt with answers to choose of, a session is a conversation, and a thread a
        # question with ranked answers.
        groups = {"prompt": trees_of, "sft": sessions_of, "ranked": threads_of}
        group = groups[form.kind]
        for records in _batched(group(_reads(file))):
            yield base._replace(form="records", data=records)
    elif file.form == ".jsonl":
        yield from _line_parts(base, cut_file(file.path))
    elif file.form.startswith(".jsonl."):
        with open_packed(file.path, file.form.removeprefix(".jsonl")) as stream:
            yield from _line_parts(base._replace(form="lines"), cut_stream(stream))
    elif file.form == "blank":
        for start in range(0, file.records, PART_ROWS):
            yield base._replace(form="blank", data=min(PART_ROWS, file.records - start))
    elif file.form == ROWS:
        for batch in read_table(file.path, ".parquet"):
            yield base._replace(form="rows", data=batch)
    elif file.form in (".parquet", ".arrow", "dataset"):
        for batch in _batches(file):
            yield base._replace(form="batch", data=batch)
    else:
        for records in _batched(_reads(file)):
            yield base._replace(form="records", data=records)


def _line_parts(base: Part, cuts: Iterable[Cut]) -> Iterator[Part]:
    for number, cut in enumerate(cuts):
        if cut.head is not None:
            yield base._replace(form="long", data=overlong(cut))
        else:
            yield base._replace(
                offset=cut.offset,
                length=cut.length,
                data=cut.data,
                broken=cut.broken,
                first=number == 0,
            )


def _batches(file: File) -> Iterator[pa.Table]:
    if file.form != "dataset":
        yield from read_table(file.path, file.form)
        return
    # Arrow's own rows: the dataset's index of selected or shuffled rows is respected.
    dataset = file.records.with_format("arrow")
    rows = max(1, min(PART_ROWS, PART_BYTES * len(dataset) // max(1, file.size)))
    for start in range(0, len(dataset), rows):
        yield with_class_names(dataset[start : start + rows], file.name)


def _reads(file: File) -> Iterator[Read]:
    """Yield every record of a file, or of rows in memory."""
    if file.form == "dataset":
        for batch in _batches(file):
            yield from table_reads(batch)
    elif file.form == "documents":
        yield from read_documents(file.records)
    elif file.records is None:
        yield from reads_of(file.path, file.form)
    else:
        yield from (r if isinstance(r, Read) else Read(r) for r in file.records)


def _batched(reads: Iterable[Read]) -> Iterator[list[Read]]:
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


def digest_of(file: File) -> str:
    """Return the hash of a file's bytes, or of the rows in memory."""
    state = xxhash.xxh3_128()
    if file.form == "blank":
        state.update(b"%d empty prompts" % file.records)
    elif file.form == "documents":
        for document in file.records:
            state.update(document.name.encode("utf-8", "surrogateescape") + b"\0")
            for block in _bytes_of(document.path):
                state.update(block)
    elif file.form == "dataset":
        for batch in _batches(file):
            state.update(shown(batch.to_pylist()).encode("utf-8", "surrogatepass"))
    elif file.records is not None:
        for record in file.records:
            state.update(shown(record).encode("utf-8", "surrogatepass"))
    else:
        for block in _bytes_of(file.path):
            state.update(block)
    return state.hexdigest()


def _bytes_of(path: Path) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as handle:
        while block := handle.read(8 << 20):
            yield block
