"""What a run says of its rows beside their fields: ids, scores, notes, and why they went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import UsageError
from curate.row import Row

if TYPE_CHECKING:
    import pyarrow as pa

# The column under which a record carries its marks.
COLUMN = "curate"
ENDING = ("step", "reason", "score", "partner")


def provenance_of(row: Row) -> dict[str, Any]:
    """Return a row's id, source and parents, and what steps gave and noted it, by label."""
    return {
        "id": row.id,
        "source": row.source,
        "parents": list(row.parents),
        # Not empty mappings: Parquet has no structs without fields.
        "scores": dict(row.scores) or None,
        "notes": json.loads(row.notes) if row.notes else None,
    }


def with_provenance(record: Mapping[str, Any], marks: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its marks in a column of their own.

    Raises:
        UsageError: the record has a column of that name.
    """
    if COLUMN in record:
        raise UsageError(
            f"row {marks['id']} has a column '{COLUMN}' of its own, where its marks would stand; "
            "take the rows without marks, or rename the column first"
        )
    return {**record, COLUMN: dict(marks)}


def endings(run: Path) -> pa.Table:
    """Return why each dropped row of a run was dropped: `row`, and the columns of `ENDING`."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    tables = []
    for path in sorted((run / "ledger").rglob("*.parquet")):
        table = pq.read_table(path, columns=["row", *ENDING, "outcome"])
        dropped = table.filter(pc.equal(table.column("outcome"), "dropped"))
        tables.append(dropped.drop_columns(["outcome"]))
    whole = pa.concat_tables(tables)
    partners = [one and one.hex() for one in whole.column("partner").to_pylist()]
    at = whole.column_names.index("partner")
    return whole.set_column(at, "partner", pa.array(partners, pa.string()))


def with_endings(table: pa.Table, found: pa.Table) -> pa.Table:
    """Return rows as published with the columns that say why each was dropped."""
    import pyarrow.compute as pc

    ids = table.column("id").cast(found.schema.field("row").type)
    places = pc.index_in(ids, value_set=found.column("row"))
    for name in ENDING:
        table = table.append_column(name, found.column(name).take(places))
    return table
