"""The part: a fixed range of source rows, the unit of parsing, spilling and order.

A part is 16,384 lines or 64 MB, whichever comes first. How many threads, chunks or batches work on
it never changes where it begins and ends; that is what makes files identical.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

PART_ROWS = 16_384
PART_BYTES = 64 << 20
# A longer record is not an example of anything, nor is one of more values, each of which takes
# Python a hundred bytes and more: it is failed without being held, so that no file fills memory.
LINE_BYTES = 16 << 20
MOST_VALUES = 1_000_000
# Of records that become one row: a session, a tree of messages, a thread.
GROUP_BYTES = 32 << 20
RAW_BYTES = 64 << 10


class Part(NamedTuple):
    """Where a range of rows lies, or the rows themselves where a file cannot be cut.

    `form`: "range" (bytes `offset` to `offset + length` of a plain JSONL file), "lines" (`data` is
    such bytes), "records" (`data` is a list of `Read`), "batch" (an Arrow table), "rows" (a table
    of rows as a run publishes them), "blank" (so many empty prompts), or "long" (`data` is the
    `Read` of a line that is too long). `broken` says why the file ends here, if it breaks off.
    `file` is its name in messages, `path` where it lies.
    """

    input_index: int
    file_index: int
    file: str
    source: str
    shape: str
    form: str
    offset: int = 0
    length: int = 0
    data: Any = None
    broken: str | None = None
    first: bool = False
    path: str = ""


class Read(NamedTuple):
    """One record as read: data, or error and raw bytes; `line` counts from 1 in the part.

    What is JSON but no object has both: it is not a row, but may be an item of a test set. `size`
    is about what it takes, where a part of such records must be kept within its bytes. `file` names
    the record's own file, where several files make one input.
    """

    record: Any
    error: str | None = None
    raw: bytes = b""
    line: int | None = None
    size: int = 0
    file: str | None = None


class Unreadable(NamedTuple):
    """A record that is not a row. `ordinal` counts from 0 in its part, `line` from 1.

    `file` names its own file, where that is not the part's.
    """

    ordinal: int
    line: int | None
    error: str
    raw: bytes
    file: str | None = None


class PartRows(NamedTuple):
    """A part as rows: `table` has kind, source, the kind's fields and extra.

    `ordinals` (int64) are the places of the readable rows among all `records` of them of the part;
    `lines` is its number of physical lines.
    """

    table: pa.Table
    ordinals: np.ndarray
    records: int
    lines: int
    unreadable: list[Unreadable]
