"""A stand-in for the value of a template's variable, whatever that may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Anything:
    """A value that has every attribute and item, and takes every operation."""

    def _same(self, *_: Any, **__: Any) -> Anything:
        return self

    __getattr__ = __getitem__ = __call__ = __add__ = __radd__ = __sub__ = __rsub__ = _same
    __mul__ = __rmul__ = __mod__ = __rmod__ = __truediv__ = __rtruediv__ = __neg__ = _same
    __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = __round__ = _same

    def __init__(self) -> None:
        self.made_up = False

    def __iter__(self) -> Iterator[Anything]:
        self.made_up = True
        return iter((self,))

    def __len__(self) -> int:
        self.made_up = True
        return 1

    def __lt__(self, other: object) -> bool:
        self.made_up = True
        return False

    __gt__ = __le__ = __ge__ = __contains__ = __eq__ = __lt__
    __hash__ = object.__hash__

    def __str__(self) -> str:
        self.made_up = True
        return "text"

    def __int__(self) -> int:
        self.made_up = True
        return 1

    __index__ = __int__

    def __float__(self) -> float:
        self.made_up = True
        return 1.0
