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

from curate.errors import CurateError, InputError, UsageError
from curate.read.documents import is_document
from curate.read.lines import BOM
from curate.read.packed import MAGIC
from curate.read.paths import ENDINGS, ending_of, expand
from curate.system.credentials import holds_credentials, without_secrets
from curate.system.proxy import proxy_of

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
    if holds_credentials(where):
        # The address itself would end up in run.yaml and in messages.
        parts = urlsplit(where)
        raise UsageError(
            f"{parts.scheme}://{parts.hostname}/...: an address must not hold credentials; "
            "give them in the environment, as the file system's package reads them"
        )
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
    import fsspec

    try:
        web = where.startswith(("http://", "https://"))
        options = {"client_kwargs": {"proxy": proxy_of(where)}} if web else {}
        system, path = fsspec.core.url_to_fs(where, **options)
        found = sorted(system.glob(path)) if any(c in path for c in "*?[") else [path]
        if len(found) == 1 and system.isdir(found[0]):
            listed = sorted(system.ls(found[0], detail=False))
            data = [p for p in listed if ending_of(Path(p))]
            found = data or [p for p in listed if is_document(Path(p))]
        copies = []
        for number, remote in enumerate(found):
            copy = _folder() / f"{len(list(_folder().iterdir()))}-{number}-{Path(remote).name}"
            system.get_file(remote, str(copy))
            copies.append((system.unstrip_protocol(remote), copy))
    except ImportError as error:
        raise UsageError(f"{where}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{where}: no such file") from error
    except CurateError:
        raise
    except Exception as error:
        # Every file system has errors of its own, of no common class. Neither its message nor its
        # chain is kept as it is: they may quote headers.
        said = without_secrets(f"{type(error).__name__}: {error}")
        raise InputError(f"{where}: cannot be read: {said}") from None
    if not copies:
        raise InputError(f"{where}: no file here ends in one of {', '.join(ENDINGS)}")
    return copies


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
