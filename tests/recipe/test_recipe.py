"""YAML and Python are the same pipeline, and what cannot work is said before it runs."""

import copy
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.errors import MissingExtra, RecipeError
from curate.step import Filter, rule
from curate.steps import Exact, Length, Top
from curate.system.package_data import install_command
from tests.step_values import steps

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
MODELS = st.dictionaries(
    st.text("abc", min_size=1),
    st.text(min_size=1, max_size=9)
    | st.fixed_dictionaries({"model": st.text(max_size=9)}, optional={"price": JSON, "x": JSON}),
    max_size=2,
)
PIPELINES = st.builds(
    Pipeline,
    st.lists(steps(), max_size=5),
    inputs=st.none()
    | st.text(min_size=1)
    | st.dictionaries(st.text("ab", min_size=1), st.fixed_dictionaries({"path": st.text()})),
    models=st.none() | MODELS,
    encoders=st.none() | MODELS,
    outputs=st.none()
    | st.dictionaries(
        st.sampled_from(["sft", "prompt"]),
        st.text() | st.fixed_dictionaries({"path": st.text()}, optional={"shape": st.text()}),
    ),
    seed=st.integers(),
    name=st.none() | st.text(),
)


@given(PIPELINES)
def test_yaml_and_python_are_the_same_thing(pipeline: Pipeline) -> None:
    again = Pipeline.from_yaml(pipeline.to_yaml())
    assert again == pipeline
    assert hash(again) == hash(pipeline)
    assert again.to_yaml() == pipeline.to_yaml()


# Of several encoders a step has to name one, and these name none.
@given(PIPELINES.filter(lambda pipeline: len(pipeline.encoders or ()) < 2))
def test_labels_are_unique_and_settle(pipeline: Pipeline) -> None:
    resolved = pipeline.resolved()
    titles = [step.title for step in resolved.steps]
    assert len(set(titles)) == len(titles)
    assert resolved.resolved() == resolved
    assert Pipeline.from_yaml(resolved.to_yaml()) == resolved


def test_any_yaml_reader_reads_a_recipe() -> None:
    data = yaml.safe_load(Pipeline([Length(on="whole", min=3), Exact()], seed=4).to_yaml())
    assert data == {"steps": [{"length": {"on": "whole", "min": 3}}, "exact"], "seed": 4}


def test_a_pipeline_is_frozen_and_travels() -> None:
    pipeline = Pipeline([Length(min=3)], models={"judge": {"model": "x", "price": {"input": 1}}})
    with pytest.raises(AttributeError):
        pipeline.seed = 2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(pipeline)) == pipeline == copy.deepcopy(pipeline)
    assert Pipeline([Length(min=3)]) == Pipeline((Length(min=3),))
    assert Pipeline([Length(min=3)]) != Pipeline([Length(min=4)])


def test_labels_of_steps_without_one() -> None:
    pipeline = Pipeline([Length(), Length(), Exact(label="length_3"), Length(), Length(label="a")])
    titles = [step.title for step in pipeline.resolved().steps]
    assert titles == ["length", "length_2", "length_3", "length_4", "a"]


