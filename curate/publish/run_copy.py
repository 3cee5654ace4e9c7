"""Copy whole runs, finished or stopped, with their store: to an address, from one, to a folder.

At an address every publication has a folder of its own, whose files are sent first; then the
manifest is replaced, which takes all of them at once; then the publication before is deleted. So a
reader finds the old run or the new one, and what broke off is never read. The store goes along as
a snapshot: SQLite is used nowhere but on a disk of the machine that runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from curate.errors import InputError, StoppedShort, UsageError
from curate.publish.remote_copy import LEFTOVER, RemotePlace
from curate.read.finished_runs import PUBLISHED, STORE_NOTE, is_run, published_files
from curate.runs.folder import SECTIONS, RunFolder
from curate.store.files import used
from curate.store.store import Store
from curate.system.addresses import address_errors
from curate.system.copies import folder_of_copies
from curate.system.credentials import address_of, is_address
from curate.system.posix import refuse_network_disk, sync_all, write_atomically
from curate.system.remote_manifest import MANIFEST, PUBLICATION, Manifest, describe_file
from curate.system.remote_run import RUN, STORE, fetch_run, published_run

_REPORT = "report.json"
_TEXTS = ("run.yaml", "README.md", _REPORT)
_SPENDING = ".state/spending.json"
# What of a run's state is true on every machine: not its lock, its paths, or what it wrote beside.
_STATE = (".state/purpose.json", ".state/run-id", str(PUBLISHED), _SPENDING)
# Where a run folder notes at which address it is published, and as which publications.
_NOTE = Path(".state", "published-at.json")


class Copied(NamedTuple):
    """What was copied where: files, all their bytes, and those of the store among them."""

    where: str
    files: int
    bytes: int
    store_bytes: int


def copy_run(source: str, output: str, *, replace: bool, with_store: bool) -> Copied:
    """Copy a run from a folder or an address to another folder or address.

    In a folder of this machine the store lies beside the run, as `RUN.store`.

    Raises:
        UsageError: there is no run, or something would be lost.
        InputError: what is published is damaged.
        StoppedShort: the file system failed.
    """
    if is_address(output):
        return publish_run(local_run(source), output, replace=replace, with_store=with_store)
    place = Path(output)
    if is_address(source):
        files = _fetch_to(source, place, with_store=with_store)
    else:
        with _packed(Path(source), with_store=with_store) as packed, _staged(place) as fresh:
            for name, path in packed.items():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, fresh / name)
            files = {name: path.stat().st_size for name, path in packed.items()}
    return _copied(output, files)


def _copied(where: str, sizes: dict[str, int]) -> Copied:
    of_store = sum(size for name, size in sizes.items() if name.startswith(STORE))
    return Copied(where, len(sizes), sum(sizes.values()), of_store)


def local_run(where: str | Path) -> Path:
    """Return the folder of a run; one at an address is copied, until this process ends.

    Raises:
        InputError: there is no run at the address, or it is damaged.
    """
    if not is_address(where):
        return Path(where)
    address = address_of(where).rstrip("/")
    place = folder_of_copies("run") / (address.rpartition("/")[2] or "run")
    _fetch_to(address, place)
    return place


@contextlib.contextmanager
def working_copy(
    where: str, local: Path, *, send: bool = True, tell: Callable[[str], object] = str
) -> Iterator[None]:
    """Run in the folder `local` what is published at `where`, and `send` it when that ends.

    Before, the published run is fetched, if there is one; afterwards, also after a stop, the folder
    is published, and `tell` is told. Only what kills the process publishes nothing. After a stop
    its own error is raised, and `tell` is told why nothing could be published.

    Raises:
        UsageError: the folder has another run, or an older copy of the published one.
        StoppedShort: the run cannot be published; the folder keeps everything.
    """
    folder, place = RunFolder(local), RemotePlace(where)
    instead = "name a working folder on a disk of this machine with --run DIR"
    refuse_network_disk(folder.own_store, instead)
    current = _current(place)
    if current and not is_run(local):
        _fetch_to(where, local)
    elif current and current not in _noted(local, place):
        raise UsageError(
            f"{local} holds another run, or an older copy, than what is published at {where}; to "
            f"go on with that one, move {local} and {folder.own_store} away; or name another "
            "working folder with --run DIR, or another address"
        )
    elif not current and send:
        # Better now than after hours of work.
        place.try_out()
    used_before = folder.noted_store
    if used_before is not None and used_before.resolve() != folder.own_store.resolve():
        raise UsageError(
            f"the replies of {local} are in the store {used_before}, not in one of its own; go on "
            f"with -o {local} --store {used_before}, and publish it with: "
            f"curate export {local} --as run -o {where}; or name another folder with --run DIR"
        )
    # Also for a run that begins here: what is in a store that others use is not sent with it.
    folder.own_store.mkdir(parents=True, exist_ok=True)

    before = folder.claimed

    def publish() -> None:
        # A run that was stopped too early has not said that the folder is its own.
        if not send or folder.claimed in (None, before):
            return
        said = f"the run has ended, in {local}, and is not published"
        try:
            publish_run(local, where)
        except Exception as error:
            raise StoppedShort(f"{said}: {error}") from error
        except KeyboardInterrupt:
            tell(f"{said}: its publication was interrupted")
            raise
        tell(f"published at {where}")

    try:
        yield
    except UsageError:
        raise
    except BaseException:
        try:
            publish()
        except StoppedShort as error:
            tell(str(error))
        except KeyboardInterrupt:
            pass
        raise
    else:
        publish()
    finally:
        if not folder.spending.is_file():
            with contextlib.suppress(OSError):
                folder.own_store.rmdir()


def publish_run(run: Path, where: str, *, replace: bool = False, with_store: bool = True) -> Copied:
    """Publish a run at an address, in place of what this folder has published there before.

    Args:
        run: Its folder, of this machine; no process may be running it.
        where: The address; a manifest and a folder for the publication are made there.
        replace: Whether a run that was published from elsewhere may be replaced.
        with_store: Whether the store goes along, with the replies of all runs that used it.

    Raises:
        UsageError: something would be lost, or the folder holds no run.
        StoppedShort: the address cannot be written to; what was there is still readable.
    """
    place = RemotePlace(where)
    current = _current(place)
    if current and not replace and current not in _noted(run, place):
        raise UsageError(
            f"{place.where} holds a run that was published from another folder, or since by "
            "another machine; publish this one at another address, or replace that one: "
            f"curate export {run} --as run -o {place.where} --replace"
        )
    with _packed(run, with_store=with_store) as files:
        publication = f"run-{uuid.uuid4().hex}"
        # Of those before, all but the current one broke off.
        stale = {current, *_noted(run, place)} - {""}
        _note(run, place, [publication, *stale])
        described = {name: describe_file(path) for name, path in files.items()}
        with address_errors(where, "written", StoppedShort):
            below = f"{place.path}/{publication}"
            for name, path in files.items():
                place.make_folder(f"{below}/{name}".rpartition("/")[0])
                place.put(path, f"{below}/{name}")
            if _current(place) != current:
                place.delete(below)
                raise StoppedShort(
                    f"{place.where}: somebody else has published a run there meanwhile, and it "
                    "stays; publish this one at another address, or replace that one: "
                    f"curate export {run} --as run -o {place.where} --replace"
                )
            place.note(Manifest(described, complete=True, publication=publication))
            for name in stale:
                place.delete(f"{place.path}/{name}")
        _note(run, place, [publication])
    return _copied(place.where, {name: file.size for name, file in described.items()})


def _current(place: RemotePlace) -> str:
    """Return the publication that an address has now; empty where nothing is there.

    Raises:
        UsageError: something else is there.
    """
    found = published_run(place.where)
    if found is not None:
        return found.publication
    with address_errors(place.where, "looked at", StoppedShort):
        names = place.names() - {MANIFEST}
        own = {name for name in names if PUBLICATION.fullmatch(name)}
        if place.system.isfile(place.path) or names - own - {LEFTOVER}:
            raise UsageError(
                f"{place.where} is not empty, and no run was published there; choose an address "
                "of its own for each run"
            )
    return ""


def _note(run: Path, place: RemotePlace, publications: list[str]) -> None:
    note = {"address": place.where, "publications": publications}
    write_atomically(run / _NOTE, json.dumps(note))


def _noted(run: Path, place: RemotePlace) -> list[str]:
    """Return what a run folder has published at an address, the newest first."""
    try:
        note = json.loads((run / _NOTE).read_text(encoding="utf-8"))
        return list(note["publications"]) if note["address"] == place.where else []
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def _packed(run: Path, *, with_store: bool) -> Iterator[dict[str, Path]]:
    """Yield the files of a run by their names in a copy; nobody writes the run meanwhile.

    Of one that has not finished it is the state, with which its command continues.
    """
    if not is_run(run):
        raise UsageError(f"{run} holds no run (no report.json); run its recipe first")
    folder, files = RunFolder(run), dict[str, Path]()
    with folder.lock(), tempfile.TemporaryDirectory(prefix="curate-run-") as aside:
        names = [Path(name) for name in _STATE if name != _SPENDING]
        if (run / _REPORT).is_file():
            rows = (path for name in SECTIONS for path in published_files(run / name))
            names += [path.relative_to(run) for path in rows] + [Path(name) for name in _TEXTS]
        files |= {RUN + name.as_posix(): run / name for name in names if (run / name).is_file()}
        store = folder.noted_store
        if store is not None and folder.spending.is_file():
            notes = Path(aside) / "spending.json"
            text = folder.spending.read_text(encoding="utf-8")
            notes.write_text(_moved(text, str(store.resolve()), ""), encoding="utf-8")
            files[RUN + _SPENDING] = notes
        if with_store and store is not None and (store / "store.db").is_file():
            copy = Path(aside) / "store"
            with Store.open(store) as opened, used(store):
                opened.copy_to(copy)
            below = (path for path in sorted(copy.rglob("*")) if path.is_file())
            files |= {STORE + path.relative_to(copy).as_posix(): path for path in below}
        yield files


def _moved(notes: str, old: str, new: str) -> str:
    """Return the notes on a run's spending with its store in another place."""
    found = json.loads(notes)
    for note in found.values():
        note["path"] = new if note["path"] == old else note["path"]
    return json.dumps(found)


