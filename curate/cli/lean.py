"""Keep pandas out of a command that has no use for it: a seventh of a second, and 45 MB.

The first array that pyarrow makes from Python values imports pandas, to know its types when it sees
them. A command makes arrays of its own values only; whatever does want pandas still finds it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


class _WithoutPandas:
    """A finder that says that there is no pandas."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        """Raise for pandas; leave every other module to the finders behind."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def leave_pandas_out() -> None:
    """Let pyarrow look for pandas now, once, and not find it."""
    if "pandas" in sys.modules or "pyarrow.lib" in sys.modules:
        return
    sys.meta_path.insert(0, _WithoutPandas)  # type: ignore[arg-type]
    try:
        import pyarrow as pa

        pa.array([None])
    finally:
        sys.meta_path.remove(_WithoutPandas)  # type: ignore[arg-type]
