"""The run folder: who may write it, what it was made from, and how results appear in it.

`.state/` holds what outlives a stopped run: the run's id (its spending tally is kept under it) and
the fingerprint of what the folder is for. Results are written beside and moved in at the end;
`report.json` comes last, so a folder with a report is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.errors import FolderTaken, UsageError
from curate.read.finished_runs import PUBLISHED, STORE_NOTE, published_files, store_now
from curate.runs.report import ENDINGS
from curate.system.posix import FolderLock, sync, write_atomically

SECTIONS = (*ENDINGS, "ledger")
_TEXTS = ("run.yaml", "README.md")
# A message names no more files, steps or fields than these.
_MOST_NAMED = 3


class RunFolder:
    """One run's folder; `made` is true where this process made it."""

    def __init__(self, path: Path) -> None:
        self.path, self.state = path, path / ".state"
        self.fresh, self.work = self.state / "publish", self.state / "work"
        self.made = False

    def lock(self) -> FolderLock:
        """Return the lock that keeps a second process out."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; a run needs a folder (--run RUN)")
        self.made = not self.path.exists()
        self.state.mkdir(parents=True, exist_ok=True)
        if self.made:
            sync(self.path.parent)
        return FolderLock(self.state / "lock")

    @property
    def run_id(self) -> str:
        """The id under which spending is kept; made with the folder, kept by `--replace`."""
        path = self.state / "run-id"
        if not path.exists():
            write_atomically(path, uuid.uuid4().hex)
        return path.read_text(encoding="utf-8").strip()

    @property
    def own_store(self) -> Path:
        """Where the run has a store of its own: beside it, as SQLite needs a disk of this machine.

        A run that came from an address has one, and it is then the run's default.
        """
        return self.path.with_name(f"{self.path.name}.store")

    @property
    def noted_store(self) -> Path | None:
        """The store that the run used last, `None` where it has asked nothing."""
        path = self.path / STORE_NOTE
        noted = Path(path.read_text(encoding="utf-8")) if path.is_file() else None
        return None if noted is None else store_now(self.path, noted)

    def share_spending(self, other: RunFolder) -> None:
        """Count this run's spending with that of `other`, a sibling or a folder for the tally."""
        for one in (self, other):
            one.state.mkdir(parents=True, exist_ok=True)
        write_atomically(self.state / "run-id", other.run_id)
        root = os.path.relpath(other.spending.parent.absolute(), self.state.absolute())
        write_atomically(self.state / "spending-in", root)

    @property
    def spending(self) -> Path:
        """The file that says which stores the run has spent with, shared like its run id."""
        shared = self.state / "spending-in"
        root = shared.read_text(encoding="utf-8") if shared.is_file() else "."
        return self.state / root / "spending.json"

    def note_store(self, store: Path) -> None:
        """Note where the run's replies and its spending are, for those who look at it meanwhile."""
        write_atomically(self.path / STORE_NOTE, str(store.absolute()))

    def check(self, purpose: dict[str, Any], *, replace: bool) -> str:
        """Return what the folder is for as text, or refuse when it already serves something else.

        Raises:
            UsageError: another run is in the folder, or something that no run wrote.
        """
        path = self.state / "purpose.json"
        text = json.dumps(purpose, ensure_ascii=True, sort_keys=True, indent=1, default=str)
        if path.exists() and not replace:
            old = json.loads(path.read_text(encoding="utf-8"))
            # Folders of earlier versions say nothing of prompts.
            if "prompts" in purpose and "prompts" not in old:
                old["prompts"] = purpose["prompts"]
            if old != json.loads(text):
                raise FolderTaken(self.path, difference(old, json.loads(text)))
        there = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        if not path.exists() and there - {".state"}:
            raise UsageError(
                f"{self.path} is not empty and holds no run, and --replace replaces runs only; "
                "choose another folder"
            )
        found = (p for name in SECTIONS for p in sorted((self.path / name).rglob("*")))
        files = [path for path in found if path.is_file()]
        own = {path for name in SECTIONS if files for path in published_files(self.path / name)}
        foreign = next((path for path in files if path not in own), None)
        if foreign is not None:
            raise UsageError(
                f"{foreign} was written by no run and would be deleted; move it elsewhere, or "
                "choose another folder"
            )
        return text

    @property
    def claimed(self) -> tuple[int, int] | None:
        """What changes whenever a run takes the folder; `None` before the first."""
        try:
            found = (self.state / "purpose.json").stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_ino, found.st_mtime_ns

    def claim(self, purpose: dict[str, Any], *, replace: bool) -> None:
        """Note what the folder is for, or refuse when it already serves something else."""
        text = self.check(purpose, replace=replace)
        write_atomically(self.state / "purpose.json", text)
        shutil.rmtree(self.fresh, ignore_errors=True)

    def publish(self, texts: dict[str, str], report: str) -> None:
        """Move the fresh results in; the report, last, makes the folder complete."""
        (self.path / "report.json").unlink(missing_ok=True)
        for name in SECTIONS:
            old = self.path / name
            if old.exists():
                shutil.rmtree(old)
            (self.fresh / name).rename(old)
        names = []
        for name in SECTIONS:
            # The files themselves are on the disk by now; their folders' entries are not.
            for path in ((self.path / name), *(self.path / name).rglob("*")):
                if path.is_dir():
                    sync(path)
                else:
                    names.append(path.relative_to(self.path).as_posix())
        write_atomically(self.path / PUBLISHED, json.dumps(sorted(names)))
        for name in _TEXTS:
            write_atomically(self.path / name, texts[name])
        sync(self.path)
        write_atomically(self.path / "report.json", report)
        shutil.rmtree(self.fresh, ignore_errors=True)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name what differs between two purposes, each part with what it was and is now."""
    parts = [name for name in new if old.get(name) != new[name]]
    changes = []
    for name in parts:
        before, after, text = old.get(name), new[name], ""
        if name in ("limit", "seed"):
            text = _change("", before, after)
        elif name == "inputs":
            files = [[entry["file"] for entry in entries] for entries in (before or [], after)]
            names = [", ".join(found[:_MOST_NAMED]) or "nothing" for found in files]
            text = f"{names[0]} then, {names[1]} now" if names[0] != names[1] else "changed since"
        elif name == "models":
            specs = [
                {k: s if isinstance(s, Mapping) else {"model": s} for k, s in (found or {}).items()}
                for found in (before, after)
            ]
            changed = [
                _change(f"{model}.{key} ", own.get(key), spec.get(key))
                for model, spec in specs[1].items()
                # A model that was not there says nothing more.
                for own in ([specs[0][model]] if model in specs[0] else [])
                for key in {**own, **spec}
                if own.get(key) != spec.get(key)
            ]
            text = "; ".join(changed[:_MOST_NAMED])
            for model, own in specs[0].items():
                # Earlier versions set it for rubrics under --max-cost.
                if "max_tokens" in own and "max_tokens" not in specs[1].get(model, own):
                    text += f"; --set models.{model}.max_tokens={own['max_tokens']} goes on with it"
        elif name == "steps":
            titles = [[title for title, *_ in steps] for steps in (before or [], after)]
            changed = [
                _change(f"{title}.{name} ", own.get(name), fresh.get(name))
                for (title, *_, own), (*_, fresh) in zip(before or [], after, strict=False)
                for name in {**own, **fresh}
                if own.get(name) != fresh.get(name)
            ]
            text = "; ".join(changed[:_MOST_NAMED])
            if titles[0] != titles[1]:
                # Fields of other steps say nothing: their names do.
                names = [", ".join(found[:_MOST_NAMED]) or "none" for found in titles]
                text = f"{names[0]} then, {names[1]} now" if names[0] != names[1] else ""
        changes.append(f"{name} ({text})" if text else name)
    return " and ".join(changes) or "settings"


def _change(name: str, old: Any, new: Any) -> str:
    texts = ("unset" if value is None else json.dumps(value)[:40] for value in (old, new))
    return name + "{} then, {} now".format(*texts)
