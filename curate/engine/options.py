"""The choices of one execution that are not part of the recipe: the shared command-line flags."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.errors import CurateError, UsageError
from curate.recipe.catalog import unknown
from curate.system.credentials import WRITE_LATER, refuse_address

# One store per project folder.
DEFAULT_STORE = Path(".curate")
# Where segments run: on this machine, or on the nodes of a Ray cluster.
ENGINES = ("local", "ray")


@dataclass
class Progress:
    """How far a run is; the engine changes it and calls the listener a few times a second.

    `phase` is "reading", a step's label, or "writing". `done` and `total` count parts of the phase
    (`total` 0: unknown); `rows` counts rows read so far, `causes` the attempts that brought no
    reply. Of `asking` rows that were given to models `answered` are done; `busy` attempts are under
    way at this moment. `batches` holds the batch jobs under way, with how many of their requests
    are done and how many there are. Of `texts` without a vector, in the rows read so far, `encoded`
    have one now; `expected_rows` is about how many rows there are.
    """

    phase: str = "reading"
    done: int = 0
    total: int = 0
    rows: int = 0
    sent: int = 0
    replayed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    causes: dict[str, int] = field(default_factory=dict)
    asking: int = 0
    answered: int = 0
    busy: int = 0
    batches: dict[str, tuple[int, int]] = field(default_factory=dict)
    texts: int = 0
    encoded: int = 0
    expected_rows: int = 0


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Say where a run lives and what it may use; nothing here changes a byte of its rows.

    `chunk_rows`, `workers` and `concurrency` shape the work only. `max_cost` is in US dollars.
    `output` is a file for the kept rows, besides the run folder; `output_shape` how it is written
    (`None`: as it was read). `progress` is called with the state of the run. `engine` is one of
    `ENGINES`, `address` the Ray cluster's.
    """

    run: Path | None = None
    store: Path | None = None
    limit: int | None = None
    max_cost: float | None = None
    max_requests: int | None = None
    dry_run: bool = False
    workers: int | None = None
    chunk_rows: int = 4096
    concurrency: int | None = None
    replace: bool = False
    retry_failed: bool = False
    pay_again: bool = False
    allow_failed: float = 0.0
    shape: str | None = None
    output: Path | None = None
    output_shape: str | None = None
    engine: str = "local"
    address: str | None = None
    progress: Callable[[Progress], None] | None = None

    def __post_init__(self) -> None:
        """Refuse what the command line would refuse: Python can give any value."""
        for name, least in (("limit", 0), ("workers", 1), ("chunk_rows", 1), ("concurrency", 1)):
            value = getattr(self, name)
            optional = name != "chunk_rows" and value is None
            if not optional and (not isinstance(value, int) or value < least):
                raise UsageError(f"{name} is {value!r}; it must be a whole number from {least} on")
        if self.engine not in ENGINES:
            raise UsageError(unknown("engine", str(self.engine), ENGINES))
        if self.address is not None and self.engine != "ray":
            raise UsageError(
                f"--address {self.address} is that of a Ray cluster; add --engine ray to use it"
            )
        refuse_address(
            self.run,
            "the run folder (--run)",
            "it is locked, and its files are renamed, which object stores cannot do; choose a "
            "folder of this machine, and publish the run there afterwards: "
            "curate export RUN --as run -o ADDRESS; or let curate run RECIPE -o ADDRESS do both",
        )
        refuse_address(
            self.store,
            "the store (--store)",
            "SQLite needs a disk of this machine; choose a folder there",
        )
        refuse_address(self.output, "the output (-o)", WRITE_LATER)
        share = self.allow_failed
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise UsageError(f"allow_failed is {share!r}; it must be a share from 0 to 1")


def options_of(given: Mapping[str, Any]) -> RunOptions:
    """Return the options that Python gives by name; a folder or a file may be a text.

    Raises:
        UsageError: a name is not an option, or its value is not allowed.
    """
    names = [item.name for item in dataclasses.fields(RunOptions)]
    for name in given:
        if name not in names:
            raise UsageError(unknown("option", name, names))
    paths = {k: Path(v) for k, v in given.items() if k in _PATHS and isinstance(v, str)}
    return RunOptions(**{**given, **paths})


_PATHS = ("run", "store", "output")


@contextmanager
def with_python_names() -> Iterator[None]:
    """Note below errors that speak of flags what these are called in Python.

    A note belongs to the traceback: the command line, which shows none, does not print it.
    """
    try:
        yield
    except CurateError as error:
        flags = {item.name: item.type for item in dataclasses.fields(RunOptions)}
        named = (flag.replace("-", "_") for flag in re.findall(r"--([a-z][a-z-]+)", str(error)))
        named_flags = [
            f"{name}=True" if flags[name] == "bool" else f"{name}=..."
            for name in dict.fromkeys(named)
            if name in flags
        ]
        if named_flags:
            error.add_note(f"in Python, flags are arguments of run: run({', '.join(named_flags)})")
        raise
