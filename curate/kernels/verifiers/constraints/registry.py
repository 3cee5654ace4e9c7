"""What a constraint is: a function of the reply and its arguments, under the benchmark's name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

_Check = Callable[..., bool]


class Constraint(NamedTuple):
    """A rule on replies: `check(reply, ...)`, and its arguments in the benchmark's files.

    `arguments` maps their names to their types: `int`, `str` or `list[str]`.
    """

    check: _Check
    arguments: dict[str, str]

    def takes(self, name: str, value: Any) -> bool:
        """Return whether a value is of the type of an argument."""
        if self.arguments[name] == "int":
            return isinstance(value, int) and not isinstance(value, bool)
        if self.arguments[name] == "str":
            return isinstance(value, str)
        return isinstance(value, list) and all(isinstance(one, str) for one in value)


CONSTRAINTS: dict[str, Constraint] = {}


def constraint(name: str, *renamed: str) -> Callable[[_Check], _Check]:
    """Enter a function under the name that the benchmark gave its rule.

    `renamed` are the benchmark's names of its arguments, where the function has others.
    """

    def entered(check: _Check) -> _Check:
        if name in CONSTRAINTS:
            raise ValueError(f"two constraints are named '{name}'")
        own = list(inspect.signature(check).parameters.values())[1:]
        names = renamed or [one.name for one in own]
        types = [str(one.annotation) for one in own]
        CONSTRAINTS[name] = Constraint(check, dict(zip(names, types, strict=True)))
        return check

    return entered


def compared(count: int, relation: Any, limit: int) -> bool:
    """Return whether a count is `less than` the limit, or `at least` it."""
    if relation not in ("less than", "at least"):
        raise ValueError(f"a relation is '{relation}'; allowed are less than, at least")
    return count < limit if relation == "less than" else count >= limit
