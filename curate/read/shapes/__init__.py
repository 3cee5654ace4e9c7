"""The shapes of records in the wild, found by the tree.

A module has `SHAPES`: a shape for each form of records that it reads and writes. A mapping of
columns is a shape as well, named by what it maps.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil

from curate.errors import UsageError
from curate.read.shapes.shape import Shape


@functools.cache
def shapes() -> dict[str, Shape]:
    """Return every shape of the tree by its name."""
    names = sorted(m.name for m in pkgutil.walk_packages(__path__, f"{__name__}."))
    modules = [importlib.import_module(name) for name in names]
    found = [shape for module in modules for shape in getattr(module, "SHAPES", ())]
    return {shape.name: shape for shape in sorted(found, key=lambda shape: shape.name)}


def names() -> tuple[str, ...]:
    """Return the names of all shapes."""
    return tuple(shapes())


def shape(name: str) -> Shape:
    """Return the shape called `name`, or raise `UsageError` with the nearest names."""
    known = shapes()
    if name in known:
        return known[name]
    from curate.read.shapes.mapped import PREFIX, mapped_shape

    if name.startswith(PREFIX):
        return mapped_shape(name)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    raise UsageError(f"unknown shape '{name}'{hint} Known shapes: {', '.join(known)}")
