"""What a command may do to its own process, and a library may not: set pyarrow up to be frugal.

The first array that pyarrow makes from Python values imports pandas, to know its types when it sees
them: a seventh of a second, and 45 MB. A command makes arrays of its own values only; whatever does
want pandas still finds it.

Of pyarrow's allocators jemalloc hands freed memory back soonest, above all when told to keep it for
a moment only: a million rows through ten filters peak at 590 MB, with the default (mimalloc) at 640
to 670, in the same time.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

# With 0, one part's memory is not there for the next: 3 s more in the kernel per million rows.
_KEPT_MS = 50


class _WithoutPandas:
    """A finder that says that there is no pandas."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        """Raise for pandas; leave every other module to the finders behind."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def set_up_pyarrow() -> None:
    """Import pyarrow without pandas and choose its allocator, unless somebody has before."""
    if "pandas" in sys.modules or "pyarrow.lib" in sys.modules:
        return
    sys.meta_path.insert(0, _WithoutPandas)
    try:
        import pyarrow as pa

        pa.array([None])
    finally:
        sys.meta_path.remove(_WithoutPandas)
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        with contextlib.suppress(NotImplementedError):  # not in every build
            pa.set_memory_pool(pa.jemalloc_memory_pool())
            pa.jemalloc_set_decay_ms(_KEPT_MS)
