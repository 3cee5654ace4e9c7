"""The JSON Schema of recipes accepts what the pipeline accepts, and is as strict about names."""

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given

from curate import Pipeline
from curate.errors import RecipeError
from curate.recipe.catalog import operators
from curate.recipe.schema import recipe_schema
from curate.system.package_data import recipes
from tests.recipe.test_recipe import PIPELINES

SCHEMA = recipe_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_a_schema_and_json() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@given(PIPELINES)
def test_what_a_pipeline_writes_is_valid(pipeline: Pipeline) -> None:
    VALIDATOR.validate(yaml.safe_load(pipeline.to_yaml()))


@pytest.mark.parametrize("name", recipes())
def test_ready_recipes_are_valid(name: str) -> None:
    data = Pipeline.from_yaml(recipes()[name]).to_data()
    VALIDATOR.validate(data)


def test_every_operator_is_in_it() -> None:
    text = json.dumps(SCHEMA)
    assert all(f'"{name}"' in text for name in operators())


def test_one_text_stands_for_a_list_of_one() -> None:
    data = {"steps": [{"keywords": {"phrases": "as an AI"}}]}
    VALIDATOR.validate(data)
    listed = {"steps": [{"keywords": {"phrases": ["as an AI"]}}]}
    assert Pipeline.from_yaml(yaml.safe_dump(data)) == Pipeline.from_yaml(yaml.safe_dump(listed))


WRONG: list[Any] = [
    {},
    {"steps": ["lenght"]},
    {"steps": [{"length": {"mn": 3}}]},
    {"steps": [{"length": {"min": "a"}}]},
    {"steps": [{"length": {"min": 3}, "near": {}}]},
    {"steps": [{"length": {"on": "answer"}}]},
    {"steps": [], "seed": "x"},
    {"steps": [], "models": {"judge": {}}},
    {"steps": [], "outputs": {"stf": "x"}},
    {"steps": [], "inputs": {"a": {}}},
    {"step": []},
]


@pytest.mark.parametrize("data", WRONG, ids=str)
def test_both_refuse_the_same(data: Any) -> None:
    assert not VALIDATOR.is_valid(data)
    with pytest.raises(RecipeError):
        Pipeline.from_yaml(yaml.safe_dump(data))
