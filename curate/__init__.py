"""Turn raw instructions, conversations and samples into datasets that can be defended."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.pipeline import Pipeline, Result

__all__ = ["Pipeline", "Result", "read", "select"]

# `import curate` must cost nothing, so each name brings its module at its first use.
_HOMES = {"Pipeline": "curate.pipeline", "Result": "curate.pipeline"}


def __getattr__(name: str) -> Any:
    """Import what `from curate import NAME` names."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"curate.{name}")
    raise AttributeError(f"module 'curate' has no attribute '{name}'; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    """List what there is to import, before it is."""
    return sorted(__all__)
