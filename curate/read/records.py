"""The records of one file as they stand, of whatever shape: what a shape is learnt from, and tests.

A file is read as far as somebody asks, so that the first few records of a large one cost little.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from curate.read.arrow.arrow_tables import read_table, table_reads
from curate.read.finished_runs import ROWS, items_of
from curate.read.json_document import read_document
from curate.read.lines import BOM, Cut, cut_file, cut_stream
from curate.read.packed import MAGIC, open_packed
from curate.read.part import Read
from curate.read.strict_json import line_count, read_lines, too_long
from curate.read.tables import read_csv, read_flan, read_xml

_HEAD = 1 << 20
_FEW = 20


def reads_of(path: Path, form: str) -> Generator[Read, None, None]:
    """Yield every record of a file of the form that `paths.form_of` gives, in order."""
    packing = next((packing for packing in MAGIC.values() if form.endswith(packing)), "")
    form = form.removesuffix(packing)
    if form == ".json":
        yield from read_document(path, packing)
    elif form in (".csv", ".tsv"):
        yield from read_csv(path, "," if form == ".csv" else "\t", packing)
    elif form == ".xml":
        yield from read_xml(path, packing)
    elif form == "flan":
        yield from read_flan(path, packing)
    elif form == ROWS:
        yield from items_of(path, read_table(path, ".parquet"))
    elif form in (".parquet", ".arrow"):
        for batch in read_table(path, form):
            for start in range(0, batch.num_rows, _FEW):
                yield from table_reads(batch.slice(start, _FEW))
    else:
        before = 0
        for cut, data in _pieces(path, packing):
            if cut.head is not None:
                yield overlong(cut)._replace(line=before + 1)
                before += 1
                continue
            # Of a line at which the file breaks off, nothing but that is worth saying.
            whole = data[: data.rfind(b"\n") + 1] if cut.broken else data
            for read in read_lines(whole.removeprefix(BOM) if before == 0 else whole):
                yield read._replace(line=before + (read.line or 0))
            before += line_count(whole)
            if cut.broken:
                yield Read(None, cut.broken, b"", before + 1)


def _pieces(path: Path, packing: str) -> Iterator[tuple[Cut, bytes]]:
    """Yield the file's cuts with their bytes; a range comes in two pieces, the first one small."""
    if packing:
        with open_packed(path, packing) as stream:
            for cut in cut_stream(stream):
                yield cut, cut.data or b""
        return
    with open(path, "rb") as file:
        for cut in cut_file(path):
            if cut.head is not None:
                yield cut, b""
                continue
            file.seek(cut.offset)
            data = file.read(min(_HEAD, cut.length))
            end = data.rfind(b"\n") + 1
            yield cut, data[:end]
            yield cut, data[end:] + file.read(cut.length - len(data))


def overlong(cut: Cut) -> Read:
    """Return the record of a line that is too long to be held."""
    return Read(None, cut.broken or too_long(), cut.head or b"", 1)
