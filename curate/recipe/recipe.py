"""The recipe as an object: steps, models, inputs and a seed; YAML and Python are the same thing.

A recipe is frozen and equal by value, and `from_yaml(to_yaml(p)) == p`. It keeps beside itself
where in a file each part came from, so that a problem found minutes later still names its line.
Nothing here reads data, asks a model or runs anything: `curate.pipeline` does.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from curate.errors import MissingExtra, RecipeError
from curate.recipe.catalog import require_packages
from curate.recipe.fields import FieldProblem, FrozenMap, checked, fit, freeze, plain, shown
from curate.recipe.function import Function, from_function
from curate.step import Step
from curate.system import plain_yaml as recipe

# The names of the reader's ledger, and of the step that runs unasked where conversation trees are
# read; no other step may be called so.
RESERVED = ("read", "expand")
_LABEL = re.compile(r"[^\W\d][\w-]*")
# What a recipe without encoders gets, under the name that its steps then have.
DEFAULT_ENCODER = {"minilm": "hf:sentence-transformers/all-MiniLM-L6-v2"}
ErrorAt = Callable[..., RecipeError]


@dataclass(frozen=True, init=False)
class Recipe:
    """Hold a recipe: what is read, what is done to each row, and who answers.

    Attributes:
        steps: The steps in order; a plain function is taken as a step, too.
        inputs: A path, glob or address, or a mapping of names to `{path, shape, ...}`.
        models: The models that steps name, each a string such as `openai:NAME` or a mapping.
        encoders: The encoders that steps name, likewise.
        outputs: Where rows of a kind are written, by kind.
        seed: The number that all randomness of a run depends on.
        name: The name of the run folder and of the dataset.
        places: Where each part came from, when the recipe was a file.
    """

    steps: tuple[Step, ...]
    inputs: str | FrozenMap | None
    models: FrozenMap | None
    encoders: FrozenMap | None
    outputs: FrozenMap | None
    seed: int
    name: str | None
    places: recipe.Document | None = field(compare=False, repr=False)

    def __init__(
        self,
        steps: Iterable[Step | Callable[..., Any]],
        *,
        inputs: str | Mapping[str, Any] | None = None,
        models: Mapping[str, Any] | None = None,
        encoders: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        seed: int = 0,
        name: str | None = None,
        places: recipe.Document | None = None,
    ) -> None:
        """Bring every value into its one form.

        Raises:
            RecipeError: a value is of the wrong type, or a step's packages are not installed.
        """
        self._set(places=places)
        if isinstance(steps, Step | str | Mapping) or not isinstance(steps, Iterable):
            raise self.error(("steps",), f"steps must be a list, found {type(steps).__name__}")
        fitting = []
        for index, given in enumerate(steps):
            step = given if isinstance(given, Step) else from_function(given)
            try:
                require_packages(type(step))
                fitting.append(checked(step))
            except FieldProblem as problem:
                path = ("steps", index, step.name, problem.field)
                raise self.error(path, str(problem), step=step.title) from None
            except MissingExtra as error:
                where, said = ("steps", index), error.message
                raise self.error(where, said, step=step.title, type_=MissingExtra) from None
        if isinstance(inputs, Mapping) and "path" in inputs:
            # The short form of Python, which a file has no room for.
            inputs = {"input": inputs}
        self._set(
            steps=tuple(fitting),
            inputs=inputs if isinstance(inputs, str) else self._mapping("inputs", inputs),
            models=self._mapping("models", models),
            encoders=self._mapping("encoders", encoders),
            outputs=self._mapping("outputs", outputs),
            seed=self._scalar("seed", seed, int),
            name=self._scalar("name", name, str | None),
        )

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _mapping(self, name: str, value: Any) -> FrozenMap | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.error((name,), f"{name} must be a mapping, found {shown(value)}")
        try:
            return FrozenMap(freeze(value))
        except ValueError as error:
            raise self.error((name,), f"{name}: {error}") from None

    def _scalar(self, name: str, value: Any, type_: Any) -> Any:
        try:
            return fit(name, value, type_)
        except FieldProblem as problem:
            raise self.error((name,), str(problem)) from None

    # -- YAML --------------------------------------------------------------------------------------

    @classmethod
    def from_yaml(cls, source: str | Path, *, answered: bool = False) -> Self:
        """Read a recipe from a file, or from YAML text; the `run.yaml` of a run holds one, too.

        Where it is `answered`, steps that name no model ask one called `model`, which
        `Pipeline.with_settings` can then say: `pipeline.with_settings({"models.model": "local"})`.

        Raises:
            RecipeError: the recipe is wrong; the message names file, line and step.
        """
        from curate.recipe.parse import pipeline_parts

        document = recipe.parse(*recipe.read_text(source))
        if isinstance(document.data, Mapping) and {"recipe", "labels"} <= document.data.keys():
            document = document.below("recipe")
        return cls(**pipeline_parts(document, answered=answered), places=document)

    def to_yaml(self, *, partial: bool = False) -> str:
        """Return the recipe as YAML.

        Plain functions are Python, not data: a recipe that holds one is refused, unless `partial`
        (for records of a run), which notes the function's name where the step stood.
        """
        return recipe.dump(self.to_data(partial=partial))

    def to_data(self, *, partial: bool = False) -> dict[str, Any]:
        """Return the recipe as plain data, defaults left out."""
        data: dict[str, Any] = {"name": self.name} if self.name is not None else {}
        for name in ("inputs", "models", "encoders"):
            if getattr(self, name) is not None:
                data[name] = plain(getattr(self, name))
        data["steps"] = []
        for step in self.steps:
            if isinstance(step, Function) and not partial:
                raise RecipeError(
                    "is a Python function, which YAML cannot hold; make it a class in a file of "
                    "yours, a step that a recipe names as ./FILE.py:Class (`curate steps` lists "
                    "others; docs/how-to/add-a-step.md shows one)",
                    step=step.title,
                )
            # A step is written as its name, and what differs from defaults.
            values = {"label": step.label} if step.label is not None else {}
            values |= plain(step.fields())
            name = step.address or step.name
            data["steps"].append({name: values} if values else name)
        if self.outputs is not None:
            data["outputs"] = plain(self.outputs)
        if self.seed:
            data["seed"] = self.seed
        return data

    def resolved(self) -> Self:
        """Return the recipe with what was left open filled in: labels, and encoders."""
        # Labels also name folders: they differ whatever the case.
        taken: set[str] = set()
        for index, step in enumerate(self.steps):
            label = step.label
            if label is None:
                continue
            path = ("steps", index, step.name, "label")
            if not _LABEL.fullmatch(label):
                raise self.error(
                    path,
                    f"the label '{label}' is not allowed: letters, digits, - and _, a letter first",
                    step=step.name,
                )
            if label.casefold() in RESERVED and label != step.name:
                raise self.error(
                    path, f"the label '{label}' is reserved; choose another", step=step.name
                )
            if label.casefold() in taken:
                raise self.error(
                    path, f"the label '{label}' is there twice; choose another", step=step.name
                )
            taken.add(label.casefold())
        # Given labels go first; without one the first step keeps its name, the next is `name_2`.
        out = []
        for step in self.steps:
            if step.label is None:
                title, number = step.title, 1
                reserved = title in RESERVED and title != step.name
                while title.casefold() in taken or reserved:
                    number, reserved = number + 1, False
                    title = f"{step.title}_{number}"
                taken.add(title.casefold())
                step = step if title == step.title else dataclasses.replace(step, label=title)
            out.append(step)
        steps, encoders = _with_encoders(out, self.encoders, self.error)
        given: dict[str, Any] = {"steps": steps, "encoders": encoders}
        return self if steps == self.steps else dataclasses.replace(self, **given)

    def error(
        self,
        path: tuple[str | int, ...],
        message: str,
        *,
        step: str | None = None,
        type_: type[RecipeError] = RecipeError,
    ) -> RecipeError:
        """Return an error about the part at `path`, with its file and line where they are known."""
        if self.places is None:
            return type_(message, step=step)
        return type_(message, step=step, file=self.places.file, line=self.places.line(path))


def _with_encoders(
    steps: Sequence[Step], encoders: Mapping[str, Any] | None, error: ErrorAt
) -> tuple[tuple[Step, ...], Mapping[str, Any] | None]:
    """Return `steps` with an encoder for each that needs one and names none, and the encoders.

    It is the recipe's only one, or the default where the recipe has none.
    """
    bare = [i for i, s in enumerate(steps) if s.embeds() and getattr(s, "encoder", "") is None]
    if not bare:
        return tuple(steps), encoders
    encoders = encoders or DEFAULT_ENCODER
    if len(encoders) > 1:
        step = steps[bare[0]]
        raise error(
            ("steps", bare[0], step.name),
            f"encoder is not set, and the recipe has several: {', '.join(encoders)}; name one",
            step=step.title,
        )
    name = next(iter(encoders))
    given: dict[str, Any] = {"encoder": name}
    filled = (dataclasses.replace(s, **given) if i in bare else s for i, s in enumerate(steps))
    return tuple(filled), encoders
