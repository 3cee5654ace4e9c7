"""Write rows as Parquet shards: a folder of files named as on the Hugging Face Hub.

All shards have one schema, that of all rows, so that readers need not reconcile them. The rows go
to one file first, whose footer tells how many shards there are, and memory stays flat.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from curate.errors import UsageError
from curate.runs.written import put
from curate.system.credentials import WRITE_LATER, refuse_address
from curate.write.writer import write_rows

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Conversations of 5 kB, which is long, make 500 MB: the most that `datasets` puts into one shard
# (`datasets.config.MAX_SHARD_SIZE`).
SHARD_ROWS = 100_000
_BATCH = 16_384


def is_folder(path: str) -> bool:
    """Tell whether a path names a folder: it ends in a slash, has no suffix or is one already."""
    return path.endswith(("/", os.sep)) or not Path(path).suffix or Path(path).is_dir()


def write_shards(
    tables: Iterable[pa.Table],
    folder: str | Path,
    shape: str | None = None,
    *,
    rows: int = SHARD_ROWS,
    split: str = "train",
    marks: bool = False,
    run: Path | None = None,
    replace: bool = False,
) -> int:
    """Write the rows of `tables` as shards into a new or empty `folder`; return how many rows.

    The run in the folder `run` notes them as its own. With `replace`, what is in the folder goes.

    Raises:
        UsageError: the folder holds something, or a row does not fit the shape.
    """
    folder = check_folder(folder, replace=replace)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
        whole = Path(aside) / "whole.parquet"
        count = write_rows(tables, whole, shape, marks=marks)
        cut(whole, folder, rows=rows, split=split, run=run, replace=replace)
    return count


def check_folder(folder: str | Path, *, replace: bool = False) -> Path:
    """Return the resolved folder, or raise `UsageError` when shards could not be put there."""
    refuse_address(folder, "a folder of shards", WRITE_LATER)
    path = Path(folder).resolve()
    if path.exists() and not path.is_dir():
        raise UsageError(
            f"{folder} is a file, and shards go into a folder; choose another path, or one that "
            "ends in .jsonl or .parquet for one file"
        )
    if not replace and path.is_dir() and any(path.iterdir()):
        raise UsageError(
            f"the folder {folder} is not empty, and its files would be read as part of the data; "
            "choose a new folder (one for each split), or empty it first"
        )
    return path


def cut(
    whole: Path,
    folder: Path,
    *,
    rows: int = SHARD_ROWS,
    split: str = "train",
    run: Path | None = None,
    replace: bool = False,
) -> None:
    """Cut one Parquet file into shards of `rows` rows; the folder appears with all of them."""
    import pyarrow.parquet as pq

    folder = check_folder(folder, replace=replace)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside,
        pq.ParquetFile(whole) as file,
    ):
        # A folder within the temporary one, which only its owner may read.
        fresh = Path(aside) / "shards"
        fresh.mkdir()
        total = -(-file.metadata.num_rows // rows)
        for number, pieces in itertools.groupby(_pieces(file, rows), key=lambda piece: piece[0]):
            name = f"{split}-{number:05d}-of-{total:05d}.parquet"
            _write(fresh / name, file.schema_arrow, (batch for _, batch in pieces))
        if not total:
            _write(fresh / f"{split}-00000-of-00001.parquet", file.schema_arrow, [])
        put(fresh, folder, run)


def _pieces(file: pq.ParquetFile, rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows in order, each piece with the number of its shard."""
    done = 0
    for batch in file.iter_batches(_BATCH):
        start = 0
        while start < batch.num_rows:
            number, filled = divmod(done, rows)
            piece = batch.slice(start, rows - filled)
            yield number, piece
            start, done = start + piece.num_rows, done + piece.num_rows


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    import pyarrow.parquet as pq

    with open(path, "wb") as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
