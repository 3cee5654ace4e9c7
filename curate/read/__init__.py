"""Readers: files of any shape become parts of typed rows, and unreadable lines with their place."""

from curate.read.inputs import Inputs, open_inputs
from curate.read.part import Part, PartRows, Unreadable
from curate.read.rows import raw_lines, read_part

__all__ = ["Inputs", "Part", "PartRows", "Unreadable", "open_inputs", "raw_lines", "read_part"]
