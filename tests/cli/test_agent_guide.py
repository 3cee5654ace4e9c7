"""The guide for agents: short, whole, and true."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.cli.agent_guide import (
    COLUMNS_OF_SHAPES,
    COMMON,
    EXAMPLE,
    EXIT_CODES,
    FIELDS,
    guide,
    guide_text,
)
from curate.cli.main import COMMANDS, load
from curate.errors import CurateError
from curate.read.shapes import shapes
from curate.recipe import catalog
from curate.recipe.parse import KEYS

# Tools often show 30,000 characters of an output, and cut its middle.
MOST = 28_000


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return guide()


@pytest.fixture(scope="module")
def text(found: dict[str, Any]) -> str:
    return guide_text(found)


def test_it_is_one_read_and_says_how_long(ok: Callable[..., str], text: str) -> None:
    assert 20_000 < len(text) < MOST
    assert f"{len(text):,} characters" in text.split("\n")[0]
    for arguments in (["--steps"], ["--shapes"], ["--steps", "--json"], ["near"]):
        assert f"curate agent {arguments[0]}" in text
        assert len(ok("agent", *arguments)) < MOST or "--json" in arguments


def test_the_rules_come_first(found: dict[str, Any], text: str) -> None:
    titles = re.findall(r"(?m)^## (.+)", text)
    assert titles == list(found["sections"])[: len(titles)]
    assert list(found["sections"])[len(titles) :] == [FIELDS, COLUMNS_OF_SHAPES]
    first = ["Look at a result", "Do not overspend", "Stop, continue, change", "Never"]
    assert titles[1:5] == first and titles[-2:] == ["Commands", "Steps"]
    # What a tool shows at the least, the beginning, has all of them.
    assert text.index("\n## Recipe") < 9_000


def test_it_names_every_command_step_and_field(found: dict[str, Any], text: str) -> None:
    for name in COMMANDS:
        inner = getattr(load(name), "commands", None)
        for one in [f"{name} {n}" for n in inner] if inner else [name]:
            assert f"\n- `curate {one} " in text or f"\n- `curate {one}`" in text
    for cls in catalog.usable()[0]:
        start = rf"(?m)^- {cls.name}(?: \[.*?\])?(?: \(.*?\))?: .*$"
        (said,), (line,) = re.findall(start, text), re.findall(start, found["sections"][FIELDS])
        assert " | " not in said and said.endswith(line.partition(" | ")[0].partition(": ")[2])
        for item in dataclasses.fields(cls):
            if item.name not in ("label", "only", "keep_parent"):
                assert re.search(rf" {item.name}[=:]", line), (cls.name, item.name)


def test_shapes_have_their_columns(found: dict[str, Any], text: str) -> None:
    assert shapes().keys() == found["shapes"].keys() and set(COMMON) < shapes().keys()
    assert "alpaca (instruction, output), alpaca_response, " in text
    assert "`preference` (prompt, chosen, rejected, " in text
    every = found["sections"][COLUMNS_OF_SHAPES]
    assert "\n- ultrafeedback (ranked): instruction, completions. " in every
    assert "\n- output_pair (ranked): instruction, output_1, output_2 or input, " in every
    assert len(
        re.findall(r"(?m)^- \w+ \((?:sft|prompt|preference|ranked|unpaired)\): ", every)
    ) == len(shapes())


@pytest.mark.parametrize(
    ("name", "field", "shown"),
    [
        ("length", "min", "min:int*"),
        ("near", "similarity", "similarity=0.8*"),
        ("near", "keep", "keep=first|longest|best*"),
        ("rubric", "temperature", "temperature=0.0?"),
        ("contamination", "against", "against:[text]"),
        ("respond", "to", "to=null|sft|ranked"),
        ("exact", "on", "on=whole"),
    ],
)
def test_a_field_shows_type_default_and_rule(
    name: str, field: str, shown: str, found: dict[str, Any]
) -> None:
    (step,) = (step for step in found["steps"] if step["name"] == name)
    (own,) = (one["short"] for one in step["fields"] if one["name"] == field)
    assert own == shown


def test_a_step_says_which_kinds_it_takes_and_makes(text: str) -> None:
    assert "\n- pairs [ranked|sft -> preference]: " in text
    assert "\n- language (extra language): " in text


def wrong_commands(text: str) -> list[str]:
    """Return the commands in backticks that there are not, or that lack a flag which is shown."""
    wrong = []
    for shown in re.findall(r"`curate ([a-z][^`]*)`", text):
        words = shlex.split(re.sub(r"[\[\]]", " ", shown.partition(" | ")[0]))
        command = load(words[0]) if words[0] in COMMANDS else None
        inner = getattr(command, "commands", {})
        command = inner.get(words[1]) if inner and len(words) > 1 else command
        if command is None:
            wrong.append(shown)
            continue
        known = {flag for param in command.params for flag in param.opts}
        wrong += [f"{shown}: {w}" for w in words if w.startswith("-") and w not in known]
    return wrong


def test_the_commands_in_the_prose_exist(text: str) -> None:
    assert wrong_commands(text) == []
    assert len(re.findall(r"`curate ", text)) > 40
    bad = "`curate rnu x` `curate run x --max-request 3` `curate store stats --json`"
    assert wrong_commands(bad) == ["rnu x", "run x --max-request 3: --max-request"]


def test_the_flags_in_the_prose_exist(text: str) -> None:
    named = {command for name in COMMANDS for command in (load(name),)}
    every = {c for one in named for c in [one, *getattr(one, "commands", {}).values()]}
    known = {flag for command in every for param in command.params for flag in param.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known | {"--help"}


def test_the_example_is_a_recipe_that_passes_the_checks(home: Path) -> None:
    (home / "test.jsonl").write_text('{"question": "Who was it?"}\n')
    pipeline = Pipeline.from_yaml(EXAMPLE)
    pipeline.check(["sft"])
    assert {step.name for step in pipeline.steps} >= {"structure", "near", "rubric", "top"}
    shown = set(re.findall(r"(?m)^(\w+):", EXAMPLE))
    assert shown == set(KEYS) - {"encoders"}


def test_the_exit_codes_are_those_of_the_errors() -> None:
    below, codes = [CurateError], {0, 1, 130}
    for cls in below:
        below += cls.__subclasses__()
        codes.add(cls.exit_code)
    assert set(EXIT_CODES) == codes


def test_a_run_folder_holds_what_is_said(found: dict[str, Any], ok: Any, home: Path) -> None:
    bad = home / "bad.jsonl"
    bad.write_text((home / "rows.jsonl").read_text() + "{\n")
    printed = json.loads(
        ok("filter", "bad.jsonl", "length:min=3", "-o", "k.jsonl", "--json", "--allow-failed", "1")
    )
    run = Path(printed["run"])
    said = {name.strip("/") for key in found["run_folder"] for name in key.split()}
    assert {path.name for path in run.iterdir()} - {".state"} == said
    assert list(printed["report"]) == found["report"]["keys"]
    assert list(printed["report"]["steps"][0]) == found["report"]["steps"]


def test_json_has_what_the_text_is_made_of(ok: Callable[..., str]) -> None:
    data = json.loads(ok("agent", "near", "--json"))
    assert [step["name"] for step in data["steps"]] == ["near"]
    assert data["exit_codes"]["3"].startswith("a ceiling was reached")
    assert "runs/OTHER" in data["sections"]["Stop, continue, change"]
    assert "near" in data["sections"]["Steps"] and "{{" not in json.dumps(data["sections"])
    assert data["shapes"]["alpaca"]["columns"] == [["instruction", "output"]]


def test_the_text_is_printed_and_an_unknown_step_is_refused(curate: Callable[..., Any]) -> None:
    done = curate("agent", "near")
    assert done.exit_code == 0 and done.stderr == ""
    assert "\n- near: " in done.stdout and "similarity=0.8*" in done.stdout
    assert "\n- exact: " not in done.stdout and len(done.stdout) < 2_000
    refused = curate("agent", "naer")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "did you mean 'near'?" in refused.stderr
