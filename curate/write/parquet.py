"""Write records to Parquet when no one has said which columns they have.

A column may first appear in the last row, and an object's keys may differ from the first one's, so
the rows are set aside on disk until all are known; a schema made of the first rows would drop the
rest without a word.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.read.shapes.record_fields import dumps
from curate.rows.columnar import Form, forms_of, table_from

_BATCH = 16_384


def write_parquet(records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write `records` to `path` with the columns of all of them, 16,384 rows a group.

    Objects whose keys differ and columns of mixed types are stored as JSON.
    """
    forms: dict[str, Form] = {}
    with tempfile.TemporaryFile(dir=path.parent, mode="w+", encoding="utf-8") as aside:
        rows = iter(records)
        while batch := [dumps(record) for record in itertools.islice(rows, _BATCH)]:
            forms_of(map(json.loads, batch), forms)
            aside.writelines(f"{text}\n" for text in batch)
        aside.seek(0)
        schema = table_from([], forms).schema
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            while lines := list(itertools.islice(aside, _BATCH)):
                writer.write_table(table_from([json.loads(line) for line in lines], forms))
