"""Fetch a run that was published at an address: the publication that its manifest names, whole.

The files of a publication never change, so what is fetched is that or an error. While a run is
fetched it may be published anew, which ends in deleting the publication before: then the new one is
fetched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from curate.errors import InputError
from curate.system.addresses import address_errors, open_address
from curate.system.remote_manifest import Manifest, check_copy, manifest_at

# Which of a publication's files are the run's folder, and which its store.
RUN, STORE = "run/", "store/"
# A run that is published more often than it can be fetched.
_TRIES = 5


def may_be_run(where: str) -> bool:
    """Tell whether an address may be that of a run: neither of a pattern, the web nor the Hub."""
    web = where.startswith(("http://", "https://", "hub://", "hf://"))
    return not web and not any(character in where for character in "*?[")


def published_run(where: str) -> Manifest | None:
    """Return the manifest of the run that is published at `where`, `None` where there is none.

    Raises:
        InputError: the address cannot be read, or its manifest is damaged.
    """
    with address_errors(where, "read", InputError):
        system, path = open_address(where)
        found = manifest_at(system, path, where)
    return found if found is not None and found.publication else None


def fetch_run(where: str, into: Path, wanted: Callable[[str], bool]) -> Manifest:
    """Copy the files of a published run whose names are `wanted` below `into`; check every byte.

    Returns:
        The manifest of what was fetched, with the files that are now below `into`.

    Raises:
        InputError: there is no run, a file is missing or is not the one that was sent.
    """
    for _ in range(_TRIES):
        manifest = published_run(where)
        if manifest is None:
            raise InputError(f"{where}: no run is published here")
        files = {name: file for name, file in manifest.files.items() if wanted(name)}
        for name in files:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
        with address_errors(where, "read", InputError):
            system, path = open_address(where)
            folder = f"{path.rstrip('/')}/{manifest.publication}"
            try:
                # Together: file systems of buckets fetch many at once.
                system.get([f"{folder}/{name}" for name in files], [str(into / n) for n in files])
                lost = next((name for name in files if not (into / name).is_file()), None)
            except FileNotFoundError as error:
                lost = str(error.filename or error)
        if lost is None:
            for name, file in files.items():
                check_copy(into / name, file, f"{where}/{name}")
            return manifest._replace(files=files)
        shutil.rmtree(into)
        if published_run(where) == manifest:
            raise InputError(
                f"{where}: {lost} of its run is missing there; publish the run again, with "
                "curate export RUN --as run"
            )
    raise InputError(f"{where}: was published anew {_TRIES} times while it was read; try again")
