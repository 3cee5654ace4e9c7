"""Status of an unfinished run: stopped before its end, or still going."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from curate.errors import UsageError
from curate.row import printable
from curate.runs.folder import RunFolder

if TYPE_CHECKING:
    from curate.store.budget import Spent


class RunStatus(NamedTuple):
    """What an unfinished run has spent; `tally` is absent where it asked nothing.

    `going` is true while a process runs it; `replies` counts those in its store, of all runs.
    """

    folder: Path
    going: bool
    store: Path | None = None
    tally: Spent | None = None
    replies: int = 0

    def __str__(self) -> str:
        """Return the status as a text for people."""
        folder = printable(str(self.folder))
        lines = [f"{folder} is being run at this moment; its results appear together at its end"]
        if not self.going:
            lines = [
                f"{folder} was stopped before its end, and nothing of it is published",
                "the same command goes on: what was answered is not asked again",
            ]
        tally, store, here = self.tally, self.store, Path.cwd()
        if tally is None or store is None:
            lines += ["", f"requests   {'unknown: its store is gone' if store else 'none'}"]
            return "\n".join(lines)
        where = store.relative_to(here) if store.is_relative_to(here) else store
        lines += [
            "",
            f"requests   {tally.sent:,} sent, {tally.replayed:,} replayed, "
            f"{tally.failed:,} failed, {tally.retried:,} retried",
            f"tokens     {tally.input_tokens:,} in, {tally.output_tokens:,} out",
            f"cost       ${tally.cost_usd:.4f}, and ${tally.reserved_usd:.4f} reserved by requests "
            "whose bill is not known",
            f"store      {printable(str(where))} holds {self.replies:,} replies, of all its runs",
        ]
        return "\n".join(lines)


def status(folder: Path) -> RunStatus | None:
    """Return the status of the run in `folder`; `None` where none has begun, or it has finished."""
    run = RunFolder(folder)
    if not run.state.is_dir() or (folder / "report.json").is_file():
        return None
    from curate.system.posix import FileLock

    # Another process holds the lock of a run that is still going.
    going, lock = False, FileLock(run.state / "lock")
    if (run.state / "lock").is_file():
        going = not lock.take()
        lock.release()
    store = run.noted_store
    if store is None or not (store / "store.db").is_file():
        return RunStatus(folder, going, store)
    from curate.runs.spending import folder_spent
    from curate.store.store import Store

    tally = folder_spent(run, store)
    with Store.open_to_read(store) as opened:
        return RunStatus(folder, going, store, tally, opened.stats()["replies"])


def forget_refused(run: RunFolder, error: Exception) -> None:
    """Delete the folder where this process made it and the run was refused before it asked.

    Spending is kept under the folder's id, so a folder whose run has sent a request stays.
    """
    if not run.made or not isinstance(error, UsageError):
        return
    found = status(run.path)
    if found is None or found.tally is None or not found.tally.sent:
        shutil.rmtree(run.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            run.path.parent.rmdir()
