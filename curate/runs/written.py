"""What runs have written outside their folders, and so may replace: outputs and exports.

A run notes the size and the time of every file that it writes elsewhere, before the file takes its
place. What is there and is noted nowhere belongs to somebody else.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from curate.errors import UsageError
from curate.system.posix import sync, sync_all, write_atomically

RUNS = Path("runs")
_NOTE = Path(".state", "written.json")
# Sizes and times (ns) of the files of a folder by their names below it; a file has an empty name.
Stamp = dict[str, list[int]]


def put(fresh: Path, path: Path, run: Path | None) -> None:
    """Move the finished file or folder `fresh` to `path`, noted as written by the run in `run`.

    What is there then outlives a power cut: the bytes before the name, and the name. A folder that
    was there ends beside `fresh`, whose own folder is somebody's to delete.
    """
    sync_all(fresh)
    if run is not None:
        note, found = run / _NOTE, _noted(run)
        key = str(path.absolute())
        # The note before stays for once: the process may end before `fresh` takes its place.
        found[key] = [_stamp(fresh), *found.get(key, [])][:2]
        # A run may be read by people who cannot write it; then `path` is nobody's next time.
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(note, json.dumps(found))
    if path.is_dir():
        os.replace(path, fresh.with_name(f"{fresh.name}.before"))
    os.replace(fresh, path)
    sync(path.parent)


def wrote(run: Path, path: Path) -> bool:
    """Tell whether the file `path` is as the run in `run` left it."""
    return path.exists() and _stamp(path) in _noted(run).get(str(path.absolute()), [])


def check_replaceable(path: Path, run: Path, *, replace: bool) -> None:
    """Raise where `path` holds what neither the run in `run` nor one beside it wrote.

    With `replace` a file may be anybody's. A folder is replaced with `replace` only, and only where
    runs wrote all that is in it.

    Raises:
        UsageError: something would be lost.
    """
    if not path.exists() or (path.is_file() and replace):
        return
    now = _stamp(path)
    # Runs beside this one, and those where runs usually are.
    near = [run]
    for folder in dict.fromkeys((run.parent, RUNS)):
        near += (note.parent.parent for note in sorted(folder.glob(f"*/{_NOTE}")))
    noted = (_noted(one).get(str(path.absolute()), []) for one in near)
    own = [stamp for stamps in noted for stamp in stamps]
    if path.is_file():
        if now not in own:
            raise UsageError(
                f"{path} exists, and its content is not what a run wrote; --replace replaces it, "
                "or choose another file"
            )
        return
    foreign = [name for name in now if all(stamp.get(name) != now[name] for stamp in own)]
    if foreign:
        raise UsageError(
            f"the folder {path} is not empty, and no run wrote {foreign[0]} in it, which would be "
            "read as part of the data; choose a new folder (one for each split), or empty it first"
        )
    if now and not replace:
        raise UsageError(
            f"the folder {path} holds what a run wrote; --replace replaces it, or choose a new "
            "folder (one for each split)"
        )


def beside_text(folder: str | Path, left: str, *, several: bool) -> str:
    """Return why rows of one kind do not go beside those of `several` kinds, or vice versa."""
    new = "a folder of its own for each of several kinds" if several else "files of one kind"
    return (
        f"{folder} holds {left}, and would get {new}: who reads the folder would read what is "
        "there in place of the new rows, or with them; choose another folder, or empty it first"
    )


def _noted(run: Path) -> dict[str, list[Stamp]]:
    note = run / _NOTE
    return dict(json.loads(note.read_bytes())) if note.is_file() else {}


def _stamp(path: Path) -> Stamp:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {
        str(one.relative_to(path)) if one != path else "": [found.st_size, found.st_mtime_ns]
        for one in files
        for found in [one.stat()]
    }
