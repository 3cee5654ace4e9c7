"""Turn the texts in a `Whole`'s embedding columns into vectors: each distinct text once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from curate.ask import Embed
from curate.chunk import one_array
from curate.engine.part import describe_error
from curate.engine.requests.cursor import Job
from curate.step import EMBEDDING, Asking, Whole

if TYPE_CHECKING:
    from curate.engine.requests.drive import Driver

VECTOR = pa.list_(pa.float32())


def embedding_columns(step: Whole) -> list[str]:
    """Return the names of the sketch columns whose texts become vectors."""
    return [name for name, text in step.sketch_types().items() if text == EMBEDDING]


def embed(step: Whole, table: pa.Table, driver: Driver) -> tuple[pa.Table, dict[int, str]]:
    """Return sketches with vectors for texts (null for an empty one), and errors by row."""
    errors: dict[int, str] = {}
    for name in embedding_columns(step):
        column = one_array(table.column(name)).dictionary_encode()
        found, failed = _vectors(step, column.dictionary.to_pylist(), driver)
        codes = column.indices.to_pylist()
        for row, code in enumerate(codes):
            if code is not None and code in failed:
                errors.setdefault(row, failed[code])
        vectors = pa.array(found, VECTOR).take(column.indices)
        table = table.set_column(table.column_names.index(name), name, vectors)
    return table, errors


def _vectors(
    step: Whole, texts: Sequence[str], driver: Driver
) -> tuple[list[list[float] | None], dict[int, str]]:
    wanted = [code for code, text in enumerate(texts) if text.strip()]
    model = getattr(step, "encoder", None)
    jobs = [Job(functools.partial(_ask, texts[code], model), shares=True) for code in wanted]
    found: list[list[float] | None] = [None] * len(texts)
    failed: dict[int, str] = {}
    for code, outcome in zip(wanted, driver.run(jobs), strict=True):
        if outcome.error is not None:
            failed[code] = describe_error(outcome.error)
        elif outcome.value is not None and not np.isfinite(outcome.value).all():
            failed[code] = "the encoder gave a vector that is not finite"
        else:
            found[code] = outcome.value
    return found, failed


def _ask(text: str, model: str | None) -> Asking:
    reply = yield Embed(texts=(text,), model=model)
    return reply.values[0]


def matrices(step: Whole, sketches: pa.Table) -> pa.Table:
    """Return sketches whose vectors lie in one matrix a column, with zeros for empty texts."""
    for name in embedding_columns(step):
        column = one_array(sketches.column(name))
        lengths = set(column.value_lengths().drop_null().to_pylist())
        width = max(lengths, default=1)
        matrix = np.zeros((len(column), width), np.float32)
        matrix[np.asarray(column.is_valid())] = column.flatten().to_numpy().reshape(-1, width)
        array = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), width)
        sketches = sketches.set_column(sketches.column_names.index(name), name, array)
    return sketches
