"""Inputs that lie elsewhere: standard input, any fsspec URL, and the Hugging Face Hub.

A stream or a remote file is copied to a temporary folder first. That costs its size on disk, and
buys what every promise about inputs needs: a digest before anything is spent, and parts that can be
read again. The Hub's datasets are kept and mapped by the `datasets` package itself.
"""

from __future__ import annotations

import atexit
import functools
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curate.errors import InputError, UsageError
from curate.read.documents import is_document
from curate.read.finished_runs import KEPT, PUBLISHED, kept_files
from curate.read.lines import BOM
from curate.read.packed import MAGIC
from curate.read.paths import ENDINGS, ending_of, expand
from curate.system.addresses import address_errors, open_address
from curate.system.credentials import without_secrets
from curate.system.remote_manifest import MANIFEST, Manifest, check_copy, parse_manifest
from curate.system.remote_run import RUN, fetch_run

_HEAD = 64 << 10
_HUB = re.compile(r"hub://(?P<name>[^:@]+)(?::(?P<config>[^@]+))?(?:@(?P<split>.+))?")


def is_remote(where: str) -> bool:
    """Tell whether `where` is standard input or an address."""
    return where == "-" or "://" in where


def files_of(where: str) -> list[tuple[str, Path]]:
    """Return the files that a path, pattern or address names: what they are called, and a path.

    Standard input, and what a URL names, is copied.
    """
    if not is_remote(where):
        return [(str(path), path) for path in expand(where)]
    if where == "-":
        # The copy is named after its content.
        handle, name = tempfile.mkstemp(dir=_folder())
        with open(handle, "wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        with open(name, "rb") as file:
            head = file.read(_HEAD)
        return [("-", Path(name).rename(f"{name}{_ending(head)}"))]
    return _from_url(where)


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="curate-input-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _ending(head: bytes) -> str:
    """Tell by its first bytes what standard input holds; a table has a header, with tabs or commas.

    Raises:
        InputError: it is empty, or nothing that can be read.
    """
    packed = next((f".jsonl{p}" for magic, p in MAGIC.items() if head.startswith(magic)), None)
    packed = ".parquet" if head.startswith(b"PAR1") else packed
    lines = [line.strip() for line in head.removeprefix(BOM).split(b"\n") if line.strip()]
    first, second = (*lines, b"", b"")[:2]
    # A broken first line must not make a table of JSON lines.
    if packed or first.startswith((b"{", b"[")) or second.startswith(b'{"'):
        return packed or ".jsonl"
    for ending, delimiter in ((".tsv", b"\t"), (".csv", b",")):
        if delimiter in first:
            return ending
    begins = f"begins with {first.decode('utf-8', 'replace')!r:.60}" if first else "is empty"
    raise InputError(
        f"-: standard input {begins}; it may hold JSON lines (packed or not), a "
        "JSON array, Parquet, or CSV or TSV with a header"
    )


def _from_url(where: str) -> list[tuple[str, Path]]:
    with address_errors(where, "read", InputError):
        system, path = open_address(where)
        # A query of the web begins with a question mark, and is not a pattern.
        web = where.startswith(("http://", "https://"))
        pattern = any(c in path for c in "*?[") and not web
        matched = system.glob(path, detail=True) if pattern else {}
        files = [name for name, about in matched.items() if about["type"] != "directory"]
        found = sorted(files or matched) if pattern else [path]
        manifest: Manifest | None = None
        if len(found) == 1 and system.isdir(found[0]):
            listed = sorted(system.ls(found[0], detail=False))
            if any(name.rpartition("/")[2] == MANIFEST for name in listed):
                folder = found[0].rstrip("/")
                manifest = parse_manifest(system.cat_file(f"{folder}/{MANIFEST}"), where)
                if manifest.publication:
                    return _from_published_run(where.rstrip("/"))
                if not manifest.complete:
                    raise InputError(
                        f"{where}: its files are being written, or their export broke off; wait "
                        "for its end, or run that export again with --replace"
                    )
                listed = [f"{folder}/{name}" for name in sorted(manifest.files)]
            data = [p for p in listed if ending_of(Path(p))]
            found = data or [p for p in listed if is_document(Path(p))]
        # The place of each: names may be equal, as those of several folders.
        first = len(list(_folder().iterdir()))
        names = [Path(urlsplit(remote).path if web else remote).name for remote in found]
        paths = [_folder() / f"{first}-{number}-{name}" for number, name in enumerate(names)]
        # Together: file systems of buckets fetch many at once.
        system.get(found, [str(path) for path in paths])
        copies = [
            (system.unstrip_protocol(remote), path)
            for remote, path in zip(found, paths, strict=True)
        ]
        if manifest is not None:
            for (address, copy), name in zip(copies, names, strict=True):
                check_copy(copy, manifest.files[name], address)
    if not copies:
        raise InputError(f"{where}: no file here ends in one of {', '.join(ENDINGS)}")
    return copies


def _from_published_run(where: str) -> list[tuple[str, Path]]:
    """Return the files of the kept rows of a run, without its other rows and its store."""
    copy = _folder() / f"{len(list(_folder().iterdir()))}-run"
    needed = ("report.json", "run.yaml", PUBLISHED.as_posix(), f"{KEPT}/")
    fetch_run(where, copy, lambda name: name.removeprefix(RUN).startswith(needed))
    run = copy / RUN
    return [(f"{where}/{p.relative_to(run).as_posix()}", p) for p in kept_files(run, where)]


def is_hub(where: str) -> bool:
    """Tell whether `where` is a dataset on the Hub."""
    return where.startswith("hub://")


def hub_name(where: str) -> str:
    """Return the dataset's name in `hub://org/name[:config][@split]`."""
    match = _HUB.fullmatch(where)
    if match is None:
        raise UsageError(f"{where}: a dataset on the Hub is hub://org/name[:config][@split]")
    return match["name"]


def load_hub(where: str, usual: str = "train") -> Any:
    """Load `hub://org/name[:config][@split]`; without a split, the only one or the usual one."""
    name, match = hub_name(where), _HUB.fullmatch(where)
    assert match is not None, "it has a name"
    import datasets

    try:
        found = datasets.load_dataset(name, match["config"], split=match["split"])
    except Exception as error:
        # The Hub's client raises errors of many packages.
        said = without_secrets(f"{type(error).__name__}: {error}")
        raise InputError(f"{where}: cannot be loaded: {said}") from None
    return split_of(found, where, f"{where}@SPLIT", usual) if isinstance(found, dict) else found


def split_of(found: Mapping[str, Any], where: str, choice: str, usual: str = "train") -> Any:
    """Return the usual split of a dataset, or the only one.

    Raises:
        InputError: it has several others; the message says how to choose.
    """
    if len(found) > 1 and usual not in found:
        raise InputError(f"{where}: has the splits {', '.join(found)}; choose one: {choice}")
    return found[usual] if usual in found else next(iter(found.values()))
