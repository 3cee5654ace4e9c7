"""`curate run` and `curate filter`, and the flags they share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.cli.running import plan
from curate.steps import Length
from tests.cli.conftest import lines_of


def report(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return data


def test_a_recipe_is_run(ok: Callable[..., str], home: Path) -> None:
    said = ok("run", "recipe.yaml", "-o", "here")
    assert "4 in + 0 made = 3 kept + 0 used + 1 dropped + 0 failed" in said
    assert "fewer than 3 words" in said
    assert said.endswith("run        here\nreasons    curate explain here\n")
    assert report(home / "here")["kept"] == 3


def test_a_ready_recipe_is_found_by_name(ok: Callable[..., str]) -> None:
    plan = json.loads(ok("run", "quickstart", "--dry-run"))
    assert plan["dry_run"] is True
    assert [step["label"] for step in plan["steps"]][:2] == ["structure", "length"]


def test_settings_limit_and_run(ok: Callable[..., str], home: Path) -> None:
    flags = ("--set", "steps.length.min=8", "--set", "seed=3", "--limit", "3", "--run", "there")
    ok("run", "recipe.yaml", *flags)
    found = report(home / "there")
    assert (found["in"], found["kept"]) == (3, 1)


def test_a_folder_is_not_reused_for_another_purpose(
    curate: Callable[..., Any], ok: Callable[..., str], home: Path
) -> None:
    ok("run", "recipe.yaml", "--run", "r")
    ok("run", "recipe.yaml", "--run", "r")
    other = curate("run", "recipe.yaml", "--run", "r", "--set", "steps.length.min=8")
    assert other.exit_code == 2
    assert "--replace" in other.stderr
    assert report(home / "r")["kept"] == 3
    ok("run", "recipe.yaml", "--run", "r", "--set", "steps.length.min=8", "--replace")
    assert report(home / "r")["kept"] == 1


def test_dry_run_writes_nothing(ok: Callable[..., str], home: Path) -> None:
    before = sorted(p.name for p in home.iterdir())
    plan = json.loads(ok("filter", "rows.jsonl", "length", "-o", "out.jsonl", "--dry-run"))
    assert plan["kinds"] == ["sft"]
    assert plan["steps"] == [{"label": "length", "name": "length", "asks": False}]
    assert not (home / "out.jsonl").exists()
    assert sorted(p.name for p in home.iterdir() if p.name != "runs") == before


def test_a_plan_reads_as_a_text_too() -> None:
    files = [{"input": "a", "file": "rows.jsonl", "shape": "alpaca", "size": 1234}]
    steps = [
        {"label": "length", "name": "length", "asks": False},
        {"label": "quality", "name": "judge", "asks": True},
    ]
    said = plan({"inputs": files, "kinds": ["sft"], "steps": steps}).splitlines()
    assert said[:2] == ["would read sft rows of", "  a  rows.jsonl  alpaca  1,234 bytes"]
    assert [line.split() for line in said[3:5]] == [
        ["1", "length"],
        ["2", "quality", "judge", "asks", "a", "model"],
    ]


def test_what_was_typed_can_be_saved_and_run_again(ok: Callable[..., str], home: Path) -> None:
    typed = ("filter", "rows.jsonl", "length:min=3", "near", "-o", "a.jsonl")
    ok(*typed, "--save-as", "saved.yaml", "--set", "steps.length.max=9")
    saved = Pipeline.from_yaml(home / "saved.yaml")
    assert saved.steps[0] == Length(min=3, max=9)
    assert saved.inputs == "rows.jsonl"
    ok("run", "saved.yaml", "--run", "b")
    assert report(home / "b")["kept"] == report(home / "runs" / "a")["kept"]


def test_a_saved_recipe_is_not_overwritten(curate: Callable[..., Any], home: Path) -> None:
    refused = curate("run", "recipe.yaml", "--set", "seed=1", "--save-as", "recipe.yaml")
    assert refused.exit_code == 2
    assert "the file is there and differs" in refused.stderr
    assert "seed" not in (home / "recipe.yaml").read_text()


def test_outputs_of_a_recipe_are_written(ok: Callable[..., str], home: Path) -> None:
    (home / "out.yaml").write_text(
        "inputs: rows.jsonl\nsteps: [{length: {min: 3}}]\n"
        "outputs: {sft: {path: a/kept.jsonl, shape: alpaca}, preference: p.jsonl}\n"
    )
    ok("run", "out.yaml", "--run", "r")
    kept = lines_of(home / "a" / "kept.jsonl")
    assert [row["instruction"] for row in kept] == [
        "Name a colour.",
        "Name a colour!",
        "Name a bad thing.",
    ]
    assert lines_of(home / "p.jsonl") == []


def test_filter_keeps_what_the_recipe_keeps(ok: Callable[..., str], home: Path) -> None:
    said = ok("filter", "rows.jsonl", "length:min=3,on=response", "exact", "-o", "sub/out.jsonl.gz")
    assert "kept rows  sub/out.jsonl.gz" in said
    assert report(home / "runs" / "out")["kept"] == 3


def test_filter_writes_another_shape(ok: Callable[..., str], home: Path) -> None:
    ok("filter", "rows.jsonl", "length:min=3", "-o", "out.jsonl", "--as", "messages")
    assert lines_of(home / "out.jsonl")[0]["messages"][0] == {
        "role": "user",
        "content": "Name a colour.",
    }


def test_shape_says_how_to_read(curate: Callable[..., Any]) -> None:
    refused = curate("filter", "rows.jsonl", "length", "-o", "o.jsonl", "--shape", "messages")
    assert refused.exit_code == 2
    unknown = curate("filter", "rows.jsonl", "length", "-o", "o.jsonl", "--shape", "alpacca")
    assert unknown.exit_code == 2
    assert "alpaca" in unknown.stderr


@pytest.mark.parametrize(
    "secret",
    [
        "models: {judge: {model: 'openai:x', api_key: hushhush}}",
        "models: {judge: {model: 'openai:x', base_url: 'https://me:hushhush@host/v1'}}",
        "encoders: {near: {model: 'openai:x', api_key: hushhush}}",
        "outputs: {sft: 's3://me:hushhush@bucket/out.jsonl'}",
        "inputs: 'https://host/rows.jsonl?token=hushhush'",
    ],
)
def test_a_secret_in_a_recipe_is_refused_and_written_nowhere(
    curate: Callable[..., Any], home: Path, secret: str
) -> None:
    head = "" if secret.startswith("inputs") else "inputs: rows.jsonl\n"
    (home / "leaky.yaml").write_text(f"{head}steps: [length]\n{secret}\n")
    refused = curate("run", "leaky.yaml", "--run", "r", "--save-as", "saved.yaml")
    assert refused.exit_code == 2
    assert "leaky.yaml:" in refused.stderr
    assert "hushhush" not in refused.stderr
    written = [p for p in home.rglob("*") if p.is_file() and p.name != "leaky.yaml"]
    assert not [p for p in written if "hushhush" in p.read_text()]


def test_a_model_is_checked_where_no_step_asks_it(curate: Callable[..., Any], home: Path) -> None:
    (home / "odd.yaml").write_text(
        "inputs: rows.jsonl\nsteps: [length]\nmodels:\n  judge: {model: 'openai:x', prise: 1}\n"
    )
    refused = curate("run", "odd.yaml", "--run", "r")
    assert refused.exit_code == 2
    assert "odd.yaml:4: model 'judge': unknown option 'prise'" in refused.stderr
    assert not (home / "r").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("filter", "rows.jsonl", "length", "-o", "rows.jsonl"), "is read by this run"),
        (("filter", "*.jsonl", "length", "-o", "./rows.jsonl"), "is read by this run"),
        (("export", "rows.jsonl", "-o", "rows.jsonl"), "is read by this run"),
        (("filter", "rows.jsonl", "length", "-o", "out.foo"), "allowed endings"),
        (("filter", "rows.jsonl", "length", "-o", "out.jsonl", "--as", "nope"), "unknown shape"),
        (("filter", "rows.jsonl", "length", "-o", "out.jsonl", "--as", "ranked"), "are sft rows"),
        (("filter", "rows.jsonl", "pii", "-o", "out.jsonl", "--as", "ranked"), "are sft rows"),
        (("run", "recipe.yaml", "--run", "r", "--as", "messages"), "name one in the recipe's"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_an_output_that_cannot_be_is_refused_before_the_run(
    curate: Callable[..., Any], home: Path, arguments: tuple[str, ...], dry: tuple[str], said: str
) -> None:
    before = (home / "rows.jsonl").read_bytes()
    refused = curate(*arguments, *(dry if arguments[0] != "export" else ()))
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert (home / "rows.jsonl").read_bytes() == before
    assert sorted(p.name for p in home.iterdir()) == ["recipe.yaml", "rows.jsonl"]


def test_a_run_folder_is_not_taken_for_a_file(curate: Callable[..., Any], home: Path) -> None:
    refused = curate("run", "recipe.yaml", "-o", "clean.jsonl")
    assert refused.exit_code == 2
    assert "curate export RUN -o clean.jsonl" in refused.stderr
    assert not (home / "clean.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("outputs: {sft: rows.jsonl}", "outputs.sft: rows.jsonl is read by this run"),
        ("outputs: {sft: out.foo}", "outputs.sft: out.foo: cannot tell its format"),
        ("outputs: {sft: {path: a.jsonl, shape: hh}}", "outputs.sft: the shape 'hh' holds pref"),
        ("outputs: {sft: {path: a.jsonl, shap: hh}}", "outputs.sft: unknown key 'shap'; did you"),
        ("inputs: {a: {path: rows.jsonl, shpe: hh}}", "inputs.a: unknown key 'shpe'; did you"),
        ("inputs: {a: {path: rows.jsonl, shape: alpacca}}", "unknown shape 'alpacca'; did you"),
        ("name: ../out", "name is '../out'; it must be the name of a folder"),
        ("name: ..", "name is '..'"),
    ],
)
def test_a_wrong_place_in_a_recipe_names_its_line(
    curate: Callable[..., Any], home: Path, line: str, said: str
) -> None:
    head = "" if line.startswith("inputs") else "inputs: rows.jsonl\n"
    (home / "odd.yaml").write_text(f"steps: [length]\n{line}\n{head}")
    before = (home / "rows.jsonl").read_bytes()
    refused = curate("run", "odd.yaml")
    assert refused.exit_code == 2
    assert f"odd.yaml:2: {said}" in refused.stderr
    assert (home / "rows.jsonl").read_bytes() == before
    assert not (home / "runs").exists()


def test_outputs_have_a_file_for_each_side_of_a_split(
    curate: Callable[..., Any], home: Path
) -> None:
    lines = [{"instruction": f"Name {n}.", "output": f"It is {n}."} for n in range(4)]
    (home / "four.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pair = {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
    (home / "pair.jsonl").write_text(json.dumps(pair) + "\n")
    (home / "sides.yaml").write_text(
        "inputs: {four: four.jsonl, pair: pair.jsonl}\n"
        "steps: [split: {share: 0.5, similarity: null}]\n"
        "outputs: {sft: rows.out.jsonl, preference: {path: pairs.jsonl, shape: trl_dpo}}\n"
    )
    done = curate("run", "sides.yaml", "-o", "runs/a", "--set", "outputs.sft=set.jsonl")
    assert done.exit_code == 0, done.stderr
    files = ["set.train.jsonl", "set.test.jsonl", "pairs.train.jsonl", "pairs.test.jsonl"]
    assert done.stdout.split("kept rows")[1].split("reasons")[0].split() == files
    assert not (home / "set.jsonl").exists()
    sides = [(home / name).read_text().splitlines() for name in files]
    assert (sum(map(len, sides)), len(sides[1]) + len(sides[3])) == (5, 2)
    assert sides[1] and not set(sides[0]) & set(sides[1])
    # A kind that the step does not see has no sides; rows of a source may be of any kind.
    done = curate("run", "sides.yaml", "-o", "runs/b", "--set", "steps.split.only=[preference]")
    assert (home / "rows.out.jsonl").read_text().count("\n") == 4, done.stderr
    # Nor have rows that are made afterwards, of either kind.
    for only in ("sft", "preference"):
        (home / "later.yaml").write_text(
            "inputs: {four: four.jsonl, pair: pair.jsonl}\n"
            f"steps:\n  - split: {{share: 0.5, similarity: null, only: [{only}]}}\n"
            f"  - unpack: {{side: chosen, only: [preference]}}\noutputs: {{sft: later.jsonl}}\n"
        )
        done = curate("run", "later.yaml", "-o", "runs/later")
        assert (done.exit_code, "after 'split' would be on no side" in done.stderr) == (2, True)
    done = curate("run", "sides.yaml", "-o", "runs/c", "--set", "steps.split.only=[pair]")
    assert (done.exit_code, "without -o and `outputs`" in done.stderr) == (2, True)
