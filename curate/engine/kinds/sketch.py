"""Sketch a part for a `Whole`: one small value per row, as columns.

Texts in embedding columns become vectors, each distinct text once. While parts are on their way
such a column holds places in the store, eight bytes a row; when the step decides, the vectors are
gathered into one matrix: in memory, or above a budget in a mapped file.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.chunk import READ, Chunk, one_array
from curate.engine.kinds.call import call_each, row_salts
from curate.engine.partition import Partition, describe_error
from curate.errors import UsageError
from curate.step import EMBEDDING, Whole
from curate.store.vectors import MISSING, is_cut

if TYPE_CHECKING:
    from curate.requests.driver import Driver
    from curate.store.vectors import Vectors

# Above this size a matrix lies in a file, whose pages the system may take back.
IN_MEMORY_BYTES = 256 << 20


def sketch(part: Partition, step: Whole, driver: Driver | None) -> pa.Table:
    """Return one sketch per row that the step sees; a row whose sketch fails ends here."""
    began = time.perf_counter()
    part.compact()
    where = part.reached(step.only)
    seen = part.selected(where)
    types = {name: arrow_type(text) for name, text in step.sketch_types().items()}
    # Texts are taken from columns in small runs, too: no kernel has to be compiled for that.
    out = _sketch_chunks(seen, step, types) if part.large or step.embeds() else None
    failed = dict[int, str]()
    if out is None:
        out, failed = _sketch_rows(seen, step, types, driver)
    if step.embeds():
        assert driver is not None, "a step that embeds asks"
        there = np.delete(np.arange(len(where)), sorted(failed))
        out, errors = embed(step, out, driver)
        if errors:
            out = out.take(pa.array(np.delete(np.arange(out.num_rows), sorted(errors))))
            failed.update((int(there[index]), error) for index, error in errors.items())
    part.fail(step.title, {int(where[index]): error for index, error in failed.items()})
    part.tally(step.title).worked(began)
    return out


def arrow_type(text: str) -> pa.DataType:
    """Return the Arrow type that a step's `sketch_types` names."""
    if text == EMBEDDING:
        return pa.string()
    if text.startswith("list<"):
        return pa.list_(arrow_type(text[5:-1]))
    if text.startswith("binary") and text[6:].isdigit():
        return pa.binary(int(text[6:]))
    return pa.type_for_alias(text)


def _sketch_chunks(part: Partition, step: Whole, types: dict[str, pa.DataType]) -> pa.Table | None:
    def sketched(chunk: Chunk) -> pa.Table | None:
        columns = step.sketch_many(chunk)
        if columns is None:
            return None
        arrays = [one_array(columns[name]).cast(type_) for name, type_ in types.items()]
        return pa.table(arrays, names=list(types))

    tables = part.by_chunk(sketched)
    if tables is None:
        return None
    return pa.concat_tables(tables) if tables else pa.schema(list(types.items())).empty_table()


def _sketch_rows(
    part: Partition, step: Whole, types: dict[str, pa.DataType], driver: Driver | None
) -> tuple[pa.Table, dict[int, str]]:
    """Return the sketches that fit their columns, and errors by row."""
    results = call_each(step, step.sketch, part.rows, row_salts(part.rows, step), driver)
    schema = pa.schema(list(types.items()))
    good: list[Any] = []
    for index, value in enumerate(results.values):
        if index in results.errors:
            continue
        try:
            for name, type_ in types.items():
                entry = value[name]
                # What does not fit its column fails its own row; numbers need no second look.
                plain = isinstance(entry, float) and type_ == pa.float64()
                if not plain and entry is not None:
                    pa.scalar(entry, type_)
            good.append(value)
        except (pa.ArrowException, TypeError, ValueError, OverflowError, KeyError) as wrong:
            results.errors[index] = describe_error(wrong)
    return pa.Table.from_pylist(good, schema=schema), results.errors


def embedding_columns(step: Whole) -> list[str]:
    """Return the names of the sketch columns whose texts become vectors."""
    return [name for name, text in step.sketch_types().items() if text == EMBEDDING]


def embed(step: Whole, table: pa.Table, driver: Driver) -> tuple[pa.Table, dict[int, str]]:
    """Return sketches with the places of vectors for texts, and errors by row."""
    errors: dict[int, str] = {}
    for name in embedding_columns(step):
        column = one_array(one_array(table.column(name)).dictionary_encode())
        texts = column.dictionary.to_pylist()
        # A text of white space has no vector and is not asked for.
        wanted = [number for number, text in enumerate(texts) if text.strip()]
        encoder, asked = getattr(step, "encoder", None), [texts[n] for n in wanted]
        found = driver.embed(encoder, asked, step.title)
        places = np.full(len(texts), MISSING, np.int64)
        places[wanted] = found.places
        failed = {wanted[n]: describe_error(error) for n, error in found.errors.items()}
        codes = np.asarray(column.indices.fill_null(len(texts)))
        for row in np.flatnonzero(np.isin(codes, list(failed))).tolist():
            errors.setdefault(row, failed[codes[row]])
        index = table.column_names.index(name)
        table = table.set_column(index, name, pa.array(np.append(places, MISSING)[codes]))
    return table, errors


