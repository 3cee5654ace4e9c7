"""Writers: rows leave in the shapes that trainers and tools read."""

from curate.write.shards import SHARD_ROWS, check_folder, cut, is_folder, write_shards
from curate.write.writer import (
    NATURAL,
    as_shape,
    check_target,
    format_names,
    kind_of,
    misfit,
    path_of_part,
    records_as,
    write_rows,
)

__all__ = [
    "NATURAL",
    "SHARD_ROWS",
    "as_shape",
    "check_folder",
    "check_target",
    "cut",
    "format_names",
    "is_folder",
    "kind_of",
    "misfit",
    "path_of_part",
    "records_as",
    "write_rows",
    "write_shards",
]
