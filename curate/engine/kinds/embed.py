"""Turn the texts in a `Whole`'s embedding columns into vectors: each distinct text once.

While parts are on their way a column holds places in the store, eight bytes a row. When the step
decides, the vectors are gathered into one matrix: in memory, or above a budget in a mapped file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.chunk import one_array
from curate.engine.partition import describe_error
from curate.errors import UsageError
from curate.step import EMBEDDING, Whole
from curate.store.vectors import MISSING, is_cut

if TYPE_CHECKING:
    from curate.requests.driver import Driver
    from curate.store.vectors import Vectors

# Above this size a matrix lies in a file, whose pages the system may take back.
IN_MEMORY_BYTES = 256 << 20


def embedding_columns(step: Whole) -> list[str]:
    """Return the names of the sketch columns whose texts become vectors."""
    return [name for name, text in step.sketch_types().items() if text == EMBEDDING]


def embed(step: Whole, table: pa.Table, driver: Driver) -> tuple[pa.Table, dict[int, str]]:
    """Return sketches with the places of vectors for texts, and errors by row."""
    errors: dict[int, str] = {}
    for name in embedding_columns(step):
        column = one_array(one_array(table.column(name)).dictionary_encode())
        texts = column.dictionary.to_pylist()
        places, failed = _places(step, texts, driver)
        codes = np.asarray(column.indices.fill_null(len(texts)))
        for row in np.flatnonzero(np.isin(codes, list(failed))).tolist():
            errors.setdefault(row, failed[codes[row]])
        index = table.column_names.index(name)
        table = table.set_column(index, name, pa.array(np.append(places, MISSING)[codes]))
    return table, errors


def _places(step: Whole, texts: Sequence[str], driver: Driver) -> tuple[np.ndarray, dict[int, str]]:
    """Return the place of each text's vector, and errors by the number of the text.

    A text of white space has no vector and is not asked for.
    """
    wanted = [number for number, text in enumerate(texts) if text.strip()]
    found = driver.embed(getattr(step, "encoder", None), [texts[n] for n in wanted])
    places = np.full(len(texts), MISSING, np.int64)
    places[wanted] = found.places
    failed = {wanted[n]: describe_error(error) for n, error in found.errors.items()}
    return places, failed


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
        return _cut_short(step, sketches), _matrices(columns, sketches, vectors)
    remarks, sketches = _cut_short(step, sketches), _matrices(columns, sketches, vectors, given)
    width = sketches.schema.field(columns[0]).type.list_size
    if width != given.list_size:
        raise UsageError(
            f"step '{step.title}': the vectors of against have {given.list_size} numbers, those of "
            f"the step's encoder {width}; name the encoder that made the index"
        )
    return remarks, pa.concat_tables([sketches, others])


def _matrices(
    columns: Sequence[str], sketches: pa.Table, vectors: Vectors, like: Any = None
) -> pa.Table:
    """Return sketches with vectors for places; where there is none at all, of the type `like`."""
    for name in columns:
        places = one_array(sketches.column(name)).to_numpy()
        matrix = _matrix(places, vectors)
        if like is not None and not (places > MISSING).any():
            zeros = pa.array(np.zeros(len(places) * like.list_size, np.float32))
            matrix = pa.FixedSizeListArray.from_arrays(zeros, like.list_size)
        sketches = sketches.set_column(sketches.column_names.index(name), name, matrix)
    return sketches


def _cut_short(step: Whole, sketches: pa.Table) -> tuple[str, ...]:
    """Return a remark about texts of which the encoder read only the beginning, if there are any.

    It looks at places, before they become vectors.
    """
    columns = [one_array(sketches.column(name)) for name in embedding_columns(step)]
    count = sum(int(is_cut(column.to_numpy()).sum()) for column in columns)
    if not count:
        return ()
    total = len(columns) * sketches.num_rows
    said = f"{count:,} of {total:,} texts are longer than the encoder reads"
    return (f"{said}: their vectors are of the beginning only",)


def _matrix(places: np.ndarray, vectors: Vectors) -> pa.FixedSizeListArray:
    width = vectors.width(places)
    if len(places) * width * 4 <= IN_MEMORY_BYTES:
        matrix = np.empty((len(places), width), np.float32)
        start = 0
        for block in vectors.blocks(places):
            matrix[start : start + len(block)] = block
            start += len(block)
        flat = pa.array(matrix.ravel())
    else:
        # A file without a name: it goes when the last one who has it mapped goes, however.
        with tempfile.TemporaryFile(dir=vectors.folder) as file:
            for block in vectors.blocks(places):
                block.tofile(file)
            file.flush()
            mapped = np.memmap(file, np.float32, mode="r")
        flat = pa.array(mapped)
    return pa.FixedSizeListArray.from_arrays(flat, width)
