"""Where the command `curate` begins: Ctrl-C ends it without a traceback from the first moment.

Importing the command line takes a tenth of a second, in which nothing has begun that could be cut
off; so an interrupt simply ends the process. This module imports nothing else before that is set.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def main() -> None:
    """Run the command line, and leave with exit code 130 when it is interrupted."""
    # Where it is ignored, as in background jobs of a shell without job control, it stays so.
    watched = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if watched:
        signal.signal(signal.SIGINT, _leave)
    from curate.cli.main import main as run

    try:
        if watched:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        # Before a command was there to say what it leaves behind, or behind its end.
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        # Python's end stops threads that are in C++ code, which aborts the process: those of a
        # model that still computes, and those of processes that trained together.
        models = sys.modules.get("curate.models.inprocess.worker")
        group = sys.modules.get("torch.distributed")
        computing = models is not None and models.still_computing()
        if computing or (group is not None and group.is_available() and group.is_initialized()):
            from curate.cli.failures import leave

            leave(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
