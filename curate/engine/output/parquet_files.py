"""Parquet files whose bytes depend on their rows alone.

Row groups are the files themselves (16,384 rows); statistics, Arrow schemas and dictionaries are
off, save for columns with few values, because each of those can differ between equal tables. The
rows are handed to the writer as one contiguous chunk for the same reason.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.chunk import one_array

FILE_ROWS = 16_384
# Columns with few distinct values; Parquet's own dictionaries make them almost free.
_FEW_VALUES = ("step", "outcome", "reason", "source", "file")
# Hashes do not compress: trying costs time and gains nothing.
_HASHES = ("id", "row", "partner", "parents.list.element")


def write_table(table: pa.Table, path: Path) -> None:
    """Write `table` as one row group; the caller makes it durable."""
    whole = pa.Table.from_arrays([one_array(c) for c in table.columns], schema=table.schema)
    leaves = _leaves(table.schema)
    dictionary = [n for n in leaves if n in _FEW_VALUES or n.endswith(".role")]
    pq.write_table(
        whole,
        path,
        row_group_size=max(1, len(whole)),
        compression={n: "NONE" if n in _HASHES else "ZSTD" for n in leaves},
        compression_level={n: 1 for n in leaves if n not in _HASHES},
        use_dictionary=dictionary,
        write_statistics=False,
        store_schema=False,
        data_page_version="1.0",
        version="2.6",
    )


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the paths of the leaf columns as Parquet names them."""
    out: list[str] = []
    for field in schema:
        _walk(field.name, field.type, out)
    return out


def _walk(name: str, type_: pa.DataType, out: list[str]) -> None:
    if pa.types.is_struct(type_):
        for field in type_:
            _walk(f"{name}.{field.name}", field.type, out)
    elif pa.types.is_list(type_):
        _walk(f"{name}.list.element", type_.value_type, out)
    else:
        out.append(name)
