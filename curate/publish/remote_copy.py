"""Send finished files to an address (`s3://`, `gs://`, `hdfs://`, ...); none is ever seen in part.

A file of an object store appears whole, when all its bytes are there. Elsewhere it is written under
another name and renamed. Of a folder the manifest tells readers whether it is complete.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from curate.errors import StoppedShort, UsageError
from curate.row import KINDS
from curate.runs.written import beside_text
from curate.system.addresses import address_errors, open_address
from curate.system.credentials import refuse_credentials
from curate.system.remote_manifest import (
    MANIFEST,
    Manifest,
    RemoteFile,
    describe_file,
    manifest_at,
)

# File systems whose files appear whole.
_OBJECTS = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"))
_READ_ONLY = ("http://", "https://", "data:", "zip:", "tar:", "github:", "git:")


# What a killed process leaves beside a manifest.
LEFTOVER = f".{MANIFEST}.part"


class RemotePlace:
    """An address that may be written to, and how one file gets there."""

    def __init__(self, where: str) -> None:
        """Open its file system; nothing is looked at yet.

        Raises:
            UsageError: the address holds credentials, or cannot be written to.
        """
        refuse_credentials(where)
        if where.startswith(_READ_ONLY) or "::" in where:
            raise UsageError(
                f"{where} can only be read; write to a path, or to an address of a file system, as "
                "s3://BUCKET/PATH, gs://BUCKET/PATH or hdfs://HOST/PATH"
            )
        self.where = where.rstrip("/")
        if "://" not in self.where:
            raise UsageError(f"{where} names no file; write {self.where}//BUCKET/NAME")
        with address_errors(where, "looked at", StoppedShort):
            self.system, path = open_address(self.where)
        self.path = path.rstrip("/")
        if "/" not in self.path:
            raise UsageError(f"{where} names no file; write {self.where}/NAME")
        self.name = self.path.rpartition("/")[2]
        protocols = self.system.protocol
        known = [protocols] if isinstance(protocols, str) else protocols
        self._objects = not _OBJECTS.isdisjoint(known)

    def names(self) -> set[str]:
        """Return the names of what is in the folder, none where it is not there."""
        if not self.system.isdir(self.path):
            return set()
        listed = [path.rstrip("/") for path in self.system.ls(self.path, detail=False)]
        # Some object stores list the folder itself, as an object without bytes.
        return {path.rpartition("/")[2] for path in listed if path != self.path} - {""}

    def make_folder(self, path: str) -> None:
        """Make a folder where the file system has some."""
        # Object stores have none, and would make a bucket whose name was written wrongly.
        if not self._objects:
            self.system.makedirs(path or "/", exist_ok=True)

    def note(self, manifest: Manifest) -> None:
        """Replace the manifest of the folder."""
        with tempfile.TemporaryDirectory(prefix="curate-export-") as aside:
            local = Path(aside) / MANIFEST
            local.write_text(manifest.text, encoding="utf-8")
            self.put(local, f"{self.path}/{MANIFEST}")

    def try_out(self) -> None:
        """Write a small file and delete it, to see whether that is possible.

        Raises:
            StoppedShort: it is not.
        """
        with address_errors(self.where, "written", StoppedShort):
            self.make_folder(self.path)
            self.system.pipe_file(f"{self.path}/{LEFTOVER}", b"")
            self.delete(f"{self.path}/{LEFTOVER}")

    def delete(self, path: str) -> None:
        """Delete a file or a folder that no manifest names; it may stay where that is forbidden."""
        with contextlib.suppress(FileNotFoundError, PermissionError):
            self.system.rm(path, recursive=True)
        self.system.invalidate_cache()

    def put(self, local: Path, remote: str) -> None:
        """Send one file; it gets its name with its last byte."""
        folder, _, name = remote.rpartition("/")
        first = remote if self._objects else f"{folder}/{_part(name)}"
        self.system.put_file(str(local), first)
        if first != remote:
            self.system.mv(first, remote)
        self.system.invalidate_cache(folder)
        size, there = local.stat().st_size, self.system.size(remote)
        if there != size:
            raise StoppedShort(
                f"{self.where}: {name} has {there} bytes there, and {size} were sent; run the same "
                "command again"
            )


class RemoteTarget(RemotePlace):
    """A place at an address where a file or a folder is to be written; it may be written to."""

    def __init__(self, where: str, *, folder: bool, replace: bool = False) -> None:
        """Look at what is there; `replace` allows to replace a file, or what an export wrote.

        Raises:
            UsageError: something would be lost, or the address cannot be written to.
            StoppedShort: the file system cannot be reached.
        """
        super().__init__(where)
        self.replace = replace
        with address_errors(where, "looked at", StoppedShort):
            # What uploads that broke off left in the folder.
            self._parts = set[str]()
            self._kinds = list[str]()
            self._old = self._listed() if folder else {}
            if not folder and self.system.isdir(self.path):
                raise UsageError(
                    f"{where} is a folder; name a file, as in {self.where}/rows.jsonl, or the "
                    f"folder itself for Parquet shards: {self.where}/"
                )
            if not folder and not replace and self.system.exists(self.path):
                raise UsageError(f"{where} is there; --replace replaces it, or choose another name")

    def _listed(self) -> dict[str, RemoteFile]:
        """Return the data files of the folder that is there, all of them written by an export."""
        names = self.names()
        if not names:
            return {}
        found = manifest_at(self.system, self.path, self.where) or Manifest({}, complete=True)
        own = found.files
        if found.publication:
            raise UsageError(f"{self.where} holds a published run; choose another folder")
        self._parts = names & {_part(name) for name in (*own, MANIFEST)}
        # Rows of several kinds go to a folder for each of them.
        self._kinds = sorted(names & set(KINDS))
        foreign = sorted(names - {*own, MANIFEST, *self._parts, *KINDS})
        if foreign:
            raise UsageError(
                f"{self.where} is not empty, and no export wrote {foreign[0]} in it, which would "
                "be read as part of the data; choose another folder, or empty it first"
            )
        if not self.replace:
            raise UsageError(
                f"{self.where} holds what an export wrote; --replace replaces it, or choose "
                "another folder (one for each split)"
            )
        return own

    def check_layout(self, *, several: bool) -> None:
        """Refuse to leave what an export wrote in another way: it would be read with the new rows.

        Args:
            several: Whether rows of several kinds go to folders in this one, not into it.

        Raises:
            UsageError: files are beside such folders, or such folders beside files.
        """
        if left := sorted(self._old)[:1] if several else self._kinds[:1]:
            raise UsageError(beside_text(self.where, left[0], several=several))

    def send_file(self, local: Path) -> str:
        """Send one file, and return its address."""
        with address_errors(self.where, "written", StoppedShort):
            self.make_folder(self.path.rpartition("/")[0])
            self.put(local, self.path)
        return self.where

    def send_folder(self, local: Path) -> str:
        """Send the files of a folder and its manifest, and return its address."""
        files = {path.name: describe_file(path) for path in sorted(local.iterdir())}
        with address_errors(self.where, "written", StoppedShort):
            self.make_folder(self.path)
            # Those of before, too: what breaks off here can be done again with --replace.
            self.note(Manifest({**self._old, **files}, complete=False))
            for name in files:
                self.put(local / name, f"{self.path}/{name}")
            for name in sorted(self._parts | self._old.keys() - files.keys()):
                if self.system.exists(f"{self.path}/{name}"):
                    self.system.rm_file(f"{self.path}/{name}")
            self.note(Manifest(files, complete=True))
        return self.where


def _part(name: str) -> str:
    """Return what a file is called while it is on its way to where files do not appear whole."""
    return f".{name}.part"
