"""Readers: files of any shape become parts of typed rows, and unreadable lines with their place."""

from curate.read.inputs import Inputs, open_inputs, open_records, with_shape
from curate.read.part import Part, PartRows, Read, Unreadable
from curate.read.to_rows import raw_lines, read_part

__all__ = [
    "Inputs",
    "Part",
    "PartRows",
    "Read",
    "Unreadable",
    "open_inputs",
    "open_records",
    "raw_lines",
    "read_part",
    "with_shape",
]
