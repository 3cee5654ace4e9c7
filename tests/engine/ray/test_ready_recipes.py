"""Every ready recipe gives the bytes on a cluster of two nodes that it gives on one machine."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline, Result
from curate.recipe.recipe import DEFAULT_ENCODER
from curate.system.package_data import recipes

from .conftest import TwoNodes, same
from .copying_model import CopyingModel

pytestmark = pytest.mark.slow

# Recipes that cannot be run so, each with the reason: none.
CANNOT: dict[str, str] = {}
ROWS = 20


@pytest.fixture(scope="module")
def joined(cluster: TwoNodes) -> Iterator[str]:
    """Join the cluster once for all runs of this process: workers start once, too."""
    import ray

    from curate.engine.ray.joining import join

    leave = join(cluster.address)
    try:
        yield cluster.address
    finally:
        leave()
        assert not ray.is_initialized()


@pytest.fixture(scope="module")
def model() -> Iterator[CopyingModel]:
    with CopyingModel() as server:
        yield server


def small(name: str, model: CopyingModel, folder: Path) -> Pipeline:
    """Return a ready recipe with few rows, and with `model` in place of its models and encoders."""
    recipe = Pipeline.from_yaml(recipes()[name])
    mapping = model.mapping(folder)
    models = {
        key: {**({} if isinstance(given, str) else given), **mapping}
        for key, given in (recipe.models or {}).items()
    }
    encoders = {key: mapping for key in recipe.encoders or DEFAULT_ENCODER}
    steps = tuple(
        dataclasses.replace(step, count=min(step.count, ROWS)) if step.name == "sample" else step
        for step in recipe.steps
    )
    if not models:
        steps = recipe.steps
    return dataclasses.replace(recipe, models=models or None, encoders=encoders, steps=steps)


def run(recipe: Pipeline, name: str, folder: Path, **options: Any) -> Result:
    return recipe.run(
        run=folder / name, store=folder / f"{name}.store", allow_failed=1.0, **options
    )


@pytest.mark.parametrize("name", recipes())
def test_two_nodes_give_the_bytes_of_one_machine(
    name: str,
    joined: str,
    model: CopyingModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name in CANNOT:
        pytest.skip(CANNOT[name])
    recipe, sent, outputs = small(name, model, tmp_path), [], []
    for folder, more in (("here", {}), ("there", {"engine": "ray", "address": joined})):
        # What a recipe writes besides goes below the working folder.
        (tmp_path / f"{folder}.out").mkdir()
        monkeypatch.chdir(tmp_path / f"{folder}.out")
        model.forget()
        done = run(recipe, folder, tmp_path, **more)
        assert done.exit_code in (0, 4), done.message
        assert done.summary["requests"]["sent"] == len(model.received)
        sent.append(Counter(model.asked()))
        outputs.append({p.name: p.read_bytes() for p in Path().rglob("*.jsonl")})
    same(tmp_path, "here", "there")
    assert sent[0] == sent[1]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == len(recipe.outputs or ())
    if recipe.models:
        assert done.summary["requests"]["sent"] > 0


def test_no_recipe_is_left_out() -> None:
    assert len(recipes()) >= 38
    assert CANNOT == {}
