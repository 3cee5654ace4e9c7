"""Spawned worker processes that never run the user's script again, and what may travel to them.

A spawned process imports the main module of the one that started it, so a script without
`if __name__ == "__main__":` would begin its run anew in every worker. Workers here start without
the main module; the price is that steps and functions defined in it run on threads.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import multiprocessing
import multiprocessing.context
import pickle
import sys
import types
from concurrent.futures import ProcessPoolExecutor
from typing import Any


class _Process(multiprocessing.context.SpawnProcess):
    """A spawned process that knows no main module."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            return multiprocessing.context.SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class _Context(multiprocessing.context.SpawnContext):
    Process = _Process


def worker_pool(count: int) -> ProcessPoolExecutor:
    """Return a pool of `count` processes, each started when it is first needed."""
    return ProcessPoolExecutor(count, mp_context=_Context())


class _Traveller(pickle.Pickler):
    """Refuse what a worker could not import."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | types.FunctionType):
            module, importable = obj.__module__, False
            if module != "__main__" and module in sys.modules:
                with contextlib.suppress(ImportError, ValueError):
                    importable = importlib.util.find_spec(module) is not None
            if not importable:
                raise pickle.PicklingError(f"{obj.__qualname__} is defined in {module}")
        return NotImplemented


def can_travel(value: Any) -> bool:
    """Tell whether a worker could load `value`."""
    try:
        _Traveller(io.BytesIO()).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True
