"""The fields of steps: what their annotations allow, and one value for what means the same.

Dataclasses check nothing, so the pipeline checks here: a list becomes a tuple, an integer becomes a
float where a float is meant, a mapping becomes one that hashes. Equal recipes are then equal
objects, whether they were written in YAML or in Python. One text means a list of one.
Only the annotations that recipes need are known: scalars, `Literal`, lists, tuples, mappings,
optionals and unions of these.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from curate.row import On
from curate.step import Step

S = TypeVar("S", bound=Step)


class FieldProblem(ValueError):
    """Reject the value of one field; the pipeline adds the step, the file and the line."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class FrozenMap(dict[str, Any]):
    """A mapping that hashes and cannot change, so that steps and pipelines can hold one."""

    def __hash__(self) -> int:  # type: ignore[override]
        """Hash the items, whatever their order."""
        return hash(frozenset(self.items()))

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("this mapping is part of a recipe and cannot change; make a new one")

    __setitem__ = __delitem__ = update = setdefault = _refuse
    pop = popitem = clear = __ior__ = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through a plain dictionary, for worker processes."""
        return (FrozenMap, (dict(self),))


def freeze(value: Any) -> Any:
    """Return JSON data as a value that hashes: lists as tuples, mappings as `FrozenMap`.

    Raises:
        ValueError: `value` holds something that JSON cannot.
    """
    if isinstance(value, FrozenMap):
        return value
    if isinstance(value, Mapping):
        odd = next((key for key in value if not isinstance(key, str)), None)
        if odd is not None:
            raise ValueError(f"found the key {odd!r}; keys are texts")
        return FrozenMap({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"found {value}; numbers must be finite")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"found {shown(value)}; a recipe holds only text, numbers, lists and mappings")


def plain(value: Any) -> Any:
    """Return frozen data as the plain lists and dictionaries that YAML and JSON write."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def shown(value: Any) -> str:
    """Return a value for an error message: short, and with its type where that is the point."""
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"the string {text}" if isinstance(value, str) else text


# Annotations are evaluated as code, for a millisecond, and every step that is made is checked.
_TYPES: WeakKeyDictionary[type[Any], Mapping[str, Any]] = WeakKeyDictionary()


def types_of(cls: type[Any]) -> Mapping[str, Any]:
    """Return the annotation of every field of `cls`, resolved."""
    found = _TYPES.get(cls)
    if found is None:
        hints = get_type_hints(cls)
        own = {item.name: hints[item.name] for item in dataclasses.fields(cls)}
        found = _TYPES.setdefault(cls, types.MappingProxyType(own))
    return found


def checked(step: S) -> S:
    """Return `step` with every value of the type its field declares.

    Raises:
        FieldProblem: a value is of another type, or the step's own `check` refuses them together.
    """
    changed = {}
    for name, type_ in types_of(type(step)).items():
        value = getattr(step, name)
        new = fit(name, value, type_)
        if new is not value:
            changed[name] = new
    if changed:
        step = dataclasses.replace(step, **changed)
    try:
        step.check()
    except ValueError as error:
        raise FieldProblem("", str(error)) from error
    return step


def fit(name: str, value: Any, type_: Any) -> Any:
    """Return `value` as `type_` wants it, or raise `FieldProblem` naming both."""
    try:
        return _fit(value, type_)
    except ValueError as error:
        detail = f": {error}" if str(error) else ""
        raise FieldProblem(
            name,
            f"{name} must be {type_text(type_)}, found {shown(value)}{detail}{_hint(value, type_)}",
        ) from error


def _hint(value: Any, type_: Any) -> str:
    """Return what YAML may have made of the text that the user wrote."""
    members = get_args(type_) if get_origin(type_) in (Union, types.UnionType) else (type_,)
    if isinstance(value, bool) and any(m is str or get_origin(m) is Literal for m in members):
        return " (YAML reads a bare yes, no, on or off as true or false: put it in quotes)"
    if isinstance(value, str) and (float in members or int in members):
        try:
            float(value)
        except ValueError:
            return ""
        # YAML 1.1 reads 1e-3 as a text because it holds no dot.
        digits, found, exponent = value.lower().partition("e")
        if not found or "." in digits:
            return " (write it without quotes)"
        sign = "" if exponent[:1] in "+-" else "+"
        return f" (write it without quotes, as {digits}.0e{sign}{exponent})"
    return ""


