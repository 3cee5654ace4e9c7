"""What the shell offers when the user presses Tab."""

from __future__ import annotations

from pathlib import Path


def steps_that_begin(incomplete: str) -> list[str]:
    """Return the operators whose names begin with what was typed."""
    from curate.catalog import operators

    return [name for name in operators() if name.startswith(incomplete)]


def runs_that_begin(incomplete: str) -> list[str]:
    """Return the run folders below `runs/` whose paths begin with what was typed."""
    found = (str(path.parent) for path in sorted(Path("runs").glob("*/report.json")))
    return [path for path in found if path.startswith(incomplete)]