def with_matrices(
    step: Whole, sketches: pa.Table, others: pa.Table | None, vectors: Vectors
) -> tuple[tuple[str, ...], pa.Table]:
    """Return remarks, and sketches whose vectors lie in one matrix a column, `others` behind them.

    Empty texts have zeros. `others` hold places in the store as `sketches` do, or vectors already.

    Raises:
        UsageError: their vectors have another number of dimensions.
    """
    columns = embedding_columns(step)
    given = None if others is None else others.schema.field(columns[0]).type
    if others is None or given is None or not pa.types.is_fixed_size_list(given):
        sketches = sketches if others is None else pa.concat_tables([sketches, others])
        return _matrices(columns, sketches, vectors)
    remarks, sketches = _matrices(columns, sketches, vectors, given)
    width = sketches.schema.field(columns[0]).type.list_size
    if width != given.list_size:
        raise UsageError(
            f"step '{step.title}': the vectors of against have {given.list_size} numbers, those of "
            f"the step's encoder {width}; name the encoder that made the index"
        )
    for name in sketches.column_names[others.num_columns :]:
        # What a team's own index holds was read in whole, as far as anybody knows.
        whole = pa.array(np.zeros(2 * others.num_rows, np.int64))
        others = others.append_column(name, pa.FixedSizeListArray.from_arrays(whole, 2))
    return remarks, pa.concat_tables([sketches, others])


def _matrices(
    columns: Sequence[str], sketches: pa.Table, vectors: Vectors, like: Any = None
) -> tuple[tuple[str, ...], pa.Table]:
    """Return remarks, and sketches with vectors for places.

    Where there is no vector at all they are of the type `like`. A column says what was read of
    texts that were not read in whole, if there are any.
    """
    cut = unread = 0
    for name in columns:
        places = one_array(sketches.column(name)).to_numpy()
        matrix, filled = _matrix(places, vectors)
        cut += int(is_cut(places).sum())
        unread += int((places > MISSING).sum()) - filled
        if like is not None and not (places > MISSING).any():
            zeros = pa.array(np.zeros(len(places) * like.list_size, np.float32))
            matrix = pa.FixedSizeListArray.from_arrays(zeros, like.list_size)
        sketches = sketches.set_column(sketches.column_names.index(name), name, matrix)
        tokens = vectors.tokens_read(places)
        if tokens.any():
            read = np.stack([tokens, np.where(tokens == 0, 0, places)], 1)
            column = pa.FixedSizeListArray.from_arrays(pa.array(read.ravel()), 2)
            sketches = sketches.append_column(READ + name, column)
    return read_remarks(cut, unread, len(columns) * sketches.num_rows), sketches


def read_remarks(cut: int, unread: int, total: int, texts: str = "texts") -> tuple[str, ...]:
    """Return remarks on texts that the encoder cut, and on those that it cannot read."""
    remarks = []
    if cut:
        remarks.append(
            f"{cut:,} of {total:,} {texts} are longer than the encoder reads: their vectors are of "
            "the beginning only"
        )
    if unread:
        remarks.append(
            f"{unread:,} of {total:,} {texts} are in a script that the encoder cannot read (more "
            "than a third of their tokens are unknown to it) and took no part: take a multilingual "
            "encoder, as in encoders: {e5: {model: 'hf:intfloat/multilingual-e5-small', prefix: "
            "'query: '}}"
        )
    return tuple(remarks)


def _matrix(places: np.ndarray, vectors: Vectors) -> tuple[pa.FixedSizeListArray, int]:
    """Return vectors in one matrix, and how many of them are not zeros."""
    width, filled = vectors.width(places), 0
    if len(places) * width * 4 <= IN_MEMORY_BYTES:
        matrix = np.empty((len(places), width), np.float32)
        start = 0
        for block in vectors.blocks(places):
            matrix[start : start + len(block)] = block
            start += len(block)
            filled += int(block.any(axis=1).sum())
        flat = pa.array(matrix.ravel())
    else:
        # A file without a name: it goes when the last one who has it mapped goes, however.
        with tempfile.TemporaryFile(dir=vectors.folder) as file:
            for block in vectors.blocks(places):
                block.tofile(file)
                filled += int(block.any(axis=1).sum())
            file.flush()
            mapped = np.memmap(file, np.float32, mode="r")
        flat = pa.array(mapped)
    return pa.FixedSizeListArray.from_arrays(flat, width), filled
