"""Keep pyarrow from importing pandas before anybody else does.

The first array that pyarrow makes from Python values imports pandas, to know its types when it
sees them: a seventh of a second and 45 MB, a third of the time to start a run. As long as nobody
has imported pandas there are no such values, so pyarrow may believe that there is no pandas; the
moment somebody does import it, pyarrow is made to look again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence

# With 0, one part's memory is not there for the next: 3 s more in the kernel per million rows.
_KEPT_MS = 50


class _Watch:
    """A finder that finds nothing; from the first search for pandas on, pyarrow knows of it."""

    def __init__(self) -> None:
        self.hidden_from: int | None = threading.get_ident()
        self.was_found = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> None:
        """Hide pandas from one thread at first; leave every other search to the other finders."""
        if name != "pandas":
            return
        if self.hidden_from == threading.get_ident():
            raise ModuleNotFoundError(name)
        self.was_found = True
        if self.hidden_from is None:
            self.tell()

    def tell(self) -> None:
        """Make pyarrow look for pandas again when it next needs to know, and watch no more."""
        import pyarrow as pa

        if self in sys.meta_path:
            sys.meta_path.remove(self)
            pa.lib._pandas_api.__init__()


def leave_pandas_for_later() -> None:
    """Import pyarrow, and pandas with it only when somebody else does.

    Nothing happens where pandas has been imported before, or this has been called before.
    """
    import pyarrow as pa

    watched = any(isinstance(one, _Watch) for one in sys.meta_path)
    if watched or "pandas" in sys.modules or not hasattr(pa.lib, "_pandas_api"):
        return
    watch = _Watch()
    sys.meta_path.insert(0, watch)
    pa.array([None])
    watch.hidden_from = None
    if watch.was_found:  # By another thread, in between.
        watch.tell()


def set_up_pyarrow() -> None:
    """Import pyarrow without pandas and choose its allocator, unless somebody has before.

    It is for commands, which may do so to their own process; a library may not. Of pyarrow's
    allocators jemalloc hands freed memory back soonest, above all when set to keep it for a moment
    only: a million rows through ten filters peak at 590 MB, with the default (mimalloc) at 640 to
    670, in the same time.
    """
    if "pyarrow.lib" in sys.modules:
        return
    leave_pandas_for_later()
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        import pyarrow as pa

        with contextlib.suppress(NotImplementedError):  # not in every build
            pa.set_memory_pool(pa.jemalloc_memory_pool())
            pa.jemalloc_set_decay_ms(_KEPT_MS)
