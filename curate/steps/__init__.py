"""The operators, one per file; the tree is the registry: `from curate.steps import Length`."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Import the operator whose class is `name` at its first use."""
    # Modules and dunders look alike from here; only class names lead into the catalog.
    if name[:1].isupper():
        from curate.recipe.catalog import find_class

        found = find_class(name)
        if found is not None:
            return found
    raise AttributeError(f"module 'curate.steps' has no operator '{name}'; see `curate steps`")
