"""The store, the driver and the spending of one run, opened only when some step asks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.engine.folder import RunFolder
from curate.engine.options import Progress, RunOptions

if TYPE_CHECKING:
    from curate.engine.drive import Driver
    from curate.engine.store import Store
    from curate.pipeline import Pipeline

DEFAULT_STORE = Path(".curate")
