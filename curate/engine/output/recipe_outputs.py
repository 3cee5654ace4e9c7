"""Write a recipe's `outputs`: the kept rows of each kind, where they are wanted besides the run.

They are copies of what the run folder holds, written after it is complete: a run that is stopped in
between writes them when the same command runs again. Where they (and `-o`) may not be written is
said before the run, not after it has been paid for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from curate.engine.options import RunOptions
from curate.errors import UsageError
from curate.read import Inputs
from curate.row import KINDS
from curate.runs.rows import SIDES, Rows
from curate.runs.written import check_replaceable
from curate.step import Filter, Whole
from curate.write import check_target, kind_of, misfit, path_of_part, write_rows

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe


def write_outputs(folder: Path, recipe: Recipe, shape: str | None) -> None:
    """Write the kept rows of each kind that the recipe's `outputs` name to its path.

    `shape` holds for outputs that name none; without one, rows leave in their kind's natural shape.
    """
    for kind, side, path, own in targets_of(recipe):
        rows = Rows(folder / "kept" / kind, side)
        write_rows(rows.tables(), path, own or shape, run=folder)


def targets_of(recipe: Recipe) -> Iterator[tuple[str, str | None, Path, str | None]]:
    """Yield kind, side, path and shape of each file of the recipe's `outputs`.

    After the step `split` there is one for each side, as of `-o`: a file of both would be trained
    on with the rows that are held out.
    """
    for kind, output in (recipe.outputs or {}).items():
        place = {"path": output} if isinstance(output, str) else output
        for side in sides_of(recipe, kind):
            try:
                path = path_of_part(Path(place["path"]), side)
            except UsageError as error:
                raise recipe.error(("outputs", kind), f"outputs.{kind}: {error}") from None
            yield kind, side, path, place.get("shape")


def check_outputs(recipe: Recipe, opened: Inputs, options: RunOptions) -> None:
    """Raise for an output that could not be written, or that would replace what is read.

    Raises:
        RecipeError: one of the recipe's `outputs` is wrong.
        UsageError: the file or the shape that the options ask for is wrong.
    """
    wanted = options.output_shape
    if options.output is not None:
        for path in output_paths(recipe, opened, options.output):
            _check(path, wanted, kinds_kept(recipe, opened), opened)
    elif wanted is not None and not recipe.outputs:
        raise UsageError(
            f"no output is written in the shape '{wanted}': name one in the recipe's `outputs`, or "
            "export the run afterwards (curate export RUN --as SHAPE -o PATH)"
        )
    for kind, _, path, shape in targets_of(recipe):
        try:
            _check(path, shape or wanted, {kind}, opened)
        except UsageError as error:
            raise recipe.error(("outputs", kind), f"outputs.{kind}: {error}") from None


def check_free(recipe: Recipe, opened: Inputs, options: RunOptions, folder: Path) -> None:
    """Raise for an output in whose place is a file that no run wrote; `folder` is the run's own.

    Raises:
        RecipeError: one of the recipe's `outputs` is there.
        UsageError: the file that the options ask for is there.
    """
    if options.output is not None:
        for path in output_paths(recipe, opened, options.output):
            check_replaceable(path, folder, replace=options.replace)
    for kind, _, path, _ in targets_of(recipe):
        try:
            check_replaceable(path, folder, replace=options.replace)
        except UsageError as error:
            raise recipe.error(("outputs", kind), f"outputs.{kind}: {error}") from None


def output_paths(recipe: Recipe, opened: Inputs, path: Path) -> list[Path]:
    """Return the files that may be written for the output `path`: one for each side and kind."""
    kinds = kinds_kept(recipe, opened)
    several: list[str | None] = [None]
    if kinds is None or len(kinds) > 1:
        several += sorted(KINDS if kinds is None else kinds)
    return [path_of_part(path, side, kind) for side in sides_of(recipe) for kind in several]


def sides_of(recipe: Recipe, kind: str | None = None) -> tuple[str | None, ...]:
    """Return the sides that the step `split` parts the kept rows into, else one without a name.

    Of one `kind`, where `only` names kinds, they are those of its rows.

    Raises:
        RecipeError: rows would be on no side, and so in no file.
    """
    at = next((n for n, step in enumerate(recipe.steps) if step.name == "split"), None)
    if at is None:
        return (None,)
    only = recipe.steps[at].only
    by_kind = kind is not None and set(only) <= set(KINDS)
    if only and not by_kind:
        raise recipe.error(
            ("steps", at, "split"),
            "an output has a file for each side, and with `only` other rows are on no side; leave "
            "it out, or write the run without -o and `outputs`, and export from it",
        )
    for index, step in enumerate(recipe.steps[at + 1 :], at + 1):
        if not isinstance(step, Filter | Whole):
            raise recipe.error(
                ("steps", index, step.name),
                f"the rows that '{step.title}' makes after 'split' would be on no side; put split "
                "behind it",
            )
    # Rows of a kind that the step does not see have no sides.
    return (None,) if only and kind not in only else SIDES


def _check(path: Path, shape: str | None, kinds: set[str] | None, opened: Inputs) -> None:
    check_target(path, shape)
    if shape is not None and kinds is not None and kinds != {kind_of(shape)}:
        raise UsageError(misfit(shape, kinds))
    read = [file.path for file in opened.files if file.path.is_file()]
    if path.exists() and any(path.samefile(file) for file in read):
        raise UsageError(f"{path} is read by this run, and would be replaced; choose another file")


def kinds_kept(recipe: Recipe, opened: Inputs) -> set[str] | None:
    """Return the kinds of the rows that may be kept, where every step says what it makes."""
    kinds: frozenset[str] | None = frozenset(opened.kinds())
    for step in recipe.steps:
        kinds = step.kinds_after(kinds)
    return None if kinds is None else set(kinds)
