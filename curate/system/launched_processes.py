"""Processes that train one model together: all of them compute, the first one writes and speaks.

A launcher (`accelerate launch`, `torchrun`) starts the same command once for each device and tells
each process its number in the environment.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any

from curate.errors import UsageError


def process_count() -> int:
    """Return how many processes train together; without a launcher there is one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def is_first_process() -> bool:
    """Tell whether this process writes and speaks."""
    return process_count() == 1 or os.environ.get("RANK", "0") == "0"


def require_one_process(what: str) -> None:
    """Raise `UsageError` where several processes would do `what`, which does not share work."""
    if process_count() > 1:
        raise UsageError(
            f"{what} runs in one process, and {process_count()} were started: call it without "
            "`accelerate launch` or `torchrun`"
        )


@contextlib.contextmanager
def first_process_first(device: str) -> Iterator[None]:
    """Let the first process do something before the others do it, too."""
    if process_count() == 1:
        yield
        return
    accelerate: Any = importlib.import_module("accelerate")
    with accelerate.PartialState(cpu=device == "cpu").main_process_first():
        yield
