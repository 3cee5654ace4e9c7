"""`curate doctor`: is everything here that a run needs?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.flags import Debug
from curate.engine.options import DEFAULT_STORE
from curate.system.posix import usable_memory

# Below this, a run of a few million rows may not fit.
LITTLE_ROOM = 2 << 30
SHOWN = ("curate-align", "numpy", "pyarrow", "numba", "pandas", "datasets", "aiohttp")
OK, OFF, LOOK, BROKEN = "ok", "off", "look", "broken"
Finding = tuple[str, str, str]


def command(
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", help="The folder of stored replies.")
    ] = DEFAULT_STORE,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a list of JSON: state (ok, off, look or broken), what, found."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Check the installation, the machine and the store."""
    from curate.cli.text_layout import json_text, table

    findings = list(_installed())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    findings.append((OK, "cpu", f"{cores} cores"))
    if (memory := usable_memory()) is not None:
        findings.append((OK, "memory", f"{memory / 2**30:.1f} GiB"))
    room = shutil.disk_usage(Path.cwd())
    state = OK if room.free >= LITTLE_ROOM else LOOK
    findings.append((state, "disk", f"{room.free / 2**30:.1f} GiB free here"))
    findings += _store(store)
    # The names of keys, never their values.
    keys = sorted(n for n in os.environ if n.endswith("_API_KEY") or n in ("HF_TOKEN",))
    findings.append(
        (OK, "keys", ", ".join(keys) or "none in the environment (local models need none)")
    )
    if as_json:
        names = ("state", "what", "found")
        typer.echo(json_text([dict(zip(names, one, strict=True)) for one in findings]))
    else:
        typer.echo(table(["", "what", "found"], findings))
    if any(state == BROKEN for state, _, _ in findings):
        raise typer.Exit(4)


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _installed() -> Iterator[Finding]:
    """Yield versions of packages, extras (an incomplete one is not a fault) and operators."""
    import re
    from importlib.metadata import requires

    from curate.recipe import catalog
    from curate.system.package_data import install_command

    yield OK, "python", f"{sys.version.split()[0]} ({sys.executable})"
    for name in SHOWN:
        found = _version(name)
        yield OK if found else BROKEN, name, found or "not installed"
    # Only what computes in this process needs it.
    torch = _version("torch")
    yield OK if torch else OFF, "torch", torch or "not installed; part of the extras below"

    wanted: dict[str, dict[str, None]] = {}
    for requirement in requires("curate-align") or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        package = re.match(r"([\w.-]+)(?:\[([^\]]*)\])?", requirement)
        if extra and package:
            # `all` is other extras of this package, which come before it here or after.
            own = package[1] == "curate-align"
            names = package[2].split(",") if own and package[2] else [package[1]]
            wanted.setdefault(extra[1], {}).update(dict.fromkeys(names))
    for name, packages in wanted.items():
        needed = dict.fromkeys(p for found in packages for p in wanted.get(found, [found]))
        absent = [package for package in needed if _version(package) is None]
        said = f"needs {', '.join(absent)}: {install_command(name)}"
        yield OFF if absent else OK, f"extra {name}", said if absent else "installed"

    steps, problems = catalog.usable()
    for problem in problems:
        yield BROKEN, "steps", str(problem)
    yield OK, "steps", f"{len(steps)} operators"


def _store(folder: Path) -> Iterator[Finding]:
    """Yield the state of the store; a project that never asked a model has none."""
    if not (folder / "store.db").is_file():
        yield OK, "store", f"none in {folder} yet"
        return
    from curate.errors import CurateError
    from curate.store.store import Store

    try:
        with Store.open(folder) as store:
            numbers = store.stats()
            health = str(store.read("PRAGMA quick_check")[0][0])
    except CurateError as error:
        yield BROKEN, "store", str(error)
        return
    said = f"{numbers['replies']:,} replies, {numbers['bytes'] / 2**20:.1f} MiB in {folder}"
    yield (
        OK if health == "ok" else BROKEN,
        "store",
        said if health == "ok" else f"damaged: {health}",
    )
