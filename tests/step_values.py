"""Random steps of every operator in the tree, made from the annotations of their fields."""

import dataclasses
import functools
import types
from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from curate.prompts import collection as collections
from curate.recipe import catalog
from curate.recipe.fields import checked, types_of
from curate.step import Step

# A file of questions, for steps whose fields name files, and one of decisions about rows.
FILE = Path(__file__).with_name("questions.jsonl")
DECISIONS = Path(__file__).with_name("decisions.jsonl")
# A file of tools, for steps whose field `tools` names one.
TOOLS = Path(__file__).parents[1] / "pipelines" / "data" / "tools.jsonl"
SCALARS: Mapping[Any, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(1, 40),
    float: st.floats(0.125, 1, width=32),
    str: st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=12),
}


@functools.cache
def values_of(type_: Any) -> st.SearchStrategy[Any]:
    """Return values that a field of `type_` may hold."""
    origin, arguments = get_origin(type_) or type_, get_args(type_)
    if origin in SCALARS:
        return SCALARS[origin]
    if origin in (Union, types.UnionType):
        # Absence is drawn by leaving the field out.
        return st.one_of([values_of(m) for m in arguments if m is not type(None)])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is Any:
        # What a recipe nests: a sampler, say.
        return st.fixed_dictionaries(
            {"categories": st.lists(SCALARS[str], min_size=1, unique=True)}
        )
    if origin in (dict, Mapping):
        values = values_of(arguments[1])
        return st.dictionaries(st.text("abc", min_size=1), values, min_size=1, max_size=3)
    if origin in (list, tuple, Sequence):
        if len(arguments) > 1 and arguments[-1] is not Ellipsis:
            return st.tuples(*map(values_of, arguments))
        return st.lists(values_of(arguments[0]), min_size=1, max_size=3, unique_by=repr)
    raise AssertionError(f"no values for {type_}: teach tests/step_values.py this annotation")


def with_file(value: Any) -> Any:
    """Return a value whose texts name a file that exists, for steps that read one."""
    if isinstance(value, list):
        return [with_file(item) for item in value]
    return str(FILE) if isinstance(value, str) else value


@functools.cache
def _some_of(fields: tuple[str, ...]) -> st.SearchStrategy[set[str]]:
    return st.sets(st.sampled_from(fields))


@st.composite
def steps(draw: st.DrawFn, names: Sequence[str] | None = None) -> Step:
    """Return a step that its own checks accept, with some of its fields given."""
    cls = catalog.find(draw(st.sampled_from(list(names or catalog.operators()))))
    hints = types_of(cls)
    fields = [item.name for item in dataclasses.fields(cls) if item.name not in ("label", "only")]
    values = {name: draw(values_of(hints[name])) for name in fields}
    if isinstance(values.get("by"), str):
        # It names the label of a step, which is made of letters, digits, - and _.
        values["by"] = draw(st.from_regex("[a-z][a-z0-9_-]{0,8}", fullmatch=True))
    if isinstance(values.get("collection"), str):
        values["collection"] = draw(st.sampled_from(list(collections.names())))
    if isinstance(values.get("smaller"), str):
        # Two models are compared, so they are two.
        values["smaller"] += values["larger"]
    if isinstance(values.get("file"), str):
        values["file"] = str(DECISIONS)
    if isinstance(values.get("tools"), str):
        values["tools"] = str(TOOLS)
    if "tokenizer" in values:
        # A name that is not a folder is looked for on the Hub, for seconds: not once an example.
        values["tokenizer"] = None
    wanted = draw(_some_of(tuple(fields))) if fields else set()
    files = {**values, **{n: with_file(v) for n, v in values.items() if n != "tools"}}
    # Where the fields wanted contradict each other, the fewest fields that do not.
    fewest = (chosen for n in range(len(fields) + 1) for chosen in combinations(fields, n))
    # One after the other: 25 fields have 33 million combinations.
    for chosen in chain([wanted], fewest):
        for pool in (values, files):
            try:
                step = checked(cls(**{name: pool[name] for name in chosen}))
                step.prepare()
                return step
            except (ValueError, TypeError):
                continue
    raise AssertionError(f"no values are accepted by {cls.name}: {values}")
