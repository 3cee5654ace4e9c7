"""A recipe's document becomes the parts of a pipeline; whatever is wrong in it names its line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from curate.errors import RecipeError
from curate.recipe import catalog
from curate.recipe.fields import default_of, shown, type_text, types_of
from curate.row import KINDS
from curate.step import Step
from curate.system.plain_yaml import Document

KEYS = ("name", "inputs", "models", "encoders", "steps", "outputs", "seed")
# What an input or an output may say of itself.
_SOURCE, _PLACE = ("path", "shape", "columns"), ("path", "shape")
_SHAPE = "a recipe is a mapping with `steps` and, if you like, " + ", ".join(
    key for key in KEYS if key != "steps"
)


# What a model is called that answers every step which names none.
ANSWERER = "model"


def pipeline_parts(document: Document, *, answered: bool = False) -> dict[str, Any]:
    """Return the arguments of `Pipeline` that `document` holds.

    Steps that name no model ask `ANSWERER` where they are `answered`.

    Raises:
        RecipeError: a part is unknown, missing or of another type.
    """
    data = document.data
    if not isinstance(data, Mapping):
        raise document.error((), f"{_SHAPE}; found {_what(data)}")
    for key in data:
        if key not in KEYS:
            raise document.error((key,), catalog.unknown("part of a recipe", key, KEYS))
    if not isinstance(data.get("steps"), list):
        found = f", found {_what(data['steps'])}" if "steps" in data else ""
        raise document.error(("steps",), f"`steps` must be a list of steps, each after '- '{found}")
    parts = {key: value for key, value in data.items() if key != "steps"}
    for key, value in parts.items():
        # The pipeline itself checks single values.
        if value is not None and key not in ("name", "seed"):
            _check_part(document, key, value)
    steps: list[Step] = []
    for index, item in enumerate(data["steps"]):
        path = ("steps", index)
        # A name alone is a step without fields.
        step = {item: None} if isinstance(item, str) else item
        if not isinstance(step, Mapping) or not step:
            raise document.error(
                path, f"a step is a name, or `name: {{field: value}}`, found {_what(step)}"
            )
        if len(step) > 1:
            names = ", ".join(step)
            raise document.error(
                path,
                f"a step is one name with its fields below it, found {len(step)} keys ({names}); "
                "indent the fields further than the name",
            )
        name, values = next(iter(step.items()))
        if values is not None and not isinstance(values, Mapping):
            raise document.error(
                path,
                f"the fields of a step are a mapping, as in {{min: 3}}; found {shown(values)}",
                step=name,
            )
        steps.append(build(document, (*path, name), name, values or {}, answered=answered))
    parts["steps"] = steps
    return {key: value for key, value in parts.items() if value is not None}


def _what(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else shown(value)


# What a part of a recipe looks like, for messages.
_EXAMPLES = {
    "models": "{judge: 'openai:NAME'}",
    "encoders": "{small: NAME}",
    "outputs": "{sft: out.jsonl}",
}


def _check_part(document: Document, key: str, value: Any) -> None:
    """Raise where `inputs`, `models`, `encoders` or `outputs` has not the form that it needs."""
    if key == "inputs":
        if isinstance(value, str):
            return
        if not isinstance(value, Mapping):
            raise document.error(
                ("inputs",),
                "`inputs` must be a path, or a mapping of names to paths or to {path, shape, ...}, "
                f"for example {{first: a.jsonl, second: b.jsonl}}; found {_what(value)}",
            )
        for name, source in value.items():
            if isinstance(source, Mapping) and "count" in source:
                count = source["count"]
                if type(count) is not int or count < 1:
                    raise document.error(
                        ("inputs", name, "count"),
                        f"inputs.{name}.count must be a whole number from 1 on, found "
                        f"{shown(count)}",
                    )
                _check_keys(document, ("inputs", name), source, ("count",))
                continue
            path = source.get("path") if isinstance(source, Mapping) else source
            if not isinstance(path, str):
                raise document.error(
                    ("inputs", name),
                    f"inputs.{name} must be a path or a mapping with `path` (or `count`, for empty "
                    f"prompts), found {shown(source)}",
                )
            _check_keys(document, ("inputs", name), source, _SOURCE)
        if "path" in value and "shape" in value:
            raise document.error(
                ("inputs",),
                "`inputs` maps names to sources; name it: inputs: {data: {path: ..., shape: ...}}",
            )
        return
    if not isinstance(value, Mapping):
        raise document.error(
            (key,),
            f"`{key}` must be a mapping, for example {_EXAMPLES[key]}; found {_what(value)}",
        )
    for name, model in value.items() if key != "outputs" else ():
        if not isinstance(model.get("model") if isinstance(model, Mapping) else model, str):
            raise document.error(
                (key, name),
                f"{key}.{name} must be a string such as openai:NAME, or a mapping with `model`, "
                f"found {shown(model)}",
            )
    for kind, output in value.items() if key == "outputs" else ():
        if kind not in KINDS:
            raise document.error(("outputs", kind), catalog.unknown("record kind", kind, KINDS))
        path = output.get("path") if isinstance(output, Mapping) else output
        if not isinstance(path, str):
            raise document.error(
                ("outputs", kind),
                f"outputs.{kind} must be a path or a mapping with `path`, found {shown(output)}",
            )
        _check_keys(document, ("outputs", kind), output, _PLACE)


def _check_keys(
    document: Document, path: tuple[str, ...], place: Any, known: tuple[str, ...]
) -> None:
    for key in place if isinstance(place, Mapping) else ():
        if key not in known:
            wrong = catalog.unknown("key", key, known)
            raise document.error((*path, key), f"{'.'.join(path)}: {wrong}")


def build(
    document: Document,
    path: tuple[str | int, ...],
    name: str,
    values: Mapping[str, Any],
    *,
    answered: bool = False,
) -> Step:
    """Return the step `name` with `values`, which lie at `path` of `document`.

    Where it is `answered`, a step that needs a model and names none asks `ANSWERER`.

    Raises:
        RecipeError: the step or a field is unknown, or a required field is missing.
    """
    if name == "function":
        raise document.error(
            path,
            f"a Python function ({values.get('function', '?')}) stood here, which a recipe cannot "
            "hold; build this pipeline in Python",
        )
    try:
        cls = catalog.find(name)
    except RecipeError as error:
        raise document.error(path, error.message) from None
    title = str(values.get("label") or name)
    fields = {item.name: item for item in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise document.error((*path, key), catalog.unknown("field", key, fields), step=title)
    if answered:
        # A field that says who answers, and has no answer of its own.
        nobody = (dataclasses.MISSING, None, ())
        answering = {"models": (ANSWERER,), "model": ANSWERER}
        if not any(key in values for key in answering):
            filled = {k: v for k, v in answering.items() if k in fields}
            filled = {k: v for k, v in filled.items() if default_of(fields[k]) in nobody}
            values = {**dict(list(filled.items())[:1]), **values}
    for key, item in fields.items():
        if key not in values and default_of(item) is dataclasses.MISSING:
            wanted = type_text(types_of(cls)[key])
            raise document.error(path, f"the field '{key}' is missing: give {wanted}", step=title)
    return cls(**values)
