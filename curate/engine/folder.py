"""The run folder: who may write it, what it was made from, and how results appear in it.

`.state/` holds what outlives a stopped run: the run's id (its spending tally is kept under it) and
the fingerprint of what the folder is for. Results are written beside and moved in at the end;
`report.json` comes last, so a folder with a report is complete.
"""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from curate.engine.posix import FolderLock, sync, write_atomically
from curate.errors import UsageError
from curate.report import ENDINGS

SECTIONS = (*ENDINGS, "ledger")
_TEXTS = ("run.yaml", "README.md")


class RunFolder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path, self.state = path, path / ".state"
        self.fresh, self.work = self.state / "publish", self.state / "work"

    def lock(self) -> FolderLock:
        """Return the lock that keeps a second process out."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; a run needs a folder (--run RUN)")
        self.state.mkdir(parents=True, exist_ok=True)
        return FolderLock(self.state / "lock")

    @property
    def run_id(self) -> str:
        """The id under which spending is kept; made with the folder, kept by `--replace`."""
        path = self.state / "run-id"
        if not path.exists():
            write_atomically(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8").strip()

    def share_spending(self, other: RunFolder) -> None:
        """Count this run's spending with that of `other` (a sibling made by `rethreshold`)."""
        self.state.mkdir(parents=True, exist_ok=True)
        write_atomically(self.state / "run-id", other.run_id)

    def claim(self, purpose: dict[str, Any], *, replace: bool) -> None:
        """Note what the folder is for, or refuse when it already serves something else."""
        path = self.state / "purpose.json"
        text = json.dumps(purpose, ensure_ascii=True, sort_keys=True, indent=1, default=str)
        if path.exists() and not replace:
            old = json.loads(path.read_text(encoding="utf-8"))
            if old != json.loads(text):
                raise UsageError(
                    f"{self.path} holds a run of other {_difference(old, json.loads(text))}; give "
                    "this run a folder of its own (--run RUN), or add --replace (the store makes "
                    "it cheap)"
                )
        elif self.path.exists() and not replace and self._foreign():
            raise UsageError(f"{self.path} is not empty and holds no run; choose another folder")
        write_atomically(path, text)
        shutil.rmtree(self.fresh, ignore_errors=True)

    def _foreign(self) -> bool:
        return any(entry.name != ".state" for entry in self.path.iterdir())

    def publish(self, texts: dict[str, str], report: str) -> None:
        """Move the fresh results in; the report, last, makes the folder complete."""
        (self.path / "report.json").unlink(missing_ok=True)
        for name in SECTIONS:
            old = self.path / name
            if old.exists():
                shutil.rmtree(old)
            (self.fresh / name).rename(old)
        for name in _TEXTS:
            write_atomically(self.path / name, texts[name])
        sync(self.path)
        write_atomically(self.path / "report.json", report)
        shutil.rmtree(self.fresh, ignore_errors=True)


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Name what differs between two purposes."""
    names = [name for name in new if old.get(name) != new[name]]
    return " and ".join(names) or "settings"
