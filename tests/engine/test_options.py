"""Options of a run given in Python are held to what the command line allows."""

import dataclasses
import inspect
from typing import Any

import pytest

from curate import Pipeline
from curate.engine.options import RunOptions, with_python_names
from curate.errors import UsageError
from curate.steps import Length


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": -1}, "limit is -1; it must be a whole number from 0 on"),
        ({"limit": "5"}, "limit is '5'"),
        ({"workers": 0}, "workers is 0"),
        ({"chunk_rows": 0}, "chunk_rows is 0"),
        ({"chunk_rows": None}, "chunk_rows is None"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"allow_failed": 2}, "a share from 0 to 1"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunOptions(**options)  # type: ignore[arg-type]


def test_the_least_values_are_allowed() -> None:
    RunOptions(limit=0, workers=1, chunk_rows=1, concurrency=1, allow_failed=1)


def test_run_names_every_option_with_its_default() -> None:
    parameters = inspect.signature(Pipeline.run).parameters.values()
    named = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert named == {item.name: item.default for item in dataclasses.fields(RunOptions)}
    documented = inspect.getdoc(Pipeline.run) or ""
    assert all(f"    {name}: " in documented for name in named)


def test_a_misspelt_option_is_told_the_right_one() -> None:
    misspelt: Any = {"max_cosst": 3}
    with pytest.raises(UsageError, match="unknown option 'max_cosst'; did you mean 'max_cost'"):
        Pipeline([Length()]).run([], **misspelt)


def test_flags_are_called_by_their_names_in_python() -> None:
    with pytest.raises(UsageError) as caught, with_python_names():
        raise UsageError("give --run RUN, or add --replace; --set and --model are none of run's")
    note = "in Python, flags are arguments of run: run(run=..., replace=True)"
    assert caught.value.__notes__ == [note]
    with pytest.raises(UsageError) as plain, with_python_names():
        raise UsageError("nothing to translate")
    assert not hasattr(plain.value, "__notes__")


def test_a_misread_file_tells_python_how_to_name_its_shape(tmp_path: Any) -> None:
    odd = tmp_path / "odd.jsonl"
    odd.write_text('{"a": "b"}\n')
    with pytest.raises(UsageError, match="--shape SHAPE") as caught:
        Pipeline([Length()]).run(odd, run=tmp_path / "run")
    assert "run(shape=...)" in caught.value.__notes__[0]
    assert caught.value.__suppress_context__
