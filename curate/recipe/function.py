"""A plain Python function as a step, for pipelines built in Python.

The function gets a row and answers with what should happen to it; a generator function may yield
requests like any step. Its code is part of the step's fingerprint, the code that it calls is not:
after a change elsewhere, run with `replace=True`.
"""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from curate.errors import UsageError
from curate.row import Record, Row
from curate.step import Asking, Drop, Failed, Generate, Made, Product, Step

RowFunction = Callable[[Row], Any]
_ALLOWED = "True (keep), False (drop), a Record, a Drop, the row, or a list of these"


@dataclass(frozen=True, kw_only=True)
class Function(Generate):
    """Do with each row what a Python function says.

    `function` returns True or the row to keep it, False to drop it, a `Record` or several to make
    rows of it, a `Drop` to say why not.
    """

    function: RowFunction

    @property
    def title(self) -> str:
        """The label, or the function's name."""
        return self.label or self.function_name

    @property
    def function_name(self) -> str:
        """The name that reasons and reports show."""
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return "lambda" if name == "<lambda>" else str(name)

    def make(self, row: Row) -> Product | Iterable[Product] | Asking | None:
        """Call the function; a generator is driven like a step's own."""
        answer = self.function(row)
        if inspect.isgenerator(answer):
            return self._when_answered(row, cast(Asking, answer))
        return self._made(row, answer)

    def _when_answered(self, row: Row, asking: Asking) -> Asking:
        answer = yield from asking
        return self._made(row, answer)

    def _made(self, row: Row, answer: Any) -> Product | list[Product]:
        """Return what the answer means, or raise so that the row fails and says why."""
        if type(answer).__name__ in ("bool", "bool_"):
            return row if answer else Drop(f"{self.function_name} said no")
        if isinstance(answer, Row | Record | Made | Drop | Failed):
            return answer
        if isinstance(answer, list | tuple):
            found = list(answer)
            if all(isinstance(item, Row | Record | Made | Drop | Failed) for item in found):
                return found
        found_text = "nothing" if answer is None else f"a value of type {type(answer).__name__}"
        raise TypeError(f"{self.function_name} returned {found_text}; it must return {_ALLOWED}")

    def fields(self) -> dict[str, Any]:
        """Return the fields as JSON data: the function by its name and the digest of its code."""
        # What it does: its code, defaults and simple closed-over values.
        call = getattr(self.function, "__func__", self.function)
        code = getattr(call, "__code__", None)
        if code is None:
            digest = f"{type(self.function).__module__}.{type(self.function).__qualname__}"
        else:
            cells = [cell.cell_contents for cell in getattr(call, "__closure__", None) or ()]
            defaults = [getattr(call, "__defaults__", None), getattr(call, "__kwdefaults__", None)]
            text = repr([_code_parts(code), _stable(cells), _stable(defaults)])
            data = text.encode("utf-8", "backslashreplace")
            digest = hashlib.blake2b(data, digest_size=8).hexdigest()
        return {**super().fields(), "function": f"{self.function_name}:{digest}"}

    def fingerprint(self) -> dict[str, Any]:
        """Return what the outcome depends on: the digest of the function's code represents it."""
        return {**super().fingerprint(), **self.fields()}


def from_function(function: RowFunction, *, label: str | None = None) -> Function:
    """Return a step that does what `function` says with each row.

    Raises:
        UsageError: `function` cannot be called with one row, or is `async`.
    """
    if isinstance(function, type) and issubclass(function, Step):
        name = function.__name__
        raise UsageError(f"found the class {name} among the steps; write {name}(), a step of it")
    if not callable(function) or isinstance(function, type):
        raise UsageError(
            f"found {function!r} among the steps; a step such as Length(min=3) or a function is "
            "allowed"
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(
            f"the function {function.__name__} is async; a step yields its requests instead: "
            "reply = yield Ask.text(...)"
        )
    return Function(function=function, label=label)


def _code_parts(code: types.CodeType) -> list[Any]:
    """Return what decides a code object's behaviour, without file names and line numbers."""
    return [code.co_code.hex(), code.co_names, code.co_varnames, _stable(list(code.co_consts))]


def _stable(value: Any) -> Any:
    """Return `value` as data whose `repr` is the same in every process."""
    if isinstance(value, types.CodeType):
        return _code_parts(value)
    if isinstance(value, list | tuple):
        return [_stable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(_stable(item)) for item in value)
    if isinstance(value, dict):
        return [[_stable(key), _stable(item)] for key, item in value.items()]
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    if callable(value) and hasattr(value, "__code__"):
        return _code_parts(value.__code__)
    return f"{type(value).__module__}.{type(value).__qualname__}"
