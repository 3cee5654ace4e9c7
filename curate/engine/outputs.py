"""Write a recipe's `outputs`: the kept rows of each kind, where they are wanted besides the run.

They are copies of what the run folder holds, written after it is complete: a run that is stopped in
between writes them when the same command runs again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.result import Result, Rows
from curate.write import write_rows


def write_outputs(result: Result, outputs: Mapping[str, Any], shape: str | None) -> None:
    """Write the kept rows of each kind that `outputs` names to its path.

    `shape` holds for outputs that name none; without one, rows leave in their kind's natural shape.
    """
    for kind, output in outputs.items():
        place = {"path": output} if isinstance(output, str) else output
        rows = Rows(result.folder / "kept" / kind)
        write_rows(rows.tables(), Path(place["path"]), place.get("shape") or shape)
