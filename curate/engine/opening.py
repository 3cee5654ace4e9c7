"""Open what a run reads; a problem with an input that the recipe names says where it names it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import InputError, RecipeError, UsageError
from curate.read import Inputs, open_inputs
from curate.read.shapes import shape
from curate.read.shapes.mapped import columns_shape
from curate.recipe.fields import freeze

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe


def open_sources(recipe: Recipe, inputs: Any, wanted: str | None) -> Inputs:
    """Open `inputs`, or those of the recipe; `wanted` is the shape of those that name none.

    Raises:
        InputError: a file is missing, empty, not what its name says, or of no known shape.
        RecipeError: likewise, with the line of the recipe that names it.
        UsageError: the inputs are none of what can be read.
    """
    if inputs is not None:
        return open_inputs(inputs, shape=wanted)
    _check_shapes(recipe)
    try:
        return open_inputs(recipe.inputs, shape=wanted)
    except InputError as error:
        if not _written(recipe):
            raise
        raise _with_line(recipe, str(error)) from None


def _check_shapes(recipe: Recipe) -> None:
    """Raise `RecipeError`, with file and line, when an input names a shape that there is not."""
    named = recipe.inputs if isinstance(recipe.inputs, Mapping) else {}
    for name, given in named.items():
        wanted = given.get("shape") if isinstance(given, Mapping) else None
        try:
            if wanted is not None:
                shape(wanted)
        except UsageError as error:
            raise recipe.error(("inputs", name, "shape"), str(error)) from None
        columns = given.get("columns") if isinstance(given, Mapping) else None
        try:
            if columns is not None:
                columns_shape(columns)
        except UsageError as error:
            raise recipe.error(("inputs", name, "columns"), str(error)) from None


def _written(recipe: Recipe) -> bool:
    """Tell whether the inputs are those that the recipe's file names, not given in their place."""
    data = None if recipe.places is None else recipe.places.data
    return isinstance(data, Mapping) and freeze(data.get("inputs")) == recipe.inputs


def _with_line(recipe: Recipe, message: str) -> RecipeError:
    """Return the error about an input with its line, and what its path may have meant."""
    given = recipe.inputs
    if isinstance(given, str):
        return recipe.error(("inputs",), message + _beside(recipe, given, message))
    for name, source in (given or {}).items():
        where = source["path"] if isinstance(source, Mapping) else source
        if message.startswith(where):
            advice = _beside(recipe, where, message)
            return recipe.error(("inputs", name), f"inputs.{name}: {message}{advice}")
    return recipe.error(("inputs",), message)


def _beside(recipe: Recipe, where: str, message: str) -> str:
    """Say where relative paths start, if that is why nothing was found."""
    file = recipe.places.file if recipe.places else None
    missing = ": no such file" in message or ": no file matches" in message
    if not missing or file is None or Path(where).is_absolute():
        return ""
    beside = Path(os.path.normpath(Path(file).parent / where))
    there = f"; beside the recipe there is one: write {beside}" if beside.exists() else ""
    return f" (relative paths start at the working folder{there})"
