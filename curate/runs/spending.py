"""What a run folder has spent with all the stores that it was ever given.

The tally of a run lives in the store that holds its replies, where one transaction settles a bill
and keeps its reply. A folder may be given another store, or its store may be emptied; so the folder
notes every store, with what was spent there when it was last looked at. Ceilings count them all.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.errors import CurateError, UsageError
from curate.runs.folder import RunFolder
from curate.store.budget import RunBills, Spent, bills_of, spent, together
from curate.store.store import Store

# How often the note is renewed while requests are sent: what a killed run leaves behind is at most
# so old, and counts only if its store is gone as well.
NOTE_SECONDS = 2.0
# What only grows, and does so when a reply is kept: a request may be taken back before it is sent.
_PAID = ("settled", "input_tokens", "output_tokens")
# Where a store keeps its id.
_ID = ("store", "id")


class FolderSpending:
    """The stores of one run folder by their ids, and what was spent with each of them."""

    def __init__(self, folder: RunFolder) -> None:
        """Take the folder; one without a note has spent nothing elsewhere."""
        self._folder = folder
        self._noted_at = 0.0

    def elsewhere(self, store: Store | None) -> RunBills:
        """Return what the folder has spent with other stores than `store`, and lost from it."""
        parts = list[RunBills]()
        own = None if store is None else _id_of(store)
        for name, note in self._notes().items():
            parts.append(
                RunBills(note.get("lost", {}), note.get("worst", {}), note.get("lost_steps", {}))
            )
            if name != own:
                now, noted = self._now(name, Path(note["path"])), _noted(note)
                # Both are of one store, at different times; bills come after what was sent.
                earlier = now.amounts.get("sent", 0) < noted.amounts.get("sent", 0)
                parts.append(noted._replace(worst=now.worst) if earlier else now)
        return together(*parts)

    def join(self, store: Store, *, costs: bool, pay_again: bool) -> RunBills:
        """Note that the folder uses `store`, and return what it has spent elsewhere.

        Args:
            store: the store, open.
            costs: whether some model may cost money.
            pay_again: whether replies that the store has lost may be paid for again.

        Raises:
            UsageError: the store has lost what the folder has paid for, or is another one in its
                place, and nobody has agreed to pay again.
        """
        notes, own, path = self._notes(), _id_of(store), str(store.folder.resolve())
        noted, now = _noted(notes.get(own, {})), bills_of(store, self._folder.run_id)
        gone = RunBills(
            _gone(noted.amounts, now.amounts),
            steps={step: _gone(was, now.steps.get(step, {})) for step, was in noted.steps.items()},
        )
        replaced = [
            note
            for name, note in notes.items()
            if name != own and note["path"] == path and not note.get("left")
        ]
        lost = together(gone, *map(_noted, replaced))
        if any(lost.amounts.get(name) for name in _PAID) and costs and not pay_again:
            was = spent(lost)
            raise UsageError(
                f"{self._folder.path} has sent {was.sent:,} requests (${was.cost_usd:.4f}) whose "
                f"replies were kept in the store {store.folder}, and the store does not know of "
                "them: it was emptied, deleted or replaced since. Put it back; or add --pay-again "
                "to ask, and pay for, what it has lost once more (ceilings still count what was "
                "spent)"
            )
        for note in replaced:
            note["left"] = True
        if gone.amounts.get("sent"):
            before = RunBills(notes[own].get("lost", {}), steps=notes[own].get("lost_steps", {}))
            lost = together(before, gone)
            notes[own] |= {"lost": lost.amounts, "lost_steps": lost.steps}
            notes[own] |= {"amounts": {}, "steps": {}}
        self._write(notes)
        self.note(store)
        return self.elsewhere(store)

    def note(self, store: Store, *, often: bool = False) -> None:
        """Note what has been spent with `store`; with `often`, once in a while only."""
        if often and time.monotonic() - self._noted_at < NOTE_SECONDS:
            return
        self._noted_at = time.monotonic()
        notes, now = self._notes(), bills_of(store, self._folder.run_id)
        own = notes.setdefault(_id_of(store), {})
        found: dict[str, Any] = {"path": str(store.folder.resolve()), "amounts": dict(now.amounts)}
        found |= {"worst": dict(now.worst), "steps": dict(now.steps)}
        if own != {**own, **found}:
            own |= found
            self._write(notes)

    def _now(self, name: str, folder: Path) -> RunBills:
        """Return what the store in `folder` knows; nothing where it is another or unreadable."""
        database = folder / "store.db"
        if not database.is_file() or not database.stat().st_size:
            return RunBills()
        try:
            with Store.open_to_read(folder) as store:
                if store.value(*_ID) == name:
                    return bills_of(store, self._folder.run_id)
        except (CurateError, OSError):
            pass
        return RunBills()

    def _notes(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._folder.spending.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UsageError(
                f"{self._folder.spending} says what this run folder has spent, and cannot be read "
                f"({error}); without it no ceiling can be kept: put it back, or take another folder"
            ) from error
        return dict(found)

    def _write(self, notes: Mapping[str, Any]) -> None:
        path = self._folder.spending
        path.parent.mkdir(parents=True, exist_ok=True)
        # No flush to the disk: the store itself is the durable place, this is where to look. A run
        # folder has one run at a time, so what a killed one leaves is written over by the next.
        part = path.with_name(f"{path.name}.tmp")
        part.write_text(json.dumps(notes), encoding="utf-8")
        part.replace(path)


def folder_spent(folder: RunFolder, store: Path) -> Spent:
    """Return what a folder has spent with the store in `store` and with others; make neither."""
    if not (folder.state / "run-id").is_file():
        return spent()
    if not (store / "store.db").is_file():
        return spent(FolderSpending(folder).elsewhere(None))
    with Store.open_to_read(store) as opened:
        own = bills_of(opened, folder.run_id)
        return spent(own, FolderSpending(folder).elsewhere(opened))


def _id_of(store: Store) -> str:
    """Return the id of a store, which goes with it when it is moved; made where it has none."""
    if (found := store.value(*_ID)) is None:
        found = uuid.uuid4().hex
        store.put_value(*_ID, found)
    return found


def _noted(note: Mapping[str, Any]) -> RunBills:
    """Return what a note says was spent with its store when it was last looked at."""
    return RunBills(note.get("amounts", {}), steps=note.get("steps", {}))


def _gone(noted: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """Return by how much amounts are less than was noted."""
    return {name: max(0, amount - now.get(name, 0)) for name, amount in noted.items()}
