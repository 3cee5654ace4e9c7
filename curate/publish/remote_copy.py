"""Send finished files to an address (`s3://`, `gs://`, `hdfs://`, ...); none is ever seen in part.

A file of an object store appears whole, when all its bytes are there. Elsewhere it is written under
another name and renamed. Of a folder the manifest tells readers whether it is complete.
"""

from __future__ import annotations

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
    parse_manifest,
)

# File systems whose files appear whole.
_OBJECTS = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"))
_READ_ONLY = ("http://", "https://", "data:", "zip:", "tar:", "github:", "git:")


class RemoteTarget:
    """A place at an address where a file or a folder is to be written; it may be written to."""

    def __init__(self, where: str, *, folder: bool, replace: bool = False) -> None:
        """Look at what is there; `replace` allows to replace a file, or what an export wrote.

        Raises:
            UsageError: something would be lost, or the address cannot be written to.
            StoppedShort: the file system cannot be reached.
        """
        refuse_credentials(where)
        if where.startswith(_READ_ONLY) or "::" in where:
            raise UsageError(
                f"{where} can only be read; write to a path, or to an address of a file system, as "
                "s3://BUCKET/PATH, gs://BUCKET/PATH or hdfs://HOST/PATH"
            )
        self.where, self.replace = where.rstrip("/"), replace
        if "://" not in self.where:
            raise UsageError(f"{where} names no file; write {self.where}//BUCKET/NAME")
        with address_errors(where, "looked at", StoppedShort):
            self.system, path = open_address(self.where)
            self._path = path.rstrip("/")
            if "/" not in self._path:
                raise UsageError(f"{where} names no file; write {self.where}/NAME")
            self.name = self._path.rpartition("/")[2]
            protocols = self.system.protocol
            known = [protocols] if isinstance(protocols, str) else protocols
            self._objects = not _OBJECTS.isdisjoint(known)
            # What uploads that broke off left in the folder.
            self._parts = set[str]()
            self._kinds = list[str]()
            self._old = self._listed() if folder else {}
            if not folder and self.system.isdir(self._path):
                raise UsageError(
                    f"{where} is a folder; name a file, as in {self.where}/rows.jsonl, or the "
                    f"folder itself for Parquet shards: {self.where}/"
                )
            if not folder and not replace and self.system.exists(self._path):
                raise UsageError(f"{where} is there; --replace replaces it, or choose another name")

    def _listed(self) -> dict[str, RemoteFile]:
        """Return the data files of the folder that is there, all of them written by an export."""
        if not self.system.isdir(self._path):
            return {}
        listed = [path.rstrip("/") for path in self.system.ls(self._path, detail=False)]
        # Some object stores list the folder itself, as an object without bytes.
        names = {path.rpartition("/")[2] for path in listed if path != self._path} - {""}
        if not names:
            return {}
        own: dict[str, RemoteFile] = {}
        if MANIFEST in names:
            text = self.system.cat_file(f"{self._path}/{MANIFEST}")
            own = parse_manifest(text, self.where).files
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
            self._make_folder(self._path.rpartition("/")[0])
            self._put(local, self._path)
        return self.where

    def send_folder(self, local: Path) -> str:
        """Send the files of a folder and its manifest, and return its address."""
        files = {path.name: describe_file(path) for path in sorted(local.iterdir())}
        with address_errors(self.where, "written", StoppedShort):
            self._make_folder(self._path)
            # Those of before, too: what breaks off here can be done again with --replace.
            self._note(Manifest({**self._old, **files}, complete=False))
            for name in files:
                self._put(local / name, f"{self._path}/{name}")
            for name in sorted(self._parts | self._old.keys() - files.keys()):
                if self.system.exists(f"{self._path}/{name}"):
                    self.system.rm_file(f"{self._path}/{name}")
            self._note(Manifest(files, complete=True))
        return self.where

    def _make_folder(self, path: str) -> None:
        # Object stores have no folders, and would make a bucket whose name was written wrongly.
        if not self._objects:
            self.system.makedirs(path or "/", exist_ok=True)

    def _note(self, manifest: Manifest) -> None:
        with tempfile.TemporaryDirectory(prefix="curate-export-") as aside:
            local = Path(aside) / MANIFEST
            local.write_text(manifest.text, encoding="utf-8")
            self._put(local, f"{self._path}/{MANIFEST}")

    def _put(self, local: Path, remote: str) -> None:
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


def _part(name: str) -> str:
    """Return what a file is called while it is on its way to where files do not appear whole."""
    return f".{name}.part"
