"""What a dry run tells people, and what a command whose run folder or file is taken."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.cli.running import plan
from curate.read import with_shape
from curate.steps import Rubric

from .conftest import lines_of

ESTIMATE = {
    "requests": 12_000,
    "replayed": 3_000,
    "input_tokens": 2_400_000,
    "output_tokens": 96_000,
    "cost_usd": 0.41760,
    "sampled_rows": 256,
    "ends_at": None,
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "2,400,000 + 96,000 tokens, for about $0.4176; from a sample of 256 rows"),
        ({"cost_usd": None}, "96,000 tokens, for a price that is not known; from"),
        ({"ends_at": "pairs"}, "for about $0.4176, as far as step 'pairs'; from"),
    ],
)
def test_the_plan_says_what_would_be_asked(changed: dict[str, Any], told: str) -> None:
    summary = {
        "inputs": [],
        "kinds": ["sft"],
        "steps": [{"label": "judge", "name": "rubric", "asks": True}],
        "estimate": {**ESTIMATE, **changed},
    }
    text = plan(summary)
    assert "would ask about 12,000 requests (the store has 3,000 more)" in text
    assert told in text and text.endswith("nothing was sent")


@pytest.fixture
def typed(curate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command as if it had been typed into a shell."""

    def run(*arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["curate", *arguments])
        return curate(*arguments)

    return run


def test_another_threshold_into_the_same_file_gets_both_next_commands(
    typed: Callable[..., Any], home: Path
) -> None:
    assert typed("filter", "rows.jsonl", "length:min=3", "-o", "it.jsonl").exit_code == 0
    before = (home / "it.jsonl").read_bytes()
    refused = typed("filter", "rows.jsonl", "length:min=5", "-o", "it.jsonl")
    assert refused.exit_code == 2 and (home / "it.jsonl").read_bytes() == before
    assert "runs/it holds a run of other steps (length.min 3 then, 5 now)" in refused.stderr
    assert "keep both:        curate filter rows.jsonl length:min=5 -o it-2.jsonl" in refused.stderr
    assert "curate filter rows.jsonl length:min=5 -o it.jsonl --replace\n" in refused.stderr
    # Both commands do as they are typed.
    for tail in (["-o", "it-2.jsonl"], ["-o", "it.jsonl", "--replace"]):
        assert typed("filter", "rows.jsonl", "length:min=5", *tail).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "changed", "both"),
    [
        (
            ["filter", "rows.jsonl", "exact", "-o", "a/out.jsonl"],
            ["filter", "rows.jsonl", "near", "-o", "b/out.jsonl"],
            "curate filter rows.jsonl near -o b/out.jsonl --run runs/out-2",
        ),
        (
            ["run", "recipe.yaml", "-o", "runs/one"],
            ["run", "recipe.yaml", "-o", "runs/one", "--limit", "2"],
            "curate run recipe.yaml -o runs/one-2 --limit 2",
        ),
        (
            ["run", "recipe.yaml", "-o", "memory://b/next/one"],
            ["run", "recipe.yaml", "-o", "memory://b/next/one", "--limit", "2"],
            "curate run recipe.yaml -o memory://b/next/one-2 --limit 2",
        ),
    ],
)
def test_a_taken_run_folder_gets_the_command_with_a_free_one(
    typed: Callable[..., Any], home: Path, arguments: list[str], changed: list[str], both: str
) -> None:
    assert typed(*arguments).exit_code == 0
    refused = typed(*changed)
    assert refused.exit_code == 2 and f"keep both:        {both}\n" in refused.stderr
    assert typed(*both.split()[1:]).exit_code == 0


