"""The built wheel works in an environment that has no checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.house.places import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh environment with the wheel, borrowing only the third-party packages here."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    site = Path(_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--quiet", wheel], check=True, capture_output=True)
    # Appended to the path by hand: a folder in a .pth file is not read for further .pth files, so
    # the editable checkout, which is one, stays out of sight.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def _output(command: list[object], cwd: Path | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def test_it_carries_recipes_data_and_licences(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = "curate/_data/pipelines"
    assert {f"{data}/quickstart.yaml", f"{data}/data/LICENSES.md", "curate/py.typed"} <= names
    assert {f"{data}/{path.name}" for path in (ROOT / "pipelines").glob("*.yaml")} <= names
    for path in (ROOT / "pipelines" / "data").glob("*.jsonl.gz"):
        assert f"{data}/data/{path.name}" in names
    for path in (ROOT / "curate").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names
    assert not [n for n in names if n.startswith(("tests/", "docs/", "benchmarks/"))]


def test_the_checkout_is_out_of_sight(installed: Path, tmp_path: Path) -> None:
    show = "import curate; print(curate.__file__)"
    where = _output([installed / "bin" / "python", "-c", show], tmp_path)
    assert Path(where).is_relative_to(installed)


def test_the_command_helps_and_lists_steps(installed: Path, tmp_path: Path) -> None:
    curate = installed / "bin" / "curate"
    assert "filter" in _output([curate, "--help"], tmp_path)
    steps = json.loads(_output([curate, "steps", "--json"], tmp_path))
    assert {"length", "near", "top"} <= {step["name"] for step in steps}


def test_it_filters_rows(installed: Path, tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "output": "word " * n} for n in range(10)]
    (tmp_path / "ten.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curate = installed / "bin" / "curate"
    _output([curate, "filter", "ten.jsonl", "length:min=5", "-o", "kept.jsonl"], tmp_path)
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert len(kept) == 5
    report = json.loads((tmp_path / "runs" / "kept" / "report.json").read_text())
    assert (report["in"], report["kept"], report["dropped"]) == (10, 5, 5)


def test_it_finds_the_ready_recipe_and_its_data(installed: Path, tmp_path: Path) -> None:
    curate = installed / "bin" / "curate"
    _output([curate, "run", "quickstart", "--limit", "200", "-o", "runs/quick"], tmp_path)
    report = json.loads((tmp_path / "runs" / "quick" / "report.json").read_text())
    assert report["in"] == 200
