"""Writers: rows leave in the shapes that trainers and tools read."""

from curate.write.rows import NATURAL, as_shape, check_target, format_names, kind_of, write_rows

__all__ = ["NATURAL", "as_shape", "check_target", "format_names", "kind_of", "write_rows"]
