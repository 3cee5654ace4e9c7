"""`--json`: every command has it, and prints the keys that its help names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.cli.main import COMMANDS, load
from curate.cli.text_layout import json_text

from .conftest import Curate

# Commands without `--json`, and why.
WITHOUT = {
    "review": "it serves a page until it is interrupted; --export writes JSON lines into a file",
    "store export": "its output is JSON lines already",
}


def commands() -> dict[str, Any]:
    """Every command, and those inside it, by what is typed."""
    found = {}
    for name in COMMANDS:
        command = load(name)
        inner = getattr(command, "commands", {})
        found |= {f"{name} {n}": one for n, one in inner.items()} or {name: command}
    return found


def without_json(found: dict[str, Any]) -> set[str]:
    return {n for n, c in found.items() if not any("--json" in p.opts for p in c.params)}


def test_every_command_prints_json_or_says_why_not() -> None:
    assert without_json(commands()) == set(WITHOUT)
    assert without_json({"new": load("review"), "run": load("run")}) == {"new"}


def keys_in_help(name: str) -> set[str]:
    """The keys that a command's help of `--json` names, of its first form."""
    (said,) = (p.help for p in commands()[name].params if "--json" in p.opts)
    listed = said.partition("JSON: ")[2].partition(";")[0]
    assert "Print " in said and listed
    return set(re.findall(r"[a-z_]+", re.sub(r"\([^)]*\)", "", listed)))


FIRST = ["rows.jsonl", "length:min=3", "-o", "kept.jsonl"]


def test_runs_print_one_object(process: Curate, home: Path) -> None:
    done = process("filter", *FIRST, "--json")
    data = json.loads(done.stdout)
    assert set(data) == keys_in_help("filter") == keys_in_help("run") == keys_in_help("generate")
    assert (data["run"], data["exit_code"], data["message"]) == ("runs/kept", 0, None)
    assert data["written"] == ["kept.jsonl"]
    assert data["report"] == json.loads((home / "runs/kept/report.json").read_text())
    assert done.stderr == ""


def test_a_recipe_prints_its_outputs_and_a_plan(ok: Callable[..., str], home: Path) -> None:
    recipe = home / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "outputs: {sft: out.jsonl}\n")
    plan = json.loads(ok("run", "recipe.yaml", "--dry-run", "--json"))
    assert plan["kinds"] == ["sft"] and not (home / "runs").exists()
    data = json.loads(ok("run", "recipe.yaml", "-o", "runs/r", "--json"))
    assert data["written"] == ["out.jsonl"]
    assert "kept rows  out.jsonl" in ok("run", "recipe.yaml", "-o", "runs/r")


def test_failed_rows_are_said_in_both_places(curate: Callable[..., Any], home: Path) -> None:
    with (home / "rows.jsonl").open("a") as file:
        file.write("{\n")
    done = curate("filter", *FIRST, "--json")
    data = json.loads(done.stdout)
    assert done.exit_code == data["exit_code"] == 1
    assert data["message"].startswith("1 row failed, more than --allow-failed 0 allows")
    assert data["message"] in done.stderr


