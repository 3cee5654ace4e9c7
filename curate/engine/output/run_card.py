"""The two files that describe a run: `run.yaml` for later runs, the dataset card for people."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
import time
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import yaml

from curate.engine.options import DEFAULT_STORE, RunOptions
from curate.read import Inputs
from curate.recipe.catalog import summary_of
from curate.row import printable
from curate.runs.report import public_name, public_recipe, render
from curate.system import plain_yaml

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe

_PACKAGES = (
    "curate-align", "pyarrow", "numpy", "numba", "pandas", "datasets", "openai", "torch",
    "sentence-transformers", "faiss-cpu",
)  # fmt: skip


def describe_run(recipe: Recipe, opened: Inputs, options: RunOptions, began: float) -> str:
    """Return `run.yaml`: the resolved recipe, the inputs' fingerprints, versions and times."""
    data = {
        "recipe": plain_yaml.load(recipe.to_yaml(partial=True)),
        "labels": [step.title for step in recipe.steps],
        "inputs": opened.fingerprint(),
        "data": data_digests(recipe),
        "seed": recipe.seed,
        "options": {
            "limit": options.limit,
            "max_cost": options.max_cost,
            "max_requests": options.max_requests,
            "store": str((options.store or DEFAULT_STORE).absolute()),
            "shape": options.shape,
        },
        "versions": dict(_versions()),
        "began": _stamp(began),
        "ended": _stamp(time.time()),
    }
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


@functools.cache
def _versions() -> Mapping[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def data_digests(recipe: Recipe) -> dict[str, str]:
    """Return digests of what steps read besides their rows (test sets), by their labels."""
    read = {s.title: found for s in recipe.steps if (found := s.data_digest()) is not None}
    files = {s.address: s.file_digest for s in recipe.steps if s.address and s.file_digest}
    return {**read, **files}


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def card(recipe: Recipe, opened: Inputs, summary: Mapping[str, Any]) -> str:
    """Return the dataset card: what went in, what each step did and why, how to do it again."""
    # What each step does, and whose method it is.
    cells = [
        [f"`{step.title}`", summary_of(type(step)), type(step).source] for step in recipe.steps
    ]
    rows = ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells]
    steps = "\n".join(["| step | what it does | method |", "|---|---|---|", *rows])
    files = opened.fingerprint()
    sources = "\n".join(
        f"- `{printable(public_name(entry['file']))}` ({entry['shape']}, {entry['size']:,} bytes, "
        f"xxh3-128 `{entry['digest']}`)"
        for entry in files
    )
    configs = [{"config_name": "default", "data_files": "kept/*/*.parquet"}]
    head = yaml.safe_dump({"tags": ["curate"], "configs": configs}, sort_keys=False)
    known = public_recipe(plain_yaml.load(recipe.to_yaml(partial=True)))
    text = yaml.safe_dump(known, sort_keys=False, allow_unicode=True).rstrip()
    # What has no name is called after the files that it was made from, if they are few.
    names = [printable(PurePath(entry["file"]).name) for entry in files]
    origin = " and ".join(names) if len(names) < 3 else f"{len(names)} files"
    title = recipe.name or (f"Made from {origin}" if names else "A dataset")
    sides = ""
    if any(step.name == "split" for step in recipe.steps):
        sides = (
            "\n`kept/` has the rows of both sides of the split, and whoever loads this folder as a "
            "dataset trains on the test rows, too: `curate export RUN --split train` writes one "
            "side, and `curate push` sends them as the splits `train` and `test`.\n"
        )
    return (
        f"---\n{head}---\n\n# {title}\n\n"
        "Made by `curate`: every row of `kept/`, `used/`, "
        f"`dropped/` and `failed/` is explained in `ledger/`.\n{sides}\n"
        f"## Sources\n\n{sources or 'Rows in memory.'}\n\n## Steps\n\n{steps}\n\n"
        f"## Funnel\n\n```text\n{render(summary)}\n```\n\n"
        f"## Recipe\n\n```yaml\n{text}\n```\n\n"
        "Versions, seed and fingerprints are in `run.yaml`.\n"
    )
