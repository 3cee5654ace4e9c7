"""Which operators there are: the tree is the registry.

A file `curate/steps/<family>/<name>.py` is the operator `name`; other distributions add theirs with
an entry point of the group `curate.steps` (`name = "module:Class"`). Names come from file names and
package metadata alone, so listing them imports nothing; a class is imported when it is first used.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from curate.errors import MissingExtra, RecipeError, UsageError
from curate.recipe.fields import default_of, plain, type_text, types_of
from curate.step import Filter, Gather, Generate, Grow, Step, Whole, snake_case
from curate.system.package_data import install_command

GROUP = "curate.steps"
# The longest list of names that is shown beside the closest one.
_LISTED = 20
KINDS_OF_STEP = (Filter, Generate, Whole, Gather, Grow)


class Operator(NamedTuple):
    """Where an operator is: its module, its class where an entry point names it, who brings it."""

    name: str
    module: str
    family: str
    class_name: str | None = None
    distribution: str = "curate-align"


@functools.cache
def operators() -> Mapping[str, Operator]:
    """Return every operator by name, sorted; `operators.cache_clear()` looks again."""
    tree = importlib.util.find_spec("curate.steps")
    assert tree is not None
    found = {}
    for root in tree.submodule_search_locations or ():
        for path in sorted(Path(root).glob("*/[!_]*.py")):
            family = path.parent.name
            module = f"curate.steps.{family}.{path.stem}"
            found[path.stem] = Operator(path.stem, module, family)
    for point in importlib.metadata.entry_points(group=GROUP):
        owner = point.dist.name if point.dist is not None else "an unknown distribution"
        operator = Operator(point.name, point.module, "others", point.attr or None, owner)
        other = found.get(operator.name)
        if other is not None and other != operator:
            raise UsageError(
                f"two operators are named '{operator.name}': {other.module} of "
                f"{other.distribution} and {operator.module} of {operator.distribution}; rename "
                "one, or uninstall one of the two"
            )
        found[operator.name] = operator
    return dict(sorted(found.items()))


def find(name: str) -> type[Step]:
    """Return the class of the operator `name`, or of `FILE.py:Class`.

    Raises:
        RecipeError: there is no such operator; the message suggests the closest one.
    """
    if ".py:" not in name:
        return installed(name)
    from curate.recipe.step_file import load

    return load(name)


@functools.cache
def installed(name: str) -> type[Step]:
    """Return the class of the operator `name` of this or another distribution."""
    operator = operators().get(name)
    if operator is None:
        said = unknown("step", name, operators())
        if "did you mean" not in said:
            said += "; a step of your own is named by its file: ./FILE.py:Class"
        raise RecipeError(said)
    try:
        module = importlib.import_module(operator.module)
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"step '{name}' of {operator.distribution} needs the module '{error.name}', which is "
            "not installed"
        ) from error
    except Exception as error:  # a third party's module may fail in any way
        raise RecipeError(
            f"step '{name}' of {operator.distribution} cannot be imported from {operator.module}: "
            f"{type(error).__name__}: {error}"
        ) from error
    named = getattr(module, operator.class_name, None) if operator.class_name else None
    classes = [named] if named is not None else list(vars(module).values())
    for found in classes:
        if isinstance(found, type) and issubclass(found, Step) and found.name == operator.name:
            return found
    raise RecipeError(
        f"step '{operator.name}': {operator.module} holds no step of that name; name its class so "
        f"that its snake_case is '{operator.name}', and derive it from Filter, Generate, Whole, "
        "Gather or Grow"
    )


def usable() -> tuple[list[type[Step]], list[RecipeError]]:
    """Return the class of every operator that can be imported, and what is wrong with the others.

    One broken distribution must not hide the operators of all the others.
    """
    found: list[type[Step]] = []
    problems: list[RecipeError] = []
    for name in operators():
        try:
            found.append(find(name))
        except RecipeError as error:
            problems.append(error)
    return found, problems


def find_class(class_name: str) -> type[Step] | None:
    """Return the operator whose class is `class_name`, if there is one."""
    name = snake_case(class_name)
    if name == class_name or name not in operators():
        return None
    cls = find(name)
    return cls if cls.__name__ == class_name else None


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist: the closest one, and the list of all.

    A long list is left out where one is close.
    """
    names = sorted(known)
    listed = f" (known: {', '.join(names) or 'there are none'})"
    near = closest(name, names)
    return f"unknown {what} '{name}'{near}{'' if near and len(names) > _LISTED else listed}"


