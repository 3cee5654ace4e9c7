"""What the shell offers when the user presses Tab."""

from __future__ import annotations

from pathlib import Path


def steps_that_begin(incomplete: str) -> list[str]:
    """Return the operators whose names begin with what was typed."""
    from curate.recipe.catalog import operators

    return [name for name in operators() if name.startswith(incomplete)]


def methods_that_begin(incomplete: str) -> list[str]:
    """Return the methods of training whose names begin with what was typed."""
    from curate.train.settings import methods

    return [name for name in (*methods(), "scar") if name.startswith(incomplete)]


def runs_that_begin(incomplete: str) -> list[str]:
    """Return the run folders below `runs/` whose paths begin with what was typed."""
    found = (str(path.parent) for path in sorted(Path("runs").glob("*/report.json")))
    return [path for path in found if path.startswith(incomplete)]


def shapes_that_begin(incomplete: str) -> list[str]:
    """Return the shapes of input files whose names begin with what was typed."""
    from curate.read.shapes import names

    return [name for name in names() if name.startswith(incomplete)]


def formats_that_begin(incomplete: str) -> list[str]:
    """Return the shapes and formats that rows can be written in, and begin with what was typed."""
    from curate.write import format_names

    return [name for name in (*format_names(), "faiss") if name.startswith(incomplete)]
