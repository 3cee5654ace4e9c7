"""The kept rows of a finished run as an input: what a dataset that grows is compared with.

They are rows already, so they are read as they stand, and those that the run had read keep their
ids; what its steps said of them (scores, notes) stays behind, and so do the parents of made rows.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import InputError, RecipeError
from curate.read.part import Part, PartRows, Read
from curate.read.strict_json import describe
from curate.row import KINDS
from curate.system import plain_yaml

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = "kept"
# Where a run notes which files of its folder are its own.
PUBLISHED = Path(".state", "published.json")
# And where the store is that it used last.
STORE_NOTE = Path(".state", "store")
# The form of such a file.
ROWS = ".rows"
# Columns of every file of rows that a run publishes, and of no dataset.
_PUBLISHED = {"id", "seq", "source", "extra", "parents", "notes"}


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a run, finished or not."""
    report = (folder / "report.json").is_file() and (folder / "run.yaml").is_file()
    return report or (folder / ".state" / "purpose.json").is_file()


def kept_files(folder: Path, where: str) -> list[Path]:
    """Return the files of the kept rows of a run, kind by kind.

    Raises:
        InputError: the run has not finished, or kept nothing.
    """
    if not (folder / "report.json").is_file():
        raise InputError(
            f"{where}: the run has not finished, so it has no kept rows yet; run its command again"
        )
    found = published_files(folder / KEPT)
    if not found:
        raise InputError(f"{where}: the run kept no row; curate report {where} says why")
    return found


def description_of(run: Path) -> dict[str, Any]:
    """Return what the `run.yaml` of a run says: its recipe, the inputs that it read, versions.

    Raises:
        InputError: it is damaged, or of no run.
    """
    file = run / "run.yaml"
    try:
        found = plain_yaml.load(file.read_text(encoding="utf-8"), file.name)
    except (OSError, UnicodeDecodeError, RecipeError) as error:
        raise _damaged(file, str(error)) from error
    entries = found.get("inputs") if isinstance(found, dict) else None
    if not isinstance(entries, list) or not isinstance(found.get("recipe"), dict):
        raise _damaged(file, "it must be a mapping with `recipe` and `inputs`")
    for entry in entries:
        named = isinstance(entry, dict) and all(
            isinstance(entry.get(key), str) for key in ("input", "file", "shape")
        )
        if not named:
            raise _damaged(file, "each of `inputs` must have an input, a file and a shape")
    # The store of a run that came from elsewhere is where it was put here.
    options = found.get("options")
    if isinstance(options, dict):
        if (note := run / STORE_NOTE).is_file():
            options["store"] = note.read_text(encoding="utf-8")
        if isinstance(options.get("store"), str):
            options["store"] = str(store_now(run, Path(options["store"])))
    return dict(found)


