"""Find the files that an input names, and tell by name and first bytes how each is read."""

from __future__ import annotations

import contextlib
import difflib
import glob
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import InputError, NoRows, UsageError
from curate.read.documents import documents_in, is_document
from curate.read.finished_runs import ROWS, is_published, is_run, kept_files
from curate.read.lines import BOM
from curate.read.packed import BROKEN, MAGIC, open_packed
from curate.read.tables import is_flan
from curate.system.package_data import DOCUMENTS, shipped

TEXTS = {
    ".jsonl": ".jsonl",
    ".ndjson": ".jsonl",
    ".json": ".json",
    ".csv": ".csv",
    ".tsv": ".tsv",
    ".xml": ".xml",
}
TABLES = (".parquet", ".arrow")
ENDINGS = (*TEXTS, *TABLES)
_ALLOWED = (
    f"{', '.join(ENDINGS)}; the texts also packed, with {', '.join(MAGIC.values())} behind; or is "
    f"a document ({', '.join(DOCUMENTS)})"
)
_TABLE_MAGIC = {b"PAR1": ".parquet", b"ARROW1": ".arrow"}
_POINTER = b"version https://git-lfs.github.com/spec/"
# What lies beside the data in folders of `datasets` and of the Hub.
_ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}\.(?:parquet|arrow|jsonl(?:\.\w+)?)")


class _Ending(NamedTuple):
    """How a file's name ends: the form that it names, and how it is packed."""

    text: str
    form: str
    packing: str


def expand(where: str) -> list[Path]:
    """Return the files that a path, a folder or a pattern names, in the order of their bytes."""
    if not where.strip():
        # An unset variable of the shell must not mean the working folder.
        raise InputError("the input's path is empty; give a file, a folder or a pattern")
    where = shipped(where)
    path = Path(where)
    if path.is_dir():
        return _in_folder(path, where)
    if path.exists():
        return [path]
    if glob.has_magic(where):
        matches = sorted(glob.glob(where, recursive=True), key=os.fsencode)
        if matches:
            return [Path(match) for match in matches]
        raise InputError(f"{where}: no file matches")
    if not path.parent.is_dir():
        raise InputError(f"{where}: no such file; there is no folder {path.parent}")
    if path.is_symlink():
        raise InputError(f"{where}: a link to {os.readlink(path)}, where there is no file")
    names = {p.name.lower(): p.name for p in sorted(path.parent.iterdir())}
    # Equal endings alone make names similar; the usual 0.6 would name any file.
    near = difflib.get_close_matches(path.name.lower(), names, 1, 0.75)
    meant = f"; did you mean {path.parent / names[near[0]]}?" if near else ""
    raise InputError(f"{where}: no such file{meant}")


def _in_folder(path: Path, where: str) -> list[Path]:
    """Return the files of a folder: what `save_to_disk` listed there, or those of one split.

    Of a run they are those of its kept rows.
    """
    if is_run(path):
        return kept_files(path, where)
    if (path / "dataset_dict.json").is_file():
        splits = _json(path / "dataset_dict.json").get("splits", [])
        return _in_folder(path / _split(splits, where, f"{where}/SPLIT"), where)
    if (path / "state.json").is_file() and "_data_files" in (state := _json(path / "state.json")):
        return [path / entry["filename"] for entry in state["_data_files"]]
    found = [
        p
        for p in sorted(path.iterdir(), key=os.fsencode)
        # Hidden files are not data: what editors and macOS ("._rows.jsonl") leave beside it.
        if ending_of(p) and p.name not in _ABOUT and not p.name.startswith(".")
    ]
    if not found and (path / "data").is_dir():
        return _in_folder(path / "data", where)
    found = found or documents_in(path)
    if not found:
        raise InputError(f"{where}: no file here ends in one of {_ALLOWED}")
    if is_document(found[0]):
        return found
    shards = [_SHARD.fullmatch(p.name) for p in found]
    splits = list(dict.fromkeys(shard["split"] for shard in shards if shard))
    if all(shards) and len(splits) > 1:
        pattern = f"{path}/SPLIT-*"
        split = _split(splits, where, pattern)
        return [p for p, shard in zip(found, shards, strict=True) if shard and shard[1] == split]
    return found


