"""Tell how a run stands that has published nothing yet: stopped on its way, or still going."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from curate.row import printable

if TYPE_CHECKING:
    from curate.store.budget import Spent


class RunStatus(NamedTuple):
    """What an unfinished run has spent; `tally` is absent where it asked nothing.

    `going` tells whether a process is at it now; `replies` counts those in its store, of all runs.
    """

    folder: Path
    going: bool
    store: Path | None = None
    tally: Spent | None = None
    replies: int = 0

    def __str__(self) -> str:
        """Return the standing as a text for people."""
        return "\n".join(_told(self))


def status(folder: Path) -> RunStatus | None:
    """Return how the run in `folder` stands, or `None` where none has begun or it has finished."""
    from curate.runs.folder import RunFolder

    run = RunFolder(folder)
    if not run.state.is_dir() or (folder / "report.json").is_file():
        return None
    going, path = _locked(run.state / "lock"), run.state / "store"
    store = Path(path.read_text(encoding="utf-8")) if path.is_file() else None
    if store is None or not (store / "store.db").is_file():
        return RunStatus(folder, going, store)
    from curate.store.budget import tally_of
    from curate.store.store import Store

    with Store.open(store) as opened:
        tally = tally_of(opened, run.run_id)
        return RunStatus(folder, going, store, tally, opened.stats()["replies"])


def _locked(path: Path) -> bool:
    """Tell whether another process holds the lock of a run's folder."""
    from curate.system.posix import FileLock

    if not path.is_file():
        return False
    lock = FileLock(path)
    free = lock.take()
    lock.release()
    return not free


def _told(one: RunStatus) -> Iterator[str]:
    folder = printable(str(one.folder))
    if one.going:
        yield f"{folder} is being run at this moment; its results appear together at its end"
    else:
        yield f"{folder} was stopped before its end, and nothing of it is published"
        yield "the same command goes on: what was answered is not asked again"
    tally = one.tally
    if tally is None or one.store is None:
        yield from ("", f"requests   {'unknown: its store is gone' if one.store else 'none'}")
        return
    yield from (
        "",
        f"requests   {tally.sent:,} sent, {tally.replayed:,} replayed, {tally.failed:,} failed, "
        f"{tally.retried:,} retried",
        f"tokens     {tally.input_tokens:,} in, {tally.output_tokens:,} out",
        f"cost       ${tally.cost_usd:.4f}, and ${tally.reserved_usd:.4f} reserved by requests "
        "whose bill is not known",
        f"store      {printable(_short(one.store))} holds {one.replies:,} replies, of all its runs",
    )


def _short(path: Path) -> str:
    """Return a path as seen from the working folder, where it lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
