"""Replace single values of a recipe by their path: what `--set PATH=VALUE` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from curate.errors import UsageError
from curate.recipe.catalog import unknown
from curate.recipe.fields import FieldProblem, fit, types_of
from curate.recipe.recipe import Recipe

R = TypeVar("R", bound=Recipe)
_MAPPINGS = ("inputs", "models", "encoders", "outputs")
_SCALARS: Mapping[str, Any] = {"name": str | None, "seed": int}
# What a text means where a mapping could be: `judge: openai:NAME` is `judge: {model: ...}`.
_SHORT = {"inputs": "path", "models": "model", "encoders": "model"}


def with_settings(recipe: R, settings: Mapping[str, Any]) -> R:
    """Return `recipe` with the value at each path replaced, all of them at once.

    Raises:
        UsageError: a path leads nowhere, or its value is not allowed there.
    """
    draft = _Draft(recipe)
    for path, value in settings.items():
        try:
            draft.set(path, value)
        except FieldProblem as problem:
            raise UsageError(f"--set {path}: {problem}") from problem
    return draft.finish()


class _Draft(Generic[R]):
    """A recipe's parts while they change; they are checked together at the end."""

    def __init__(self, recipe: R) -> None:
        self.recipe = recipe
        self.titles = [step.title for step in recipe.resolved().steps]
        self.steps = list(recipe.steps)
        self.parts: dict[str, Any] = {}

    def finish(self) -> R:
        """Return the changed recipe."""
        return dataclasses.replace(self.recipe, steps=tuple(self.steps), **self.parts)

    def set(self, path: str, value: Any) -> None:
        """Replace the value at `path`."""
        part, _, rest = path.partition(".")
        if part == "steps":
            which, _, field = rest.partition(".")
            if which in self.titles:
                index = self.titles.index(which)
            elif which.isdecimal() and int(which) < len(self.steps):
                index = int(which)
            else:
                raise FieldProblem(which, unknown("step", which, self.titles))
            step = self.steps[index]
            field, *inner = field.split(".")
            types = types_of(type(step))
            if field not in types:
                names = [name for name in types if name != "function"]
                raise FieldProblem(field, f"step '{which}': {unknown('field', field, names)}")
            if inner:
                value = _replaced(getattr(step, field) or {}, inner, value, None)
            changed: dict[str, Any] = {field: fit(field, value, types[field])}
            self.steps[index] = dataclasses.replace(step, **changed)
        elif part in _SCALARS and not rest:
            self.parts[part] = fit(part, value, _SCALARS[part])
        elif part in _MAPPINGS:
            if rest:
                old = self.parts.get(part, getattr(self.recipe, part))
                old = {} if old is None else old
                value = _replaced(old, rest.split("."), value, _SHORT.get(part))
            self.parts[part] = value
        else:
            raise FieldProblem(part, unknown("path", path, (*_SCALARS, *_MAPPINGS, "steps.LABEL")))


def _replaced(data: Any, keys: Sequence[str], value: Any, short: str | None) -> Any:
    """Return the mapping `data` with one value replaced; names may hold dots (`gpt-4.1`)."""
    if isinstance(data, str) and short is not None:
        data = {short: data}
    if not isinstance(data, Mapping):
        raise FieldProblem("", f"there is no mapping to set '{'.'.join(keys)}' in")
    splits = [(".".join(keys[:n]), keys[n:]) for n in range(len(keys), 0, -1)]
    key, rest = next(((k, r) for k, r in splits if k in data), (keys[0], keys[1:]))
    new = _replaced(data.get(key, {}), rest, value, short) if rest else value
    return {**data, key: new}