def _fit(value: Any, type_: Any) -> Any:
    """Return `value` fitted; `ValueError` with an empty text means simply: not of this type."""
    origin = get_origin(type_) or type_
    if origin in (Union, types.UnionType):
        return _fit_union(value, get_args(type_))
    if origin is Literal:
        for member in get_args(type_):
            if type(value) is type(member) and value == member:
                return member
        raise ValueError
    if origin in _SCALARS:
        return _fit_scalar(value, origin)
    if origin in _LISTS:
        arguments = get_args(type_)
        # One text means a list of texts, of any length.
        if isinstance(value, str) and arguments in ((str,), (str, ...)):
            return (value,)
        if not isinstance(value, list | tuple):
            raise ValueError
        if arguments and arguments[-1] is not Ellipsis and len(arguments) > 1:
            if len(value) != len(arguments):
                raise ValueError
            fitted = [_fit(item, member) for item, member in zip(value, arguments, strict=True)]
        else:
            fitted = [_fit(item, arguments[0]) if arguments else freeze(item) for item in value]
        # What fits stays the same object, so that a step with derived values stays itself.
        fits = type(value) is tuple and all(map(operator.is_, fitted, value))
        return value if fits else tuple(fitted)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError
        frozen: FrozenMap = freeze(value)
        members = get_args(type_)[1:]
        if not members or members[0] is Any:
            return frozen
        return FrozenMap({key: _fit(item, members[0]) for key, item in frozen.items()})
    # Any, and callables of plain functions, which never come from YAML.
    return freeze(value) if type_ is Any else value


def _fit_union(value: Any, members: tuple[Any, ...]) -> Any:
    # An exact member goes first: 3 stays an integer in `float | int`.
    for member in members:
        if isinstance(member, type) and type(value) is member:
            return _fit(value, member)
    problem = ValueError()
    for member in members:
        try:
            return _fit(value, member)
        except ValueError as error:
            problem = error if str(error) else problem
    raise problem


def _fit_scalar(value: Any, type_: type[Any]) -> Any:
    # True and False are integers to Python, not to a recipe.
    accepted: Any = int | float if type_ is float else type_
    if not isinstance(value, accepted) or (isinstance(value, bool) and type_ is not bool):
        raise ValueError
    if type_ is not float:
        return value
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("numbers must be finite") from error
    if not math.isfinite(number):
        raise ValueError("numbers must be finite")
    return number if type(value) is not float else value


_SCALARS = (bool, int, float, str, type(None))
_LISTS = (list, tuple, Sequence)
_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def type_text(type_: Any) -> str:
    """Return an annotation in the words of error messages and of the reference."""
    origin, arguments = get_origin(type_) or type_, get_args(type_)
    if origin in (Union, types.UnionType):
        members = [type_text(member) for member in arguments if member is not type(None)]
        optional = ["null"] if type(None) in arguments else []
        return " or ".join([*members, *optional])
    if origin is Literal:
        return (
            f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else str(arguments[0])
        )
    if origin in _LISTS:
        if not arguments:
            return "a list"
        if len(arguments) == 1 or arguments[-1] is Ellipsis:
            return f"a list, each {type_text(arguments[0])}"
        return f"a list of {len(arguments)}: " + ", ".join(map(type_text, arguments))
    if origin in (dict, Mapping):
        values = f" to {type_text(arguments[1])}" if len(arguments) > 1 else ""
        return f"a mapping of names{values}"
    return _NAMES.get(origin, "any value")


_BRIEF: Mapping[Any, str] = {int: "int", float: "num", str: "text", bool: "bool"}


def brief_field(field: Mapping[str, Any], type_: Any) -> str:
    """Return a field that `catalog.describe` describes in a word: `min:int*`, `max=0.5?`.

    A default tells its type; `:` stands before the type of a field that is null or must be given,
    `?` says that it may be null, `*` that it is a rule. Of alternatives the first is the default.
    """
    members = get_args(type_) if get_origin(type_) in (Union, types.UnionType) else (type_,)
    some = [member for member in members if member is not type(None)]
    default, optional = field["default"], len(some) < len(members)
    name, mark = field["name"], "*" * field["rule"]
    if field["required"]:
        return f"{name}:{_brief_type(some)} (required){mark}"
    if some == [On]:
        return f"{name}={default}{mark}"
    if get_origin(some[0]) is Literal and not isinstance(default, list):
        words = ["null" if default is None else str(default), *map(str, get_args(some[0]))]
        words += [_brief_type(some[1:])] if some[1:] else []
        return f"{name}={'|'.join(dict.fromkeys(words))}{mark}"
    if default is None or default in ([], {}):
        return f"{name}:{_brief_type(some)}{mark}"
    text = default if isinstance(default, str) and default.isidentifier() else json.dumps(default)
    return f"{name}={text}{'?' if optional else ''}{mark}"


def _brief_type(members: Sequence[Any]) -> str:
    """Return types in short: int, num, text, [text] for a list, {text} for a mapping to texts."""
    words = []
    for member in members:
        origin, arguments = get_origin(member), get_args(member)
        if origin is Literal:
            words.append("|".join(map(str, arguments)))
        elif origin is None:
            words.append(_BRIEF.get(member, "any"))
        else:
            inner = _brief_type([one for one in arguments if one is not Ellipsis][-1:])
            words.append(f"{{{inner}}}" if issubclass(origin, Mapping) else f"[{inner}]")
    return "|".join(words)


def default_of(item: dataclasses.Field[Any]) -> Any:
    """Return a field's default, or `dataclasses.MISSING` where the field must be given."""
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default
