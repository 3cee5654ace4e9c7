"""Python environments with the packages of the core only, made of links to those installed here."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.places import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def names_of(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that requirements name, without what those require themselves."""
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def closure(names: Iterable[str]) -> set[str]:
    """Return the installed distributions that `names` bring along, extras of theirs included."""
    found: set[str] = set()
    left = [Requirement(name) for name in names]
    while left:
        wanted = left.pop()
        try:
            distribution = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        name = canonicalize_name(wanted.name)
        if name in found and not wanted.extras:
            continue
        found.add(name)
        for text in distribution.requires or ():
            inner = Requirement(text)
            asked = ["", *wanted.extras]
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in asked):
                left.append(inner)
    return found


def core_environment(home: Path) -> Path:
    """Make an environment with the core's packages and what they bring; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    site = Path(output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))
    for name in closure(PROJECT["dependencies"]):
        distribution = importlib.metadata.distribution(name)
        # Scripts and data lie above the folder of packages; nothing here needs them.
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in tops:
            link, target = site / top, Path(str(distribution.locate_file(top)))
            if target.exists() and not link.exists():
                link.symlink_to(target)
    return python


def output(command: Iterable[object], cwd: Path | None = None) -> str:
    """Run a command that must succeed, without this environment's Python settings."""
    done = outcome(command, cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def outcome(command: Iterable[object], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as a user of the environment would, far from any cache of the Hub."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HF_"))}
    if cwd is not None:
        environment["HF_HOME"] = str(cwd / "no-hub-cache")
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
