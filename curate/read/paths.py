"""Find the files that an input names, and tell by name and first bytes how each is read."""

from __future__ import annotations

import difflib
import glob
import os
from pathlib import Path

from curate.errors import InputError, UsageError
from curate.read.lines import BOM
from curate.read.tables import is_flan
from curate.system.package_data import shipped

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet", ".csv", ".tsv")
MAGIC = {b"\x1f\x8b": ".jsonl.gz", b"\x28\xb5\x2f\xfd": ".jsonl.zst", b"PAR1": ".parquet"}


def expand(where: str) -> list[Path]:
    """Return the files that a path, a folder or a pattern names, in the order of their bytes."""
    if not where.strip():
        # An unset variable of the shell must not mean the working folder.
        raise InputError("the input's path is empty; give a file, a folder or a pattern")
    where = shipped(where)
    path = Path(where)
    if path.is_dir():
        found = [p for p in sorted(path.iterdir(), key=os.fsencode) if ending_of(p)]
        if not found:
            raise InputError(f"{where}: no file here ends in one of {', '.join(ENDINGS)}")
        return found
    if path.exists():
        return [path]
    if glob.has_magic(where):
        matches = sorted(glob.glob(where, recursive=True), key=os.fsencode)
        if matches:
            return [Path(match) for match in matches]
        raise InputError(f"{where}: no file matches")
    raise InputError(f"{where}: no such file{_hint(path)}")


def _hint(path: Path) -> str:
    """Return what may have been meant by a path at which there is nothing."""
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    names = {p.name.lower(): p.name for p in sorted(path.parent.iterdir())}
    # Equal endings alone make names similar; the usual 0.6 would name any file.
    near = difflib.get_close_matches(path.name.lower(), names, 1, 0.75)
    return f"; did you mean {path.parent / names[near[0]]}?" if near else ""


def ending_of(path: Path) -> str | None:
    """Return the known ending of a file's name."""
    return next((e for e in sorted(ENDINGS, key=len, reverse=True) if path.name.endswith(e)), None)


def form_of(path: Path) -> str:
    """Return how a file is to be read, by its name and its first bytes."""
    ending = ending_of(path)
    if ending is None:
        raise UsageError(f"{path}: cannot tell its format; allowed endings: {', '.join(ENDINGS)}")
    with open(path, "rb") as file:
        head = file.read(4096)
    if not head.removeprefix(BOM).strip():
        raise InputError(f"{path}: the file is empty")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: the file is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    real = next((e for magic, e in MAGIC.items() if head.startswith(magic)), None)
    if real is not None and real != ending:
        raise InputError(f"{path}: its name says {ending}, its content is {real}; rename the file")
    if real is None and ending in MAGIC.values():
        raise InputError(f"{path}: its name says {ending}, but its content is not; rename the file")
    text = head.removeprefix(BOM).lstrip()
    if ending == ".jsonl" and text.startswith(b"[") and text[1:].lstrip().startswith(b"{"):
        first, _, rest = text.partition(b"\n")
        arrays = first.rstrip().endswith(b"]") and rest.lstrip().startswith(b"[")
        return ".jsonl" if arrays else ".json"
    if ending == ".tsv" and is_flan(text.decode("utf-8", "replace")):
        return "flan"
    if ending == ".json" and text.startswith(b"{") and _is_lines(text):
        return ".jsonl"
    return ending


def _is_lines(text: bytes) -> bool:
    """Tell whether a file called .json holds one object per line."""
    line, newline, rest = text.partition(b"\n")
    return bool(newline) and line.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{")