def test_a_file_of_another_run_is_said_to_be_replaced(
    typed: Callable[..., Any], home: Path
) -> None:
    told = "kept rows  calm.jsonl (replaced the file that was there)"
    command = ["filter", "rows.jsonl", "-o", "calm.jsonl"]
    first = typed(*command, "length:min=3", "--run", "runs/a")
    assert first.exit_code == 0 and "replaced" not in first.stdout
    # The run's own file is as it was: nothing of anybody else is lost.
    assert "replaced" not in typed(*command, "length:min=3", "--run", "runs/a").stdout
    other = typed(*command, "keywords:phrases=Paris,max=0", "--run", "runs/b")
    assert other.exit_code == 0 and told in other.stdout, other.output
    assert "Paris" not in str(lines_of(home / "calm.jsonl"))
    assert told in typed(*command, "length:min=3", "--run", "runs/a").stdout
    (home / "calm.jsonl").write_text("years of work")
    refused = typed(*command, "length:min=3", "--run", "runs/a")
    assert refused.exit_code == 2 and "calm.jsonl exists, and its content is not" in refused.stderr
    assert (home / "calm.jsonl").read_text() == "years of work"
    assert told in typed(*command, "length:min=3", "--run", "runs/a", "--replace").stdout


@pytest.mark.parametrize(
    ("step", "models"),
    [
        ("rubric", {"model": "scripted:r.jsonl"}),
        ("rubric:model=judge", {"judge": "scripted:r.jsonl"}),
        ("respond", {"model": "scripted:r.jsonl"}),
        ("respond:models=[a,b],samples=2", {"a": "scripted:r.jsonl", "b": "scripted:r.jsonl"}),
        ("length", None),
    ],
)
def test_one_model_answers_every_step_also_those_that_name_none(
    curate: Callable[..., Any], home: Path, step: str, models: dict[str, str] | None
) -> None:
    (home / "r.jsonl").write_text("")
    asked = ("--model", "scripted:r.jsonl", "--dry-run", "--save-as")
    done = curate("filter", "rows.jsonl", step, "-o", "o.jsonl", *asked, "as.yaml")
    assert done.exit_code == 0, done.output
    saved = Pipeline.from_yaml(home / "as.yaml")
    assert saved.models == models
    # A recipe whose step names nobody is answered likewise.
    name, _, fields = step.partition(":")
    (home / "it.yaml").write_text(f"inputs: rows.jsonl\nsteps:\n- {name}\n")
    if not fields:
        done = curate("run", "it.yaml", *asked, "again.yaml")
        assert done.exit_code == 0, done.output
        assert Pipeline.from_yaml(home / "again.yaml") == saved


OWN = '''
from dataclasses import dataclass
from typing import Any

from curate.row import Row
from curate.step import Filter


@dataclass(frozen=True, kw_only=True)
class Own(Filter):
    """Keep every row; the fields that are called like ours name no models."""

    judge: Any = True
    models: tuple[str, ...] = ("short", "long")

    def score(self, row: Row) -> float:
        return 1.0

    def keep(self, score: float) -> bool:
        return True
'''


@pytest.mark.parametrize(
    "fields", ["", "judge=strict", "judge=[strict,lenient]", "judge={strict: 1}"]
)
def test_fields_of_a_users_step_that_name_no_models_are_left_alone(
    curate: Callable[..., Any], home: Path, fields: str
) -> None:
    (home / "own.py").write_text(OWN)
    (home / "r.jsonl").write_text("")
    asked = ("--model", "scripted:r.jsonl", "--dry-run", "--save-as", "as.yaml", "-o", "o.jsonl")
    steps = ("rubric:model=judge", f"own.py:Own:{fields}" if fields else "own.py:Own")
    done = curate("filter", "rows.jsonl", *steps, *asked)
    assert done.exit_code == 0, done.output
    assert Pipeline.from_yaml(home / "as.yaml").models == {"judge": "scripted:r.jsonl"}


def test_without_a_model_a_step_says_how_to_give_one(curate: Callable[..., Any]) -> None:
    refused = curate("filter", "rows.jsonl", "rubric", "-o", "o.jsonl")
    assert refused.exit_code == 2 and "(or give --model MODEL)" in refused.stderr


