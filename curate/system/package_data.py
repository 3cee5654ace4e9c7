"""The files that come with the package: prompts, ready recipes and their example data.

A checkout keeps them at its root, where people read and change them; the wheel carries the same
folders inside the package. The price of two places is this module: nobody else asks where they are.
"""

from __future__ import annotations

import difflib
import functools
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from curate.errors import MissingExtra, UsageError

PACKAGE = Path(__file__).resolve().parents[1]
# What a recipe is never called, though every JSON text is YAML.
_TEXTS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_PACKED = ("", ".gz", ".zst", ".xz", ".bz2")
# Files of prose, each of which is one row.
DOCUMENTS = (".txt", ".md", ".markdown", ".html", ".htm", ".pdf")
_DATA = (
    *DOCUMENTS,
    *(text + packed for text in _TEXTS for packed in _PACKED),
    ".parquet",
    ".arrow",
)
Folder = Literal["prompts", "pipelines"]


@functools.cache  # steps ask for every row
def folder(name: Folder) -> Path:
    """Return the folder `name` of the installed package, or of the checkout it runs from."""
    installed = PACKAGE / "_data" / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def install_command(extra: str) -> str:
    """Return the command that installs an extra here: of the checkout, where there is one."""
    root = PACKAGE.parent
    if not (root / "constraints.txt").is_file() or not (root / "pyproject.toml").is_file():
        return f"pip install 'curate-align[{extra}]'"
    here = root == Path.cwd()
    constraints = "constraints.txt" if here else shlex.quote(str(root / "constraints.txt"))
    place = "." if here else str(root)
    return f"pip install -c {constraints} -e {shlex.quote(f'{place}[{extra}]')}"


def require_extra(extra: str, what: str, *modules: str) -> None:
    """Raise `MissingExtra`, with the command that installs it, where a module of `extra` is absent.

    Only top-level names are looked up, and nothing is imported: these packages take seconds.
    """
    absent = [name for name in modules if find_spec(name.partition(".")[0]) is None]
    if absent:
        raise MissingExtra(
            f"{what} needs {', '.join(absent)}, which is not installed; install it with: "
            f"{install_command(extra)}"
        )


def recipes() -> dict[str, Path]:
    """Return the ready recipes by name."""
    return {path.stem: path for path in sorted(folder("pipelines").glob("*.yaml"))}


def names_rows(given: str) -> bool:
    """Tell whether `given` is rows and no recipe: data by its ending, a folder, an address."""
    return given == "-" or "://" in given or given.endswith(_DATA) or Path(given).is_dir()


def recipe(given: str | Path) -> Path:
    """Return the recipe file at `given`, or the ready recipe of that name."""
    path = Path(given)
    if path.is_file():
        if path.name.endswith(_DATA):
            raise UsageError(
                f"{given} is data, not a recipe; name it in a recipe's `inputs`, or give it steps "
                f"(`curate steps` lists them): curate filter {given} STEP... -o OUT.jsonl"
            )
        return path
    ready = recipes()
    # `quickstart`, `quickstart.yaml` and `pipelines/quickstart.yaml` all mean the ready one: a
    # command copied from the documentation works without a checkout.
    named = path.parent.name in ("", "pipelines") and path.suffix in ("", ".yaml", ".yml")
    if named and path.stem in ready:
        return ready[path.stem]
    near = difflib.get_close_matches(path.stem, ready, 1, 0.75) if named else []
    if near:
        raise UsageError(f"there is no recipe '{given}'; did you mean '{near[0]}'?")
    if path.suffix or path.parent.name:
        # The ready ones are nothing to somebody whose own file is not where it was looked for.
        raise UsageError(
            f"there is no recipe '{given}': no such file; a ready recipe is given by its name "
            "alone, such as quickstart"
        )
    raise UsageError(
        f"there is no recipe '{given}'; give the path of a YAML file or one of the ready recipes: "
        f"{', '.join(ready) or 'none are installed'}"
    )


def shipped(given: str) -> str:
    """Return `given`, or the file of the package that it names where there is none of the user's.

    Ready recipes name their data as a checkout has it, `pipelines/data/tasks.jsonl.gz`; without a
    checkout the same words mean the package's own copy.
    """
    first, _, rest = given.partition("/")
    if first != "pipelines" or Path(given).exists():
        return given
    own = folder("pipelines") / rest
    return str(own) if own.exists() else given
