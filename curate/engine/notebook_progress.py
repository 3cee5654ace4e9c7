"""Progress in a notebook: one line that is written anew in its place, and is gone at the end.

A notebook keeps what is printed: a line that is drawn over by a carriage return would be there a
hundred times.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from curate.engine.progress_line import ProgressLine

if TYPE_CHECKING:
    from curate.engine.options import Progress

# A notebook gets each change as a message, which it may have to send far.
SECONDS = 0.5


@contextmanager
def notebook_progress() -> Iterator[Callable[[Progress], None] | None]:
    """Give a listener that shows progress below the cell; none where no notebook is running."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # IPython in a terminal has no kernel.
    if shell is None or getattr(shell, "kernel", None) is None:
        yield None
        return
    # It is the notebook that runs this: nothing that an installation would have to bring.
    display = importlib.import_module("IPython.display").display
    line, last = ProgressLine(), 0.0
    handle = display({"text/plain": "reading"}, raw=True, display_id=True)

    def listener(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS:
            last = now
            handle.update({"text/plain": line.text(progress)}, raw=True)

    try:
        yield listener
    finally:
        handle.update({"text/plain": ""}, raw=True)
