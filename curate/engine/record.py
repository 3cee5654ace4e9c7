"""The two files that describe a run: `run.yaml` for later runs, the dataset card for people."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from curate.engine.options import RunOptions
from curate.read import Inputs
from curate.report import render

if TYPE_CHECKING:
    from curate.pipeline import Pipeline

_PACKAGES = ("curate-align", "pyarrow", "numpy", "numba", "pandas", "datasets", "openai")


def describe_run(pipeline: Pipeline, opened: Inputs, options: RunOptions, began: float) -> str:
    """Return `run.yaml`: the resolved recipe, the inputs' fingerprints, versions and times."""
    data = {
        "recipe": yaml.safe_load(pipeline.to_yaml(partial=True)),
        "labels": [step.title for step in pipeline.steps],
        "inputs": opened.fingerprint(),
        "seed": pipeline.seed,
        "options": {
            "limit": options.limit,
            "max_cost": options.max_cost,
            "max_requests": options.max_requests,
            "store": str((options.store or _default_store()).absolute()),
            "shape": options.shape,
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "began": _stamp(began),
        "ended": _stamp(time.time()),
    }
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _default_store() -> Any:
    from curate.engine.accounts import DEFAULT_STORE

    return DEFAULT_STORE


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def card(pipeline: Pipeline, opened: Inputs, summary: Mapping[str, Any]) -> str:
    """Return the dataset card: what went in, what each step did, how to look further."""
    name = pipeline.name or "dataset"
    sources = "\n".join(
        f"- `{entry['file']}` ({entry['shape']}, {entry['size']:,} bytes, "
        f"xxh3-128 `{entry['digest']}`)"
        for entry in opened.fingerprint()
    )
    configs = [{"config_name": "default", "data_files": "kept/*/*.parquet"}]
    head = yaml.safe_dump({"tags": ["curate"], "configs": configs}, sort_keys=False)
    return (
        f"---\n{head}---\n\n# {name}\n\nMade by [curate](https://pypi.org/project/curate-align/): "
        f"every row of `kept/`, `used/`, `dropped/` and `failed/` is explained in `ledger/`.\n\n"
        f"## Sources\n\n{sources}\n\n## Funnel\n\n```\n{render(summary)}\n```\n\n"
        "## Recipe\n\nThe resolved recipe, versions and seeds are in `run.yaml`.\n"
    )
