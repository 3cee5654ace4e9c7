"""The manifest of a folder that `curate export` wrote to an address: which files are its data.

Object stores replace one file at once, but never a folder. So the folder's manifest says first that
files are on their way, and last, when all are there, what they are. A reader takes the files that
it lists and no others, and only if they are what it says.

Of a whole run each publication lies in a folder of its own, which the manifest names: the one
before is whole until the manifest is replaced, and nothing but the manifest is ever replaced.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import InputError
from curate.system.pinned_files import digest_of

# Readers of data folders (Arrow, Spark, `datasets`) skip names that begin with a dot.
MANIFEST = ".curate-manifest.json"
# Of data files, and of a run, whose files lie in the folder of their publication.
_DATA, _RUN = 1, 2
PUBLICATION = re.compile(r"run-[0-9a-f]{32}")


class RemoteFile(NamedTuple):
    """A file as it was sent: its size in bytes and the SHA-256 of its bytes, in hexadecimals."""

    size: int
    sha256: str


def describe_file(path: Path) -> RemoteFile:
    """Return the size and the digest of a file of this machine."""
    return RemoteFile(path.stat().st_size, digest_of(path))


class Manifest(NamedTuple):
    """The data files of a folder by name; while some are on their way it is not `complete`.

    Those of a run are named by their paths below the folder of their `publication`.
    """

    files: dict[str, RemoteFile]
    complete: bool
    publication: str = ""

    @property
    def text(self) -> str:
        """The manifest as JSON, as `parse_manifest` reads it."""
        files = {name: file._asdict() for name, file in self.files.items()}
        own = {"publication": self.publication} if self.publication else {}
        version = _RUN if own else _DATA
        data = {"format": version, "complete": self.complete, **own, "files": files}
        return json.dumps(data, indent=1) + "\n"


def manifest_at(system: Any, path: str, where: str) -> Manifest | None:
    """Return the manifest of the folder `path` of a file system, `None` where it has none.

    Raises:
        InputError: it is damaged, or of a later format.
    """
    try:
        text = system.cat_file(f"{path.rstrip('/')}/{MANIFEST}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_manifest(text, where)


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Return what the manifest of the folder at `where` says.

    Raises:
        InputError: it is damaged, or of a later format.
    """
    try:
        data = json.loads(text)
        version, complete = data["format"], data["complete"] is True
        publication = str(data["publication"]) if version == _RUN else ""
        files = {
            str(name): RemoteFile(int(file["size"]), str(file["sha256"]))
            for name, file in data["files"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{where}/{MANIFEST}: is not a manifest ({type(error).__name__}: {error}); export the "
            "data again, into another folder"
        ) from None
    if version not in (_DATA, _RUN):
        raise InputError(
            f"{where}/{MANIFEST}: has format {version}, and this version of curate reads {_RUN}"
        )
    if version == _RUN and not PUBLICATION.fullmatch(publication):
        raise InputError(f"{where}/{MANIFEST}: names {publication!r}, which is no publication")
    for name in files:
        parts = name.split("/") if version == _RUN else [name]
        # What is copied to this machine stays in the folder that it is copied to.
        if any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts):
            raise InputError(
                f"{where}/{MANIFEST}: names {name!r}, which is not a file of its folder"
            )
    return Manifest(files, complete, publication)


def check_copy(copy: Path, listed: RemoteFile, where: str) -> None:
    """Raise where the copy of a file is not the one that its manifest lists.

    Raises:
        InputError: it was replaced or damaged since.
    """
    found = describe_file(copy)
    if found != listed:
        raise InputError(
            f"{where}: has {found.size:,} bytes with SHA-256 {found.sha256[:12]}..., and its "
            f"manifest says {listed.size:,} with {listed.sha256[:12]}...; it is being replaced or "
            "was changed: read it again later, or export the data again"
        )