def _json(path: Path) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _split(splits: Any, where: str, pattern: str) -> str:
    """Return the only split, or the usual one."""
    names = [str(name) for name in splits] if isinstance(splits, list) else []
    if len(names) == 1 or "train" in names:
        return "train" if "train" in names else names[0]
    found = f"has the splits {', '.join(names)}" if names else "has no split"
    raise InputError(f"{where}: {found}; choose one: {pattern}")


def ending_of(path: Path) -> str | None:
    """Return the known ending of a file's name, with that of its packing."""
    found = _ending_of(path)
    return found.text if found else None


def _ending_of(path: Path) -> _Ending | None:
    packing = next((p for p in MAGIC.values() if path.name.endswith(p)), "")
    name = path.name.removesuffix(packing)
    text = next((ending for ending in TEXTS if name.endswith(ending)), None)
    if text is not None:
        return _Ending(text + packing, TEXTS[text], packing)
    table = next((ending for ending in TABLES if name.endswith(ending)), None)
    return _Ending(table, table, "") if table and not packing else None


def form_of(path: Path) -> str:
    """Return how a file is to be read, by its name and its first bytes.

    It is a form with a packing behind: `.jsonl`, `.json`, `.csv`, `.tsv`, `flan`, `.parquet`,
    `.arrow`, `.xml` or `.rows` (rows that a run published), and `.gz` and the like, or nothing.
    """
    ending = _ending_of(path)
    if ending is None:
        raise UsageError(f"{path}: cannot tell its format; allowed endings: {_ALLOWED}")
    with open(path, "rb") as file:
        head = file.read(4096)
    if not head.removeprefix(BOM).strip():
        # What is packed or a table has a header even without rows: of that something is lost.
        error = NoRows if ending.form in TEXTS.values() and not ending.packing else InputError
        raise error(f"{path}: the file is empty")
    if head.startswith(_POINTER):
        raise InputError(
            f"{path}: this is a Git LFS pointer, not the data itself; fetch it in its clone with "
            "git lfs pull"
        )
    table = next((form for magic, form in _TABLE_MAGIC.items() if head.startswith(magic)), None)
    packed = next((packing for magic, packing in MAGIC.items() if head.startswith(magic)), "")
    expected = {ending.form} if ending.form in TABLES else {None}
    # Arrow's streams have no magic bytes, only those of their first message.
    stream = ending.form == ".arrow" and head.startswith(b"\xff\xff\xff\xff")
    if (table not in expected and not stream) or packed != ending.packing:
        real = table or (f"{ending.form}{packed}" if packed else None)
        its = f"its content is {real}" if real else "but its content is not"
        raise InputError(f"{path}: its name says {ending.text}, {its}; rename the file")
    if ending.form in TABLES:
        return ROWS if ending.form == ".parquet" and is_published(path) else ending.form
    return _form_of_text(path, ending) + ending.packing


def _form_of_text(path: Path, ending: _Ending) -> str:
    """Return how a text is to be read: names do not tell lines from a whole document."""
    text = b""
    with open_packed(path, ending.packing) as file, contextlib.suppress(*BROKEN):
        while len(text) < 4096 and (block := file.read(4096 - len(text))):
            text += block
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: the file is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    text = text.removeprefix(BOM).lstrip()
    first, newline, rest = text.partition(b"\n")
    first, rest = first.rstrip(), rest.lstrip()
    form = ending.form
    if form == ".jsonl" and text.startswith(b"[") and text[1:].lstrip().startswith(b"{"):
        return ".jsonl" if first.endswith(b"]") and rest.startswith(b"[") else ".json"
    if form == ".json" and text.startswith(b"{"):
        lines = newline and first.endswith(b"}") and rest.startswith(b"{")
        return ".jsonl" if lines else ".json"
    if form == ".tsv" and is_flan(text.decode("utf-8", "replace")):
        return "flan"
    return form
