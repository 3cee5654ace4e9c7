"""The recipe as an object: steps, models, inputs and a seed; YAML and Python are the same thing.

A pipeline is frozen and equal by value, and `from_yaml(to_yaml(p)) == p`. It keeps beside itself
where in a file each part came from, so that a problem found minutes later still names its line.
Nothing here reads data or asks a model: `check` looks at names, types and kinds only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

from curate import recipe
from curate.catalog import require_packages
from curate.check import check
from curate.errors import MissingExtra, RecipeError
from curate.fields import FieldProblem, FrozenMap, checked, fit, freeze, plain, shown
from curate.function import Function, from_function
from curate.labels import labelled, with_encoders
from curate.step import Step

if TYPE_CHECKING:
    from curate.engine.options import Progress, RunOptions
    from curate.result import Result


@dataclass(frozen=True, init=False)
class Pipeline:
    """Hold a recipe: what is read, what is done to each row, and who answers.

    Attributes:
        steps: The steps in order; a plain function is taken as a step, too.
        inputs: A path, glob or address, or a mapping of names to `{path, shape, ...}`.
        models: The models that steps name, each a text such as `openai:NAME` or a mapping.
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
        self._set(
            steps=tuple(self._checked(index, step) for index, step in enumerate(steps)),
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

    def _checked(self, index: int, given: Any) -> Step:
        step = given if isinstance(given, Step) else from_function(given)
        try:
            require_packages(type(step))
            return checked(step)
        except FieldProblem as problem:
            path = ("steps", index, step.name, problem.field)
            raise self.error(path, str(problem), step=step.title) from None
        except MissingExtra as error:
            where = ("steps", index)
            raise self.error(where, error.message, step=step.title, type_=MissingExtra) from None

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
    def from_yaml(cls, source: str | Path, *, answered: bool = False) -> Pipeline:
        """Read a recipe from a file, or from YAML text.

        Where it is `answered`, steps that name no model ask one called `model`, which
        `with_settings` can then say: `pipeline.with_settings({"models.model": "local"})`.

        Raises:
            RecipeError: the recipe is wrong; the message names file, line and step.
        """
        from curate.parsing import pipeline_parts

        document = recipe.parse(*recipe.read_text(source))
        return cls(**pipeline_parts(document, answered=answered), places=document)

    def to_yaml(self, *, partial: bool = False) -> str:
        """Return the recipe as YAML.

        Plain functions are Python, not data: a pipeline that holds one is refused, unless `partial`
        (for records of a run), which notes the function's name where the step stood.
        """
        return recipe.dump(self.to_data(partial=partial))

    def to_data(self, *, partial: bool = False) -> dict[str, Any]:
        """Return the recipe as plain data, defaults left out."""
        data: dict[str, Any] = {"name": self.name} if self.name is not None else {}
        for name in ("inputs", "models", "encoders"):
            if getattr(self, name) is not None:
                data[name] = plain(getattr(self, name))
        data["steps"] = [_step_data(step, partial) for step in self.steps]
        if self.outputs is not None:
            data["outputs"] = plain(self.outputs)
        if self.seed:
            data["seed"] = self.seed
        return data

    # -- before a run ------------------------------------------------------------------------------

    def resolved(self) -> Pipeline:
        """Return the pipeline with what was left open filled in: labels, and encoders."""
        steps = labelled(self.steps, self.error)
        steps, encoders = with_encoders(steps, self.encoders, self.error)
        given: dict[str, Any] = {"steps": steps, "encoders": encoders}
        return self if steps == self.steps else dataclasses.replace(self, **given)

    def check(self, kinds: Iterable[str] | None = None) -> None:
        """Raise `RecipeError` for whatever can be known to be wrong before anything is read.

        `kinds` are the record kinds that the inputs hold, where they are known.
        """
        check(self.resolved(), kinds)

    def with_settings(self, settings: Mapping[str, Any]) -> Pipeline:
        """Return the pipeline with some values replaced, each named by its path.

        A path is `seed`, `steps.LABEL.FIELD` (or a step's number), `models.NAME.KEY` and so on.
        """
        from curate.settings import with_settings

        return with_settings(self, settings)

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

    # -- the run -----------------------------------------------------------------------------------

    def run(
        self,
        inputs: Any = None,
        *,
        run: str | Path | None = None,
        store: str | Path | None = None,
        limit: int | None = None,
        max_cost: float | None = None,
        max_requests: int | None = None,
        dry_run: bool = False,
        workers: int | None = None,
        chunk_rows: int = 4096,
        concurrency: int | None = None,
        replace: bool = False,
        retry_failed: bool = False,
        allow_failed: float = 0.0,
        shape: str | None = None,
        output: str | Path | None = None,
        output_shape: str | None = None,
        progress: Callable[[Progress], None] | None = None,
        **unknown: Never,
    ) -> Result:
        """Run the recipe on `inputs` (its own, if none are given) and return the result.

        Args:
            inputs: A path, a list of dicts, a pandas DataFrame or a `datasets.Dataset`.
            run: The run folder; by default one below `runs/`, by the recipe's name or its content.
            store: The folder of stored replies (`.curate`).
            limit: Read the first rows only.
            max_cost: Never spend more US dollars in this run folder.
            max_requests: Never send more requests in this run folder.
            dry_run: Check everything and tell what would be asked; `summary` of the result has it.
            workers: Threads or processes at most; all cores by default.
            chunk_rows: Rows that steps see at once; it changes no result.
            concurrency: Requests under way at once, at most; it changes no result.
            replace: Replace another run in the folder; its spending still counts.
            retry_failed: Ask again where a stored reply was unusable.
            allow_failed: The share of rows that may fail before `exit_code` is 1.
            shape: Read inputs in this shape; it is found out by default.
            output: A file for the kept rows, beside the run folder.
            output_shape: The shape of `output`; by default that of the inputs.
            progress: Called a few times a second with the state of the run.
            unknown: Nothing: a name that is none of these is refused.

        Raises:
            UsageError: the recipe, the inputs or the options are wrong; nothing was spent.
            CeilingReached: the next request could pass a ceiling.
            StoppedShort: the disk is full, the store or a server failed, or a step cannot decide.
        """
        given = {k: v for k, v in locals().items() if k not in ("self", "inputs", "unknown")}
        from curate.engine.options import options_of, told_in_python

        with told_in_python():
            return self._run(inputs, options_of({**given, **unknown}))

    def _run(self, inputs: Any, options: RunOptions) -> Result:
        from curate.pandas_later import leave_pandas_for_later

        leave_pandas_for_later()
        from curate.engine.outputs import write_outputs
        from curate.engine.run import execute

        result = execute(self, inputs, options)
        if self.outputs and not options.dry_run:
            write_outputs(result, self.outputs, options.output_shape)
        return result


def _step_data(step: Step, partial: bool) -> Any:
    """Return a step as YAML writes it: its name, or its name and what differs from defaults."""
    if isinstance(step, Function) and not partial:
        raise RecipeError(
            "is a Python function, which YAML cannot hold; make it an operator (a file in "
            "curate/steps/, or an entry point of the group curate.steps)",
            step=step.title,
        )
    values = {"label": step.label} if step.label is not None else {}
    values |= plain(step.fields())
    return {step.name: values} if values else step.name
