"""A fresh clone installs the same everywhere, and says nothing about one machine."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What belongs to one machine or one workplace: home folders and package indexes.
PRIVATE = re.compile(
    r"(?<![\w.~])/(?:home|root|work|Users)/\w|--(?:extra-)?index-url|find-links|/simple/"
)


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def wanted() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    texts = PROJECT["dependencies"] + [t for name in extras if name != "vllm" for t in extras[name]]
    found = [Requirement(text) for text in texts]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def tracked_files() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def private_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    return [f"{path.name}:{n}" for n, line in enumerate(lines, 1) if PRIVATE.search(line)]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_every_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    pin = pins()[canonicalize_name(requirement.name)]
    (exact,) = pin.specifier
    assert exact.operator == "=="
    assert requirement.specifier.contains(exact.version)


def test_torch_is_the_pinned_build() -> None:
    assert str(pins()["torch"]) == "torch==2.13.0"
    assert not [r for r in pins().values() if "+" in str(r)], "a local build cannot be installed"


def test_files_say_nothing_about_a_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout to know which files are the project's")
    here = Path(__file__)
    assert [line for p in tracked_files() if p != here for line in private_lines(p)] == []


def test_private_lines_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_text("cd /home/ann/x\npip --index-url y\nfine /usr/bin\nruns/work/x\n")
    assert private_lines(page) == ["page:1", "page:2"]


def test_the_checks_of_a_change_are_a_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()
