"""The reference has an example of every step, and each can be read as a recipe."""

from __future__ import annotations

import pytest

from curate.cli.reference import step_examples
from curate.errors import MissingExtra
from curate.pipeline import Pipeline
from curate.recipe import catalog
from curate.system.plain_yaml import parse

OWN = [op.name for op in catalog.operators().values() if op.distribution == "curate-align"]


@pytest.mark.parametrize("name", OWN)
def test_every_step_has_an_example_that_is_a_recipe(name: str) -> None:
    text = step_examples()[name]
    steps = parse(text, "example").data["steps"]
    assert name in [next(iter(step)) if isinstance(step, dict) else step for step in steps]
    try:
        pipeline = Pipeline.from_yaml(text)
    except MissingExtra as error:
        pytest.skip(str(error))
    for step in pipeline.steps:
        step.check()


def test_every_field_of_a_step_is_described() -> None:
    lacking = [
        f"{name}.{field['name']}"
        for name in OWN
        for field in catalog.describe(catalog.find(name))["fields"]
        if not field["doc"]
    ]
    assert lacking == []
