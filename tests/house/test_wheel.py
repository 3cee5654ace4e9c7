"""The built wheel works in an environment that has no checkout."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.environments import core_environment, outcome, output
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
    """Return a fresh environment with the wheel and the packages of the core, without any extra."""
    home = tmp_path_factory.mktemp("environment")
    python = core_environment(home)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--quiet", wheel], check=True, capture_output=True)
    return home


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
    where = output([installed / "bin" / "python", "-c", show], tmp_path)
    assert Path(where).is_relative_to(installed)


def test_the_command_helps_and_lists_steps(installed: Path, tmp_path: Path) -> None:
    curate = installed / "bin" / "curate"
    assert "filter" in output([curate, "--help"], tmp_path)
    steps = json.loads(output([curate, "steps", "--json"], tmp_path))
    assert {"length", "near", "top"} <= {step["name"] for step in steps}


def test_it_filters_rows(installed: Path, tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "output": "word " * n} for n in range(10)]
    (tmp_path / "ten.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curate = installed / "bin" / "curate"
    output([curate, "filter", "ten.jsonl", "length:min=5", "-o", "kept.jsonl"], tmp_path)
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert len(kept) == 5
    report = json.loads((tmp_path / "runs" / "kept" / "report.json").read_text())
    assert (report["in"], report["kept"], report["dropped"]) == (10, 5, 5)


def test_it_finds_the_ready_recipe_and_its_data(installed: Path, tmp_path: Path) -> None:
    curate = installed / "bin" / "curate"
    output([curate, "run", "quickstart", "--limit", "200", "-o", "runs/quick"], tmp_path)
    report = json.loads((tmp_path / "runs" / "quick" / "report.json").read_text())
    assert report["in"] == 200


def test_a_missing_extra_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Say yes.", "output": "Yes."}\n' * 2)
    curate = installed / "bin" / "curate"
    for step, extra in {"language": "language", "semantic:similarity=0.9": "vectors"}.items():
        done = outcome([curate, "filter", "rows.jsonl", step, "-o", "kept.jsonl"], tmp_path)
        assert done.returncode == 2
        assert f"pip install 'curate-align[{extra}]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_doctor_tells_what_each_extra_lacks(installed: Path, tmp_path: Path) -> None:
    said = output([installed / "bin" / "curate", "doctor"], tmp_path)
    lines = {line.split()[2]: line for line in said.splitlines() if "extra " in line}
    assert "needs torch" not in lines["language"]
    for extra in ("vectors", "local", "language", "all"):
        assert lines[extra].startswith("off"), lines[extra]
        assert f"pip install 'curate-align[{extra}]'" in lines[extra]
