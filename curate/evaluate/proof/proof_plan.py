"""The plan of a proof: everything that decides its outcome, written before the first training.

A folder holds one plan. Draws that are added after a look, another metric or another learning rate
would be chosen by what was seen, so each needs a folder of its own.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.errors import DiskFull, UsageError
from curate.system.posix import no_room, write_atomically

REQUEST, PLAN = "request.json", "plan.json"


@contextlib.contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """Turn what the system raises over a full disk into `DiskFull`."""
    try:
        yield
    except OSError as error:
        if not no_room(error):
            raise
        raise DiskFull(
            f"no room left on the disk of {folder}: free some; trainings that are done stay, and "
            "the same command does only what is missing"
        ) from error


def claim_folder(out: Path, request: Mapping[str, Any]) -> bool:
    """Take a folder for what is asked, before anything is read, and tell whether it has a plan.

    Without one nothing was trained, and another question may take the place of the first.

    Raises:
        UsageError: the folder holds another proof, or something else.
    """
    if not (out / REQUEST).is_file() and out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no proof; choose another folder (-o)")
    with room_on_disk(out):
        out.mkdir(parents=True, exist_ok=True)
    planned = (out / PLAN).is_file()
    if not planned:
        (out / REQUEST).unlink(missing_ok=True)
    _same_or_new(out / REQUEST, request)
    return planned


def fix_plan(out: Path, plan: Mapping[str, Any]) -> None:
    """Write the plan, or hold it against the one that is there.

    Raises:
        UsageError: it is another one.
    """
    _same_or_new(out / PLAN, plan)


def _same_or_new(path: Path, given: Mapping[str, Any]) -> None:
    text = json.dumps(given, indent=1, ensure_ascii=False)
    if not path.is_file():
        with room_on_disk(path.parent):
            write_atomically(path, text + "\n")
        return
    before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
    if before == now:
        return
    changed = [
        f"{name}: {_short(before.get(name))} before, {_short(now.get(name))} now"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    raise UsageError(
        f"{path} is another plan ({'; '.join(changed)}); a plan is not changed after a look: "
        "choose another folder (-o), or give the same data, recipe and options again"
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
