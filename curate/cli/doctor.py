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

# Below this, a run of a few million rows may not fit.
LITTLE_ROOM = 2 << 30
SHOWN = ("curate-align", "numpy", "pyarrow", "numba", "pandas", "datasets", "aiohttp", "torch")
OK, OFF, LOOK, BROKEN = "ok", "off", "look", "broken"
Finding = tuple[str, str, str]


def command(
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", help="The folder of stored replies.")
    ] = DEFAULT_STORE,
    debug: Debug = False,
) -> None:
    """Check the installation, the machine and the store."""
    from curate.cli.text_layout import table

    findings = [*_installed(), *_machine(), *_store(store)]
    # The names of keys, never their values.
    keys = sorted(n for n in os.environ if n.endswith("_API_KEY") or n in ("HF_TOKEN",))
    findings.append(
        (OK, "keys", ", ".join(keys) or "none in the environment (local models need none)")
    )
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
    """Yield versions of packages, extras (an incomplete one is no fault) and operators."""
    import re
    from importlib.metadata import requires

    from curate.recipe import catalog
    from curate.system.package_data import install_command

    yield OK, "python", f"{sys.version.split()[0]} ({sys.executable})"
    for name in SHOWN:
        found = _version(name)
        # Only the models that run in this process need it.
        needed = name != "torch"
        yield OK if found or not needed else BROKEN, name, found or "not installed"

    wanted: dict[str, list[str]] = {}
    for requirement in requires("curate-align") or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        package = re.match(r"[\w.-]+", requirement)
        if extra and package:
            wanted.setdefault(extra.group(1), []).append(package.group())
    for name, packages in wanted.items():
        absent = [package for package in packages if _version(package) is None]
        said = f"needs {', '.join(absent)}: {install_command(name)}"
        yield OFF if absent else OK, f"extra {name}", said if absent else "installed"

    steps, problems = catalog.usable()
    for problem in problems:
        yield BROKEN, "steps", str(problem)
    yield OK, "steps", f"{len(steps)} operators"


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield OK, "cpu", f"{cores} cores"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield OK, "memory", f"{memory / 2**30:.1f} GiB"
    room = shutil.disk_usage(Path.cwd())
    yield OK if room.free >= LITTLE_ROOM else LOOK, "disk", f"{room.free / 2**30:.1f} GiB free here"


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
