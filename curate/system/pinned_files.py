"""Files that come as packages, held to the bytes that were tried.

A package on an index can be replaced, and a disk can turn a bit. Vectors are kept under the
encoder's name and replies under the model's: other bytes under the same name would pass for them.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from curate.errors import UsageError

_PINS = Path(__file__).with_name("pinned_files.json")


def pins(package: str) -> Mapping[str, str]:
    """Return the SHA-256 of the files of a package, by their paths in it."""
    found: dict[str, dict[str, str]] = json.loads(_PINS.read_text(encoding="utf-8"))
    return found[package]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache  # some 0.2 s for 90 MB: once a process
def check_package(package: str, folder: Path, remedy: str) -> None:
    """Compare the files of a package in `folder` with its pins.

    Raises:
        UsageError: one is missing or has other bytes; the message ends with `remedy`.
    """
    check_files(folder, pins(package), remedy)


def check_files(folder: Path, wanted: Mapping[str, str], remedy: str) -> None:
    """Compare files of a folder with their digests.

    Raises:
        UsageError: one is missing or has other bytes; the message ends with `remedy`.
    """
    for name, digest in wanted.items():
        path = folder / name
        found = digest_of(path) if path.is_file() else None
        if found != digest:
            what = "is missing" if found is None else f"has the SHA-256 {found}, not {digest}"
            raise UsageError(f"{path} {what}: it is not the file that curate knows; {remedy}")
