"""Read the small languages of the command line: `STEP:key=value,...` and `PATH=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

from curate.errors import RecipeError, UsageError
from curate.recipe.step_file import ADDRESS
from curate.step import Step
from curate.system.plain_yaml import Document, parse


def settings_of(texts: Iterable[str]) -> dict[str, Any]:
    """Return `PATH=VALUE` texts as settings; a value is YAML.

    Raises:
        UsageError: a text holds no `=`, or its value is not YAML.
    """
    settings = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise UsageError(f"--set takes PATH=VALUE, for example seed=1; found '{text}'")
        settings[path.strip()] = value_of(value, f"--set {path}")
    return settings


def step_of(text: str, *, answered: bool = False) -> Step:
    """Return the step that `NAME` or `NAME:key=value,...` describes.

    Where it is `answered`, by `--model`, it needs to name no model.

    Only the first colon splits (of FILE.py:Class the one after the class); values are YAML scalars
    or lists in brackets, and a list of one text needs none.

    Raises:
        UsageError: the step, a field or a value is wrong.
    """
    from curate.recipe.parse import build

    name, _, rest = text.partition(":")
    in_file = ADDRESS.match(text)
    if in_file is not None:
        name, rest = in_file[0], text[in_file.end() :].removeprefix(":")
        if rest.startswith("="):
            file = in_file["file"]
            raise UsageError(
                f"'{text}' names no class: a step of a file is {file}:CLASS, and its fields follow "
                f"behind, as in {file}:CLASS:{in_file['name']}{rest}"
            )
    elif "=" in name:
        raise UsageError(
            f"'{text}' is a field without a step: fields follow their step behind a colon, for "
            "example length:min=3,on=whole"
        )
    values: dict[str, Any] = {}
    for pair in _pairs(rest):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            wrong = f"{name}: fields are key=value, separated by commas; found '{pair}'"
            if values and pair.strip():
                # Perhaps the second item of a list.
                field, first = list(values.items())[-1]
                wrong += f"; a list stands in brackets: '{name}:{field}=[{first}, {pair.strip()}]'"
            raise UsageError(wrong)
        if key.strip() in values:
            raise UsageError(f"{name}: '{key.strip()}' is given twice")
        values[key.strip()] = value_of(value, f"{name}:{key.strip()}")
    return build(Document(None), (), name.strip(), values, answered=answered)


def steps_of(source: str, texts: Iterable[str], *, answered: bool = False) -> list[Step]:
    """Return the steps of a command whose input is `source`.

    Raises:
        UsageError: as `step_of`; or data stands among the steps, as where a shell has replaced a
            pattern without quotes by the files that match it.
    """
    from curate.system.package_data import names_rows

    found = []
    for text in texts:
        try:
            found.append(step_of(text, answered=answered))
        except RecipeError:
            if not names_rows(text):
                raise
            if names_rows(source):
                both = PurePath(text).parent / f"*{PurePath(text).suffix}"
                raise UsageError(
                    f"{text} stands among the steps and is data; several files are one input as a "
                    f"folder, or as a pattern in quotes, which the shell leaves alone: '{both}'"
                ) from None
            raise UsageError(
                f"{text} is data, and the input comes before the steps: {text} {source} ..."
            ) from None
    return found


def value_of(text: str, what: str) -> Any:
    """Return a YAML scalar or list; `what` names it in errors."""
    try:
        value = parse(text).data
    except RecipeError as error:
        raise UsageError(f"{what}: {error.message} (quote text that holds YAML signs)") from error
    if isinstance(value, dict) and not text.lstrip().startswith("{"):
        raise UsageError(f'{what}: found a colon and a blank; quote the text: "{text}"')
    return value


def _pairs(text: str) -> Iterator[str]:
    """Yield the parts of `text` between commas that stand outside brackets and quotes."""
    depth, quote, start = 0, "", 0
    for index, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        # A quote begins a value; an apostrophe inside a word does not.
        elif sign in "\"'" and text[:index].rstrip()[-1:] in ("=", "[", ",", ":", "{"):
            quote = sign
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "," and depth == 0:
            yield text[start:index]
            start = index + 1
    if text[start:].strip():
        yield text[start:]