def _fetch_to(where: str, place: Path, *, with_store: bool = True) -> dict[str, int]:
    """Fetch a published run into the folder `place`; return the sizes of its files."""

    def known(name: str) -> bool:
        own = name.removeprefix(RUN)
        if own == name:
            return with_store and name.startswith(STORE)
        return own in (*_STATE, *_TEXTS) or own.partition("/")[0] in SECTIONS

    with _staged(place) as fresh:
        manifest = fetch_run(where, fresh, known)
        (fresh / RUN / _NOTE.parent).mkdir(parents=True, exist_ok=True)
        _note(fresh / RUN, RemotePlace(where), [manifest.publication])
        if not is_run(fresh / RUN):
            raise InputError(f"{where}: what is published here is not a run of this version")
    return {name: file.size for name, file in manifest.files.items()}


@contextlib.contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """Yield a folder for the files of a run, whose run and store then appear at `place`.

    A run that has asked gets a store of its own beside it. If its replies did not go along, that is
    empty, and the run refuses to pay for them once more unless it is told to.
    """
    folder = RunFolder(place)
    for path in (place, folder.own_store):
        if path.exists():
            raise UsageError(f"{path} is there; choose another folder, or move it away first")
    refuse_network_disk(folder.own_store, "choose a folder on a disk of this machine")
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        yield fresh
        notes = fresh / RUN / _SPENDING
        if notes.is_file():
            (fresh / STORE).mkdir(exist_ok=True)
            own = str(folder.own_store.resolve())
            notes.write_text(_moved(notes.read_text(encoding="utf-8"), "", own), encoding="utf-8")
            (fresh / RUN / STORE_NOTE).write_text(str(folder.own_store.absolute()))
        sync_all(fresh)
        if (fresh / STORE).is_dir():
            os.rename(fresh / STORE, folder.own_store)
        # Last: with it the run is there.
        os.rename(fresh / RUN, place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