def closest(name: str, known: Iterable[str]) -> str:
    """Return the question whether the closest known name was meant, where one is close."""
    close = difflib.get_close_matches(str(name), sorted(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def require_packages(cls: type[Step]) -> None:
    """Raise `MissingExtra`, with the command that helps, when a step's packages are not here."""
    # The top level only: looking for `a.b` would import `a`.
    absent = [n for n in cls.packages if importlib.util.find_spec(n.partition(".")[0]) is None]
    if not absent:
        return
    command = install_command(cls.extra) if cls.extra else f"pip install {' '.join(absent)}"
    raise MissingExtra(
        f"needs {', '.join(absent)}, which is not installed; install it with: {command}",
        step=cls.name,
    )


def kind_of(cls: type[Step]) -> str:
    """Return the kind of a step in lower case: filter, generate, whole, gather or grow."""
    return next((k.__name__.lower() for k in KINDS_OF_STEP if issubclass(cls, k)), "step")


def is_judge(cls: type[Step]) -> bool:
    """Return whether the score of an operator is a judgement of a model on its rows.

    Reports warn where judgements have collapsed to one value, and tables call them quality.
    """
    if cls.judges is not None:
        return cls.judges
    asks = any(item.name in ("model", "models") for item in dataclasses.fields(cls))
    return asks and issubclass(cls, Filter | Whole)


def summary_of(cls: type[Step]) -> str:
    """Return the first line of a step's docstring."""
    return inspect.cleandoc(cls.__doc__ or "").split("\n", 1)[0]


def describe(cls: type[Step]) -> dict[str, Any]:
    """Return what `curate steps --json` says of a step."""
    docs, types = FieldDocs(cls), types_of(cls)
    fields = []
    for item in dataclasses.fields(cls):
        # Every step has a label, and `only`.
        if item.name in ("label", "only"):
            continue
        default = default_of(item)
        fields.append(
            {
                "name": item.name,
                "type": type_text(types[item.name]),
                "required": default is dataclasses.MISSING,
                "default": None if default is dataclasses.MISSING else plain(default),
                "rule": bool(item.metadata.get("rule")),
                "doc": docs[item.name],
            }
        )
    return {
        "name": cls.name,
        "kind": kind_of(cls),
        "summary": summary_of(cls),
        "source": cls.source,
        "fields": fields,
        "extra": cls.extra,
    }


class FieldDocs:
    """Descriptions of fields: an entry of `Attributes:`, else the sentence that names the field."""

    # Fields that mean the same wherever they occur need no sentence in every docstring.
    _COMMON: ClassVar = {
        "on": "The text to read.",
        "by": "The label of the earlier step whose score is used.",
        "model": "The name of a model in the recipe.",
        "encoder": "The name of an encoder in the recipe.",
        "ignore_case": "Ignore upper and lower case.",
        "keep_parent": "Keep the row in addition to the rows made from it.",
    }
    _ENTRY: ClassVar = re.compile(r"^ {4}(\w+)(?: \([^)]*\))?: (.*(?:\n {8}.*)*)", re.MULTILINE)

    def __init__(self, cls: type[Step]) -> None:
        """Read the docstrings of `cls` and of the classes it builds on, its own first."""
        docs = [inspect.cleandoc(c.__doc__ or "") for c in cls.__mro__ if issubclass(c, Step)]
        self.entries: dict[str, str] = {}
        self.sentences: list[str] = []
        for doc in docs:
            prose, _, section = doc.partition("\nAttributes:\n")
            for name, text in self._ENTRY.findall(section):
                self.entries.setdefault(name, " ".join(text.split()))
            paragraphs = prose.split("\n\n")[1:]
            for paragraph in paragraphs:
                self.sentences += re.split(r"(?<=[.;])\s+(?=[A-Z`])", " ".join(paragraph.split()))

    def __getitem__(self, name: str) -> str:
        """Return the description of the field `name`, or an empty text."""
        if name in self.entries:
            return self.entries[name]
        # `max`, or an example of it as YAML writes it: `max: 0`.
        named = re.compile(rf"`(?:[^`]*, )?{re.escape(name)}(?:: [^`]*)?`")
        said = next((s for s in self.sentences if named.search(s)), "")
        return said or self._COMMON.get(name, "")
