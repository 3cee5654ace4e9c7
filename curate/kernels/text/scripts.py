"""Which letters belong to which script, from the ranges in `scripts.json`.

The ranges are the `Script` property of Unicode 17 for the scripts that datasets are written in.
The standard library does not know scripts; a package that does would be one more dependency.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Ranges = tuple[tuple[int, int], ...]


@functools.cache
def script_ranges() -> dict[str, Ranges]:
    """Return the code point ranges of every script, by its name in lower case."""
    data = json.loads(Path(__file__).with_suffix(".json").read_text("ascii"))
    return {name: tuple((first, last) for first, last in ranges) for name, ranges in data.items()}


@functools.lru_cache(maxsize=65536)
def in_scripts(character: str, scripts: tuple[str, ...]) -> bool:
    """Tell whether a character belongs to one of the scripts."""
    point, ranges = ord(character), script_ranges()
    return any(first <= point <= last for name in scripts for first, last in ranges[name])


@functools.cache
def script_letters(scripts: tuple[str, ...]) -> np.ndarray:
    """Return a table over all code points: 1 for a letter of one of the scripts, otherwise 0."""
    import numpy as np

    from curate.kernels.text.counts_compiled import LETTER, character_flags

    letters = (character_flags() & LETTER) // LETTER
    inside = np.zeros_like(letters)
    for name in scripts:
        for first, last in script_ranges()[name]:
            inside[first : last + 1] = 1
    inside &= letters
    return inside