def store_now(run: Path, noted: Path) -> Path:
    """Return where the store is that a run noted: there, or where it was moved with the run.

    Both lie below the folder of a project, which is moved as a whole. Other projects' stores have
    the same name: one with which the run has never spent is none of its own.
    """
    # `Path.is_file` fails in a folder that this user may not enter.
    if os.path.isfile(noted / "store.db"):
        return noted
    # The file is that of `RunFolder.spending`, and the ids are those of `FolderSpending`.
    state = run / ".state"
    try:
        shared = state / "spending-in"
        root = shared.read_text(encoding="utf-8") if shared.is_file() else "."
        own = set(json.loads((state / root / "spending.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return noted
    sql = "SELECT text FROM small_values WHERE kind = 'store' AND key = 'id'"
    for folder in run.absolute().parents:
        path = folder / noted.name / "store.db"
        if not os.path.isfile(path):
            continue
        with contextlib.suppress(sqlite3.Error):
            there = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
            with contextlib.closing(there):
                if not own.isdisjoint(name for (name,) in there.execute(sql)):
                    return path.parent
    return noted


def note_of(file: Path) -> dict[str, Any]:
    """Return the mapping that a run wrote to a JSON file of its own.

    Raises:
        InputError: it is damaged.
    """
    found = read_note(file)
    if not isinstance(found, dict):
        raise _damaged(file, "it must be an object")
    return found


def read_note(file: Path) -> Any:
    """Return what a run wrote to a JSON file of its own."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, describe(error)) from error


def _damaged(file: Path, why: str) -> InputError:
    return InputError(f"{file} is damaged ({why}); restore it, or run the recipe again")


def published_files(folder: Path) -> list[Path]:
    """Return the Parquet files below a section of a run's folder, in order, that its run wrote.

    A finished run has noted them: what somebody else put there is no part of it. Where there is no
    note (the run is under way, or of an earlier version), all files count.
    """
    found = sorted(folder.rglob("*.parquet"))
    parents = folder.absolute().parents
    run = next((p for p in parents[:2] if (p / "report.json").is_file()), None)
    own = None if run is None else _own_files(run)
    if run is None or own is None:
        return found
    return [path for path in found if path.absolute().relative_to(run).as_posix() in own]


def _own_files(run: Path) -> frozenset[str] | None:
    """Return the files that a finished run wrote; `None` where it noted none, so that all count."""
    note = run / PUBLISHED
    if not note.is_file() or not (run / "report.json").is_file():
        return None
    return _noted(note, note.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _noted(note: Path, when: int) -> frozenset[str]:
    """Return the files that a note names; `when` it was written, since it is read once."""
    named = read_note(note)
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise _damaged(note, "it must be a list of the run's files")
    return frozenset(named)


def run_of(file: str) -> Path | None:
    """Return the folder of the run to which a file of kept rows belongs, if it does."""
    path = Path(file)
    if len(path.parts) < 4 or path.parents[1].name != KEPT:
        return None
    run = path.parents[2]
    own = _own_files(run)
    is_own = own is None or path.relative_to(run).as_posix() in own
    return run if (run / "run.yaml").is_file() and is_own else None


def is_published(path: Path) -> bool:
    """Tell whether a Parquet file holds rows of a run."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return set(pq.read_schema(path).names) >= _PUBLISHED
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        # Whoever reads it will say so.
        return False


def shape_of(path: Path) -> str:
    """Return the shape in which rows of a run's file leave.

    It is that in which they came, where the run read one shape and made no row, else the natural
    one of their kind.

    Raises:
        InputError: they are of several kinds, as failed ones are.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from curate.read.shapes import shape

    kind, run = path.parent.name, run_of(str(path.absolute()))
    if kind not in KINDS:
        raise InputError(
            f"{path}: rows of a run lie in a folder of their kind ({', '.join(KINDS)}), these in "
            f"'{kind}'; give the run's own folder to read its kept rows"
        )
    natural = "messages" if kind == "sft" else kind
    if run is None:
        return natural
    names = {entry["shape"] for entry in description_of(run)["inputs"]}
    form = shape(names.pop()) if len(names) == 1 else None
    if form is None or form.kind != kind:
        return natural
    if form.grouped or form.instances or form.for_reading:
        return natural
    try:
        places = pc.list_value_length(pq.read_table(path, columns=["seq"]).column("seq"))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, str(error)) from error
    # A row that was read has three numbers; what steps make adds its own.
    return natural if (pc.max(places).as_py() or 0) > 3 else form.name


def published_rows(part: Part) -> PartRows:
    """Return rows of a run as they stand."""
    import numpy as np
    import pyarrow as pa

    from curate.chunk import FIELDS, one_array

    table, kind = part.data, Path(part.path).parent.name
    count = table.num_rows
    columns = {
        "source": pa.repeat(pa.scalar(part.source, pa.string()), count),
        "kind": pa.repeat(pa.scalar(kind, pa.string()), count),
    }
    for name in (*KINDS[kind], "extra"):
        try:
            columns[name] = one_array(table.column(name)).cast(FIELDS.get(name, pa.string()))
        except (KeyError, pa.ArrowException) as error:
            raise _damaged(Path(part.path), f"its column '{name}' is of no run: {error}") from error
    return PartRows(pa.table(columns), np.arange(count), count, 0, [])


def items_of(path: Path, tables: Iterable[pa.Table]) -> Iterator[Read]:
    """Yield rows of a run as items of a test set: what is asked, and what is answered."""
    import pyarrow as pa

    from curate.chunk import rows_of

    for table in tables:
        kinds = pa.repeat(pa.scalar(path.parent.name, pa.string()), table.num_rows)
        for row in rows_of(table.append_column("kind", kinds)):
            yield Read({"question": row.instruction, "answer": row.response})