def test_the_embedded_model_is_asked_in_the_form_for_small_models(
    typed: Callable[..., Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The model is not loaded for this: how long it takes is another test's.
    monkeypatch.setattr("curate.engine.dry_run._measured", lambda example, driver: 0.5)
    command = ["filter", "rows.jsonl", "-o", "o.jsonl", "--dry-run", "--save-as"]
    done = typed(*command, "a.yaml", "rubric:at_least=3", "--model", "local")
    assert done.exit_code == 0, done.output
    assert "rubric: in the form for small models (prompt=helpfulness_brief, comp" in done.stderr
    [step] = Pipeline.from_yaml(home / "a.yaml").steps
    brief = {"prompt": "helpfulness_brief", "complete": True, "max_tokens": 8}
    assert step == Rubric(model="model", at_least=3, **brief)
    # What somebody chose stays, and so does the form for a server.
    for number, (text, model) in enumerate(
        [
            ("rubric:prompt=four_aspects", "local"),
            ("rubric:structured=true", "local"),
            ("rubric", "openai:m"),
        ]
    ):
        address = ["--base-url", "http://127.0.0.1:9/v1"] if model != "local" else []
        done = typed(*command, f"{number}.yaml", text, "--model", model, *address)
        assert done.exit_code == 0 and "small models" not in done.stderr, done.output
        [step] = Pipeline.from_yaml(home / f"{number}.yaml").steps
        assert not step.complete and step.max_tokens is None


@pytest.mark.parametrize(
    "flags",
    [
        ("--columns", "instruction=q,response=a"),
        ("--shape", 'columns:{"instruction":"q","response":"a"}'),
    ],
)
def test_a_saved_recipe_reads_what_the_command_read(
    ok: Callable[..., str], home: Path, flags: tuple[str, ...]
) -> None:
    rows = [{"q": f"What is {n}?", "a": f"It is the number {n}."} for n in range(3)]
    (home / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ok("filter", "own.jsonl", "length:min=3", *flags, "-o", "o.jsonl", "--save-as", "saved.yaml")
    columns = {"instruction": "q", "response": "a"}
    saved = Pipeline.from_yaml(home / "saved.yaml")
    assert saved.inputs == {"input": {"path": "own.jsonl", "columns": columns}}
    # So does the recipe in the run's own description, and they all give the same bytes.
    ok("run", "saved.yaml", "--run", "again")
    ok("run", "runs/o/run.yaml", "--run", "third")
    first = (home / "runs" / "o" / "kept" / "sft" / "part-00000.parquet").read_bytes()
    for name in ("again", "third"):
        assert (home / name / "kept" / "sft" / "part-00000.parquet").read_bytes() == first


def test_an_input_that_names_its_shape_keeps_it(home: Path) -> None:
    inputs = {
        "own": {"path": "a.jsonl", "shape": "alpaca"},
        "mapped": {"path": "b.jsonl", "columns": {"instruction": "q"}},
        "bare": "c.jsonl",
        "open": {"path": "d.jsonl"},
        "blank": {"count": 3},
    }
    found = with_shape(inputs, "messages")
    assert found == {
        **inputs,
        "bare": {"path": "c.jsonl", "shape": "messages"},
        "open": {"path": "d.jsonl", "shape": "messages"},
    }


def test_what_cannot_be_saved_is_said(curate: Callable[..., Any], home: Path) -> None:
    (home / "folder").mkdir()
    (home / "odd.yaml").write_bytes(b"\xff\xfe")
    command = ("filter", "rows.jsonl", "length:min=3", "-o", "o.jsonl", "--save-as")
    for where, told in (
        ("folder", "--save-as folder: cannot be written (Is a directory); name another file"),
        ("odd.yaml", "--save-as odd.yaml: the file is there and differs; delete or rename it"),
        ("rows.jsonl/a.yaml", "--save-as rows.jsonl/a.yaml: cannot be written ("),
        ("s3://b/x.yaml", "--save-as cannot be s3://b/x.yaml: choose a file of this machine"),
    ):
        refused = curate(*command, where)
        assert refused.exit_code == 2 and told in refused.stderr, refused.stderr
    assert not (home / "runs").exists() and not (home / "s3:").exists()
