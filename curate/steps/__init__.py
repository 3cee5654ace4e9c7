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
    # Python itself adds the closest name of `__dir__`.
    raise AttributeError(
        f"module 'curate.steps' has no operator '{name}'; `curate steps` lists all"
    )


def __dir__() -> list[str]:
    """List the operators by their classes' names, `VerbNouns` for `verb_nouns`; import none."""
    from curate.recipe.catalog import operators

    return sorted("".join(map(str.capitalize, name.split("_"))) for name in operators())
