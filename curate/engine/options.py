"""The choices of one execution that are no part of the recipe: the shared command-line flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Say where a run lives and what it may use; nothing here changes a byte of its rows.

    `chunk_rows`, `workers` and `concurrency` shape the work only. `max_cost` is in US dollars.
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
    allow_failed: float = 0.0
    progress: bool | None = None
