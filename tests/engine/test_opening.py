"""An input that cannot be opened is named with the line of the recipe that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import InputError, RecipeError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a recipe's folder in it, beside which the data is."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            "rows.jsonl",
            "sub/r.yaml:2: rows.jsonl: no such file (relative paths start at the working folder; "
            "beside the recipe there is one: write sub/rows.jsonl)",
        ),
        (
            "\n  first: sub/rows.jsonl\n  second: {path: away/x.jsonl}",
            "sub/r.yaml:4: inputs.second: away/x.jsonl: no such file; there is no folder away "
            "(relative paths start at the working folder)",
        ),
        ("/nowhere-at-all/x.jsonl", "sub/r.yaml:2: /nowhere-at-all/x.jsonl: no such file"),
    ],
)
def test_a_recipe_names_the_line_of_its_input(folder: Path, inputs: str, said: str) -> None:
    Path("sub/r.yaml").write_text(f"seed: 1\ninputs: {inputs}\nsteps:\n- length\n")
    with pytest.raises(RecipeError) as caught:
        Pipeline.from_yaml("sub/r.yaml").run()
    assert str(caught.value).startswith(said)


def test_inputs_in_place_of_the_recipes_own_have_no_line(folder: Path) -> None:
    Path("sub/r.yaml").write_text("inputs: sub/rows.jsonl\nsteps:\n- length\n")
    pipeline = Pipeline.from_yaml("sub/r.yaml")
    for wrong in (pipeline.with_settings({"inputs": "x.jsonl"}), pipeline):
        with pytest.raises(InputError, match=r"^x.jsonl: no such file"):
            wrong.run("x.jsonl" if wrong is pipeline else None)


def test_a_model_that_cannot_be_opened_has_the_line_of_the_recipe(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    Path("r.yaml").write_text(
        "inputs: sub/rows.jsonl\nmodels:\n  judge:\n    model: openai:x\n"
        "    api_key_env: NO_SUCH_KEY\nsteps:\n- rubric: {model: judge}\n"
    )
    with pytest.raises(RecipeError, match=r"^r.yaml:3: .*NO_SUCH_KEY holds no key"):
        Pipeline.from_yaml("r.yaml").run()
