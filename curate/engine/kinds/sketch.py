"""Sketch a part for a `Whole`: one small value per row, as columns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.chunk import Chunk, one_array
from curate.engine.kinds.call import call_each, row_salts
from curate.engine.kinds.embed import embed
from curate.engine.partition import Partition, describe_error
from curate.step import EMBEDDING, Whole

if TYPE_CHECKING:
    from curate.requests.driver import Driver


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
