"""The files of a store's folder: who uses them, how many bytes they take, derived arrays."""

from __future__ import annotations

import os
import shlex
import sqlite3
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from curate.errors import StoreError, UsageError
from curate.store.commit import store_error
from curate.system.posix import MOUNTS, FileLock, refuse_network_disk

LOCK = "in_use"
# The folder in the store of what steps derived from vectors, as neighbours.
DERIVED = "neighbours"


def check_place(folder: Path, mounts: Path = MOUNTS) -> None:
    """Refuse a store in `folder` on a network file system.

    Raises:
        UsageError: it is on one; the message says what to do, also with a store that is there.
    """
    instead = (
        "name a folder on a disk of this machine with --store DIR, or put a link to one in its "
        "place (on a cluster often below /scratch or /local; run folders may stay where they are)"
    )
    if (folder / "store.db").exists():
        copy = f"cp -a {shlex.quote(str(folder))} DIR"
        instead += f", after copying this one there while no run uses it: {copy}"
    refuse_network_disk(folder, instead, mounts)


def connected_to_read(folder: Path, version: int) -> sqlite3.Connection | None:
    """Connect to a store without writing to it; `None` where this user may write it.

    Raises:
        StoreError: it cannot be read, or has another format than `version`.
    """
    path = (folder / "store.db").absolute()
    if os.access(folder, os.W_OK) and (os.access(path, os.W_OK) or not path.exists()):
        return None
    # Where somebody else writes, what the log has or gets counts, too, also while it is empty.
    # Without a log no file beside the store is needed.
    log = path.with_name(f"{path.name}-wal")
    try:
        reader, found = _opened(path, "mode=ro" if log.exists() else "immutable=1")
    except sqlite3.Error as error:
        if not log.exists() or getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_CANTOPEN:
            raise store_error(error, folder) from error
        # To read the log, SQLite needs the index beside it (`-shm`), and may not make it here.
        if log.stat().st_size:
            raise StoreError(
                f"the store in {folder} has a log that cannot be read here, as where its run was "
                "killed: copy the folder, and name the copy with --store"
            ) from error
        reader, found = _opened(path, "immutable=1")
    if found != version:
        reader.close()
        raise StoreError(
            f"the store in {folder} has format {found}, this version of curate reads {version}, "
            "and may not bring it to that here: copy the folder, and name the copy with --store"
        )
    return reader


def _opened(path: Path, mode: str) -> tuple[sqlite3.Connection, int]:
    """Return a connection to a store's file that writes nothing, and the version of its format."""
    reader = sqlite3.connect(
        f"{path.as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        return reader, reader.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        reader.close()
        raise


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes that each part of the store in `folder` takes."""
    found = Counter[str]()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).parts[0]
        if path.is_file() and path.name != LOCK:
            found["database" if name.startswith("store.db") else name] += path.stat().st_size
    return dict(found)


def neighbour_files(folder: Path) -> Iterator[Path]:
    """Yield the files of neighbours in the store in `folder`."""
    return (folder / DERIVED).glob("*.npz")


@contextmanager
def used(folder: Path, first: Callable[[], object] | None = None) -> Iterator[None]:
    """Keep the files of the store in `folder` where they are; wait while another frees some.

    `first` is called where nobody else uses the store, before anybody can.
    """
    lock = FileLock(folder / LOCK)
    if first is not None and lock.take():
        try:
            first()
        finally:
            lock.release()
    lock.share()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep runs from starting on the store in `folder`, or raise when one is in progress."""
    lock = FileLock(folder / LOCK)
    if not lock.take():
        raise UsageError(
            f"a run in progress uses the store in {folder}; nothing was deleted: wait for its end, "
            "or stop it (Ctrl-C, the same command continues), and try again"
        )
    try:
        yield
    finally:
        lock.release()


class DerivedArrays:
    """The memo of a store: arrays under a digest of all that decides them, a file for each key.

    So a file is right or absent, and one that cannot be read counts as absent. `curate store gc
    --neighbours` deletes them all.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder of the store."""
        self._folder = folder / DERIVED

    def __call__(
        self, key: str, find: Callable[[], Sequence[np.ndarray] | None]
    ) -> Sequence[np.ndarray] | None:
        """Return the arrays in the file of `key`, or those that `find` finds, which it then has."""
        path = self._folder / f"{key}.npz"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            found = find()
        if found is None:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as out:
                np.savez(out, *found)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        return found
