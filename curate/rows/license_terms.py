"""What is known of licences: the terms of each by its name on the Hub, and those of example data.

The names are the Hub's: https://huggingface.co/docs/hub/repositories-licenses
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from curate.system.package_data import folder

UNKNOWN = "unknown"
# Columns in which datasets name the licence of a row.
_COLUMNS = ("license", "licence")


@functools.cache
def table() -> Mapping[str, Any]:
    """Return `licences`, the terms by name, and `shipped`, licences and origin by file."""
    data: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text("ascii"))
    return data


def shipped_licences(file: str) -> tuple[tuple[str, ...], str | None] | None:
    """Return the licences and the origin of a file of example data, `None` for any other file.

    What was written for this project has no other origin.
    """
    found = table()["shipped"].get(Path(file).name)
    here = folder("pipelines") / "data"
    if found is None or not (
        file.startswith("pipelines/data/") or Path(file).absolute().parent == here
    ):
        return None
    return tuple(found[0].split(", ")), found[1]


def licences_of_row(
    source: str | None, extra: Mapping[str, Any], named: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the licences of a row: its own column's, else those named for its source.

    Args:
        source: the input that the row came from.
        extra: its further columns.
        named: licences by source, several of one with commas between them.
    """
    own = next((extra[name] for name in _COLUMNS if isinstance(extra.get(name), str)), None)
    found = own if own is not None else named.get(source or "", UNKNOWN)
    return tuple(one.strip() for one in found.lower().split(","))


def uses_allowed(licences: Iterable[str]) -> int:
    """Return what all of the licences allow: 0 where one is not known, 1 research, 2 any use."""
    least = 2
    for licence in licences:
        facts = table()["licences"].get(licence)
        least = min(least, 0 if facts is None else 1 + facts.get("commercial", True))
    return least