WRONG = [
    ("steps: [lenght]", 1, None, "unknown step 'lenght'; did you mean 'length'"),
    ("steps:\n- length:\n    min: a", 3, "length", "min must be an integer or null"),
    ("steps:\n- length:\n    on: yes", 3, "length", "on must be one of instruction.*quotes"),
    ("steps:\n- length: {mn: 3}", 2, "length", "unknown field 'mn'; did you mean 'min'"),
    ("steps:\n- length:\n  min: 3", 2, None, r"2 keys \(length, min\); indent the fields"),
    ("steps:\n- length: 3", 2, "length", "the fields of a step are a mapping"),
    ("steps:\n- [length]", 2, None, "a step is a name"),
    ("steps:\n- length: {min: 9, max: 3}", 2, "length", "no text can pass"),
    ("steps:\n\n- function: {function: clean}", 3, None, "a Python function .clean. stood here"),
    ("steps:\n- length: {label: read}", 2, "length", "'read' is reserved"),
    ("steps:\n- length: {label: a.b}", 2, "length", "'a.b' is not allowed"),
    ("steps:\n- length: {label: a}\n- near: {label: A}", 3, "near", "is there twice"),
    ("steps:\n- length\n- top:\n    count: 3\n    by: lenth", 5, "top", r"that score: length\)"),
    ("steps:\n- top: {count: 3, by: length}\n- length", 2, "top", "no step before this one"),
    ("step: []", 1, None, "unknown part of a recipe 'step'; did you mean 'steps'"),
    ("seed: 1", 1, None, "`steps` must be a list"),
    ("steps: length", 1, None, "a list of steps, each after '- ', found the string"),
    ("steps: {length: {min: 3}}", 1, None, "each after '- ', found a mapping"),
    ("steps:\n- length: min=3", 2, "length", "a mapping, as in {min: 3}; found the string 'min=3'"),
    ("steps:\n- shouting", 2, None, "a step of your own is named by its file"),
    ("steps:\n\t- near", 2, None, "indented with blanks, not with tabs"),
    ("steps: []\noutputs: x.jsonl", 2, None, "for example {sft: out.jsonl}; found the string"),
    ("- length", 1, None, "a recipe is a mapping"),
    ("", 1, None, "a recipe is a mapping"),
    ("steps: []\nseed: x", 2, None, "seed must be an integer"),
    ("steps: []\nname: 3", 2, None, "name must be a string"),
    ("steps: []\ninputs: [a]", 2, None, "for example {first: a.jsonl, second: b.jsonl}; found a"),
    ("steps: []\ninputs:\n  a: {shape: x}", 3, None, "inputs.a must be a path or a mapping with"),
    ("steps: []\ninputs: {path: x, shape: y}", 2, None, "name it: inputs: {data:"),
    ("steps: []\nmodels:\n  judge: {base_url: x}", 3, None, "models.judge must be a string"),
    ("steps: []\noutputs:\n  stf: x", 3, None, "unknown record kind 'stf'; did you mean 'sft'"),
    ("steps: []\noutputs:\n  sft: {shape: x}", 3, None, "outputs.sft must be a path or a mapping"),
]


@pytest.mark.parametrize(("text", "line", "step", "says"), WRONG, ids=lambda v: str(v)[:40])
def test_what_is_wrong_names_file_line_and_step(
    tmp_path: Path, text: str, line: int, step: str | None, says: str
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=says) as caught:
        Pipeline.from_yaml(file).check()
    assert (caught.value.file, caught.value.line) == (str(file), line)
    assert caught.value.step == step
    assert caught.value.exit_code == 2


@dataclass(frozen=True, kw_only=True)
class Grade(Filter):
    """Ask a judge for a grade."""

    model: str = "judge"
    at_least: float | None = rule(None)

    kinds: ClassVar[tuple[str, ...]] = ("sft",)


def test_a_model_must_be_in_the_recipe() -> None:
    with pytest.raises(
        RecipeError, match=r"unknown model 'judge'.*add it to the recipe's `models`"
    ):
        Pipeline([Grade()]).check()
    with pytest.raises(RecipeError, match="did you mean 'jugde'"):
        Pipeline([Grade()], models={"jugde": "openai:x"}).check()
    Pipeline([Grade()], models={"judge": "openai:x"}).check({"sft"})


def test_kinds_that_a_step_does_not_take() -> None:
    pipeline = Pipeline([Length(on="instruction"), Grade()], models={"judge": "x:y"})
    with pytest.raises(RecipeError, match="step 'grade': takes sft rows, but prompt rows reach it"):
        pipeline.check({"sft", "prompt"})


@pytest.mark.parametrize("kind", ["prompt", "ranked"])
def test_rows_without_a_response(kind: str) -> None:
    with pytest.raises(RecipeError, match=f"reads the response, but {kind} rows reach it"):
        Pipeline([Length(min=3)]).check({kind})
    Pipeline([Length(min=3, on="whole")]).check({kind})
    Pipeline([Length(min=3)]).check({"sft", "preference", "unpaired"})


@dataclass(frozen=True, kw_only=True)
class Far(Filter):
    """Need a package that nobody has."""

    extra: ClassVar[str | None] = "vllm"
    packages: ClassVar[tuple[str, ...]] = ("json", "surely_not_here")


def test_a_missing_extra_names_the_command() -> None:
    with pytest.raises(MissingExtra) as caught:
        Pipeline([Far()])
    assert "needs surely_not_here" in str(caught.value)
    assert f"install it with: {install_command('vllm')}" in str(caught.value)


def test_top_is_told_the_labels_that_score() -> None:
    Pipeline([Length(), Length(), Top(count=1, by="length_2")]).check()


def test_an_input_given_without_a_name_has_one_in_yaml() -> None:
    """A file has no room for the short form of Python."""
    pipeline = Pipeline([Length(min=1)], inputs={"path": "rows.jsonl", "shape": "alpaca"})
    assert pipeline.inputs == {"input": {"path": "rows.jsonl", "shape": "alpaca"}}
    assert Pipeline.from_yaml(pipeline.to_yaml()) == pipeline
