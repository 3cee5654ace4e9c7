"""Plain Python functions as steps."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from curate import Pipeline
from curate.ask import Ask, Reply
from curate.errors import RecipeError, UsageError
from curate.row import Message, Record, Row
from curate.step import Drop
from curate.steps import Length


def row() -> Row:
    return Row("0" * 32, (0, 0, 0), "sft", {"messages": (Message("user", "hi"),)})


def said_of(answer: Any) -> Any:
    (step,) = Pipeline([lambda row: answer]).steps
    return step.make(row())  # type: ignore[attr-defined]


def test_what_a_function_may_answer() -> None:
    record, drop = Record("prompt", {"prompt": ()}), Drop("too odd", 3.0)
    assert said_of(True) == row()
    assert said_of(False) == Drop("lambda said no")
    assert said_of(row()) == row()
    assert said_of(record) == record
    assert said_of([record, drop]) == [record, drop]
    assert said_of(drop) == drop
    assert said_of([]) == []
    for wrong in (None, "yes", 1, {"prompt": "x"}, [row(), "x"]):
        with pytest.raises(TypeError, match=r"lambda returned .*; it must return True"):
            said_of(wrong)


def test_numpy_truth_is_truth() -> None:
    import numpy as np

    assert said_of(np.bool_(True)) == row()
    assert said_of(np.bool_(False)) == Drop("lambda said no")


def test_a_generator_function_asks() -> None:
    def judged(row: Row) -> Any:
        reply = yield Ask.text("good?")
        return reply.text == "yes"

    (step,) = Pipeline([judged]).steps
    asking = step.make(row())  # type: ignore[attr-defined]
    assert next(asking) == Ask.text("good?")
    with pytest.raises(StopIteration) as end:
        asking.send(Reply(text="no"))
    assert end.value.value == Drop("judged said no")


def test_functions_have_labels_and_no_yaml() -> None:
    def clean(row: Row) -> bool:
        return True

    pipeline = Pipeline([clean, clean, lambda row: True])
    assert [step.title for step in pipeline.resolved().steps] == ["clean", "clean_2", "lambda"]
    with pytest.raises(RecipeError, match="step 'clean': is a Python function, which YAML cannot"):
        pipeline.to_yaml()
    partial = yaml.safe_load(pipeline.to_yaml(partial=True))
    assert partial["steps"][0]["function"]["function"].startswith("clean:")
    with pytest.raises(RecipeError, match="build this pipeline in Python"):
        Pipeline.from_yaml(pipeline.to_yaml(partial=True))


def test_a_class_among_the_steps_is_told_to_be_called() -> None:
    with pytest.raises(UsageError, match=r"the class Length among the steps; write Length\(\)"):
        Pipeline([Length])


def test_what_is_no_function_is_refused() -> None:
    async def later(row: Row) -> bool:
        return True

    with pytest.raises(UsageError, match="later is async"):
        Pipeline([later])
    for wrong in (3, "length", int):
        with pytest.raises(UsageError, match=r"a step such as Length\(min=3\) or a function is"):
            Pipeline([wrong])  # type: ignore[list-item]
    for wrong in (Length(), "length", 3):
        with pytest.raises(RecipeError, match="steps must be a list"):
            Pipeline(wrong)  # type: ignore[arg-type]


def longer_than(limit: int) -> Callable[[Row], bool]:
    return lambda row: len(row.whole) > limit


def test_a_function_is_known_by_its_code() -> None:
    def print_of(function: Callable[[Row], Any]) -> Any:
        return Pipeline([function]).steps[0].fingerprint()["function"]

    assert print_of(longer_than(3)) == print_of(longer_than(3))
    assert print_of(longer_than(3)) != print_of(longer_than(4))
    assert print_of(lambda row: {"a", "b"}) != print_of(lambda row: {"a", "c"})


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    code = (
        "from curate import Pipeline\n"
        "keep = lambda row, words={'a', 'b', 'c'}: any(w in {'x', 'y', 'z'} for w in words)\n"
        "print(Pipeline([keep]).steps[0].fingerprint()['function'])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in "12"
    }
    assert len(runs) == 1
