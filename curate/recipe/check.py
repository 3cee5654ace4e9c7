"""What can be known to be wrong with a recipe before any row is read or any model asked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.recipe.catalog import unknown
from curate.row import KINDS, RESPONSE_FIELD
from curate.step import Filter, Step, Whole
from curate.system.credentials import holds_credentials, remember_secret, source_of_secret

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe


def check(
    recipe: Recipe, kinds: Iterable[str] | None, sources: Iterable[str] | None = None
) -> None:
    """Raise `RecipeError` for the first step of a resolved recipe that cannot work.

    After a step that makes rows and does not say of which kinds, they are no longer checked.

    Args:
        recipe: the recipe, resolved.
        kinds: the record kinds that the inputs hold, where they are known.
        sources: the names of the inputs, where they are not those of the recipe alone.
    """
    # Before a recipe that holds one is written anywhere.
    refuse_secrets(recipe)
    name = recipe.name
    # It becomes a folder below runs/.
    if name is not None and (name in ("", "..") or Path(name).name != name):
        raise recipe.error(("name",), f"name is '{name}'; it must be the name of a folder")
    flowing = None if kinds is None else frozenset(kinds)
    inputs = recipe.inputs
    if sources is None and inputs is not None:
        named = isinstance(inputs, Mapping) and "path" not in inputs
        sources = list(inputs) if isinstance(inputs, Mapping) and named else ["input"]
    scoring: list[str] = []
    for index, step in enumerate(recipe.steps):
        _Checked(recipe, index, step, sources).go(scoring, flowing)
        if isinstance(step, Filter | Whole) or step.scores_made:
            scoring.append(step.title)
        flowing = step.kinds_after(flowing)


def refuse_secrets(recipe: Recipe) -> None:
    """Raise `RecipeError` where a recipe holds a key, an address with credentials, or a secret.

    Secrets are the values of the environment's variables that are called keys, tokens or passwords.
    """
    for part in ("inputs", "models", "encoders", "outputs"):
        given = getattr(recipe, part) or {}
        for name, spec in {"": given}.items() if isinstance(given, str) else given.items():
            values = spec if isinstance(spec, Mapping) else {"": spec}
            if "api_key" in values:
                raise recipe.error(
                    (part, name, "api_key"),
                    f"{part}.{name}: a recipe must not hold a key; put it into an environment "
                    "variable and name that in 'api_key_env'",
                )
            for address in values.values():
                secret = False
                # What is not a valid address is reported by whoever opens it.
                with contextlib.suppress(ValueError):
                    secret = isinstance(address, str) and holds_credentials(address)
                if secret:
                    raise recipe.error(
                        (part, name),
                        f"{part}.{name}: an address must not hold credentials; give them in the "
                        "environment",
                    )
    texts = list(_texts(recipe.to_data(partial=True)))
    for path, text in texts:
        # What a mapping names as the variable of its key is a secret, whatever its name is.
        if path and path[-1] == "api_key_env":
            remember_secret(os.environ.get(text, "").strip(), text)
    for path, text in texts:
        if (source := source_of_secret(text)) is not None:
            where = ".".join(map(str, path))
            raise recipe.error(
                path,
                f"{where}: it holds the secret of the environment variable {source}; take it out: "
                "a model's mapping names the variable itself in 'api_key_env'",
            )


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield every text in plain data with its path; a key of a mapping is at that mapping's."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield path, str(name)
            yield from _texts(one, (*path, name))
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _texts(one, (*path, number))


# What to do with rows that have no answer, or several, before a step that wants one.
_ADVICE = {
    "prompt": "let respond answer the prompts before it",
    "ranked": "a ranked row has several answers: give each a row of its own (respond with to: sft)",
}


class _Checked:
    """One step and its place, while it is looked at."""

    def __init__(
        self, recipe: Recipe, index: int, step: Step, sources: Iterable[str] | None
    ) -> None:
        self.recipe, self.index, self.step, self.sources = recipe, index, step, sources

    def go(self, scoring: list[str], flowing: frozenset[str] | None) -> None:
        """Check names, then what the step needs, then kinds."""
        for label in self.step.reads_scores():
            if label not in scoring:
                listed = f"earlier steps that score: {', '.join(scoring)}"
                here = listed if scoring else "no step before this one scores"
                self._fail(
                    f"by is '{label}', but no earlier step of that label scores ({here})", "by"
                )
        read = self.step.reads_models()
        for field, part in (("model", "models"), ("models", "models"), ("encoder", "encoders")):
            given = getattr(self.step, field, None)
            known = getattr(self.recipe, part) or {}
            for name in (given,) if isinstance(given, str) else given or ():
                if name in read and name not in known:
                    said = f"{unknown(part.removesuffix('s'), name, known)}; add it to the recipe's"
                    said += f" `{part}`"
                    if field == "model" and (":" in name or name == "local"):
                        # A model's address, where its name in the recipe belongs.
                        said += f" (models: {{judge: '{name}'}}, and at the step model: judge)"
                        said += f", or on the command line give --model {name} instead"
                    self._fail(said, field)
        try:
            self.step.prepare()
        except (ValueError, OSError) as error:
            # A file's name may be too long for the system, or lie where nobody may read.
            self._fail(str(error))
        # A name in `only` is a record kind or an input.
        known = [*KINDS, *(self.sources or ())]
        for name in self.step.only if self.sources is not None else ():
            if name not in known:
                self._fail(unknown("record kind or source", name, known), "only")
            if name in KINDS and name in (self.sources or ()):
                self._fail(f"'{name}' is a record kind and an input; rename the input", "only")
        # What a source holds is not known here: a row that does not fit fails by itself.
        if flowing and set(self.step.only) <= set(KINDS):
            flowing = self.step.kinds_seen(flowing)
            refused = sorted(flowing - set(self.step.kinds))
            if refused:
                wants_one = set(self.step.kinds) <= set(RESPONSE_FIELD)
                advice = [_ADVICE[kind] for kind in refused if wants_one and kind in _ADVICE]
                able = [kind for kind in self.step.kinds if kind in flowing]
                if able:
                    advice.append(f"set only: [{', '.join(able)}] to let the others pass")
                taken = ", ".join(self.step.kinds)
                said = f"takes {taken} rows, but {', '.join(refused)} rows reach it"
                self._fail("; ".join([said, *advice]))
            bare = sorted(kind for kind in flowing if kind not in RESPONSE_FIELD)
            if getattr(self.step, "on", None) == "response" and bare:
                able = sorted(flowing - set(bare))
                self._fail(
                    f"reads the response, but {', '.join(bare)} rows reach it, which have none; "
                    "set on: instruction or on: whole"
                    + (f", or only: [{', '.join(able)}] to let the others pass" if able else ""),
                    "on",
                )

    def _fail(self, message: str, field: str = "") -> Any:
        path = ("steps", self.index, self.step.name, field)
        raise self.recipe.error(path, message, step=self.step.title) from None