def test_an_error_leaves_stdout_empty(curate: Callable[..., Any]) -> None:
    done = curate("filter", "rows.jsonl", "length:mni=3", "-o", "kept.jsonl", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    both = curate("filter", "rows.jsonl", "length:min=3", "-o", "-", "--json")
    assert (both.exit_code, both.stdout) == (2, "")
    assert "name a file, as in -o rows.jsonl" in both.stderr


def test_generate_prints_what_it_made(curate: Callable[..., Any], home: Path) -> None:
    (home / "answers.jsonl").write_text('{"when": {}, "reply": "Yes."}\n')
    (home / "asked.jsonl").write_text('{"prompt": "Is it?"}\n')
    arguments = ("asked.jsonl", "--model", "scripted:answers.jsonl", "-o", "made.jsonl")
    done = curate("generate", "respond", *arguments, "--json")
    data = json.loads(done.stdout)
    assert data["report"]["made"] == 1 and data["written"] == ["made.jsonl"]


def test_previews_print_rows_with_their_history(ok: Callable[..., str], home: Path) -> None:
    with (home / "rows.jsonl").open("a") as file:
        file.write("{\n")
    data = json.loads(ok("preview", "rows.jsonl", "length:min=3", "-n", "9", "--json"))
    assert set(data) == keys_in_help("preview")
    assert data["counts"] == {"kept": 3, "used": 0, "dropped": 1, "failed": 0}
    assert [entry["line"] for entry in data["unreadable"]] == [5]
    assert set(data["rows"][0]) == keys_in_help("explain")
    plan = json.loads(ok("preview", "rows.jsonl", "length:min=3", "--dry-run", "--json"))
    assert [step["label"] for step in plan["steps"]] == ["length"]


@pytest.fixture
def two_runs(ok: Callable[..., str]) -> Callable[..., Any]:
    ok("filter", *FIRST)
    ok("filter", "rows.jsonl", "length:min=8", "-o", "other.jsonl")
    return lambda *arguments: json.loads(ok(*arguments, "--json"))


def test_results_print_the_keys_of_their_help(two_runs: Callable[..., Any], home: Path) -> None:
    difference = two_runs("compare", "runs/kept", "runs/other")
    assert set(difference) == keys_in_help("compare")
    assert set(difference["rows"][0]) == {"row", "before", "after", "why", "text"}
    assert difference["moves"] == [{"from": "kept", "to": "dropped", "rows": 2}]
    exported = two_runs("export", "runs/kept", "-o", "exported.jsonl")
    assert set(exported) == keys_in_help("export")
    assert exported["written"] == [{"path": "exported.jsonl", "rows": 3, "kind": "sft"}]
    history = two_runs("explain", "runs/kept", "rows.jsonl:2")
    assert set(history) == keys_in_help("explain") and history["outcome"] == "dropped"
    (step,) = two_runs("steps", "near")
    assert set(step) == keys_in_help("steps")
    assert all(set(one) == keys_in_help("models") for one in two_runs("models"))
    assert {one["state"] for one in two_runs("doctor")} <= {"ok", "off", "look"}
    assert set(two_runs("agent", "near")) == keys_in_help("agent")


def test_what_an_export_leaves_out_is_data(two_runs: Callable[..., Any], home: Path) -> None:
    pair = {"prompt": "Is it?", "chosen": "Yes.", "rejected": "No."}
    lines = [(home / "rows.jsonl").read_text(), json.dumps(pair) + "\n", "{\n"]
    for name, text in zip(("a", "b"), ("".join(lines[:1]), "".join(lines[1:2])), strict=True):
        (home / f"{name}.jsonl").write_text(text)
    (home / "both.yaml").write_text("inputs: {a: a.jsonl, b: b.jsonl}\nsteps: []\n")
    two_runs("run", "both.yaml", "-o", "runs/both")
    data = two_runs("export", "runs/both", "--as", "trl_dpo", "-o", "dpo.jsonl")
    assert data["written"] == [{"path": "dpo.jsonl", "rows": 1, "kind": "preference"}]
    (left,) = data["left_out"]
    assert left == {"rows": 4, "kind": "sft", "reason": "'trl_dpo' holds preference rows"}


def test_the_store_gives_back_room_as_data(curate: Callable[..., Any], home: Path) -> None:
    (home / "judge.jsonl").write_text('{"when": {}, "reply": "7"}\n')
    curate("filter", "rows.jsonl", "rubric", "--model", "scripted:judge.jsonl", "-o", "j.jsonl")
    data = json.loads(curate("store", "gc", "--json").stdout)
    assert set(data) == keys_in_help("store gc")
    assert data["replies"] == 0 and data["bytes_after"] > 0


def test_no_text_of_a_row_drives_a_terminal() -> None:
    hostile = {"text": "\x1b[31m \x9b2J \u202e \ud83d x\ny", "odd \u2028": [1.5, None, "\u00e9"]}
    text = json_text(hostile)
    assert json.loads(text) == hostile
    assert all(c.isprintable() for line in text.split("\n") for c in line)
    assert "\u00e9" in text


def test_a_plan_and_a_report_name_the_ceilings_and_what_is_spent(
    curate: Callable[..., Any], ok: Callable[..., str], home: Path
) -> None:
    (home / "judge.jsonl").write_text('{"when": {}, "reply": "7"}\n')
    judge = {"model": "scripted:judge.jsonl", "price": {"input": 1, "output": 1}}
    steps = [{"rubric": {"model": "judge", "max_tokens": 9}}]
    recipe = {"inputs": "rows.jsonl", "models": {"judge": judge}, "steps": steps}
    (home / "judged.yaml").write_text(json.dumps(recipe))
    asked = ("run", "judged.yaml", "-o", "runs/j", "--json")
    keys = {"max_requests", "max_cost", "sent", "cost_usd", "reserved_usd"}
    plan = json.loads(ok(*asked, "--dry-run", "--max-requests", "2"))["budget"]
    nothing = {"sent": 0, "cost_usd": 0.0, "reserved_usd": 0.0}
    assert plan == {"max_requests": 2, "max_cost": None, **nothing}
    assert not (home / "runs").exists()
    stopped = curate(*asked, "--max-requests", "2")
    assert stopped.exit_code == 3
    plan = json.loads(ok(*asked, "--dry-run", "--max-cost", "0.5"))["budget"]
    assert (plan["max_requests"], plan["max_cost"], plan["sent"]) == (None, 0.5, 2)
    assert plan["cost_usd"] > 0 and set(plan) == keys
    # Another store knows nothing of it: the folder does.
    elsewhere = json.loads(ok(*asked, "--dry-run", "--store", "other"))["budget"]
    assert elsewhere["sent"] == 2 and not (home / "other").exists()
    done = json.loads(curate(*asked, "--max-requests", "9").stdout)
    assert done["report"]["budget"]["max_requests"] == 9
    assert done["report"]["budget"]["sent"] == done["report"]["requests"]["sent"]
    assert json.loads(ok("report", "runs/j", "--json"))["budget"] == done["report"]["budget"]


def test_a_list_of_rows_says_that_it_is_cut(ok: Callable[..., str]) -> None:
    ok("filter", "rows.jsonl", "length:min=90", "-o", "none.jsonl")
    (some,) = json.loads(ok("explain", "runs/none", "-n", "1", "--json"))
    assert (some["shown"], some["count"], len(some["ids"])) == (1, 4, 1)
    for arguments in ((), ("--step", "length")):
        (every,) = json.loads(ok("explain", "runs/none", *arguments, "-n", "0", "--json"))
        assert every["shown"] == every["count"] == len(every["ids"]) == 4
