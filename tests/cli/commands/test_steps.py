"""`curate steps`, `curate store` and `curate doctor`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.cli.commands.steps import _in_full
from curate.prompts import prompt as prompts
from curate.recipe import catalog
from curate.recipe.catalog import describe, operators
from curate.recipe.schema import recipe_schema
from curate.row import Row
from curate.step import Filter, dataclass
from tests.cli.conftest import Curate
from tests.cli.test_failures import script


def test_steps_lists_every_operator(ok: Callable[..., str]) -> None:
    lines = ok("steps").splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert sorted(listed) == list(operators())
    families = [line for line in lines[:-1] if line and not line.startswith(" ")]
    assert families == sorted({operator.family for operator in operators().values()})
    assert max(map(len, lines)) <= 100


def test_a_broken_step_hides_no_other(
    curate: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = catalog.Operator("broken", "surely_not_here", "others", "Broken", "somebody-else")
    every = {"broken": broken, **operators()}
    monkeypatch.setattr(catalog, "operators", lambda: every)
    done = curate("steps", "--json")
    assert done.exit_code == 0
    assert [step["name"] for step in json.loads(done.stdout)] == list(every)[1:]
    assert "left out: step 'broken' of somebody-else needs the module" in done.stderr
    assert curate("doctor").exit_code == 4


def test_steps_as_data(ok: Callable[..., str]) -> None:
    found = json.loads(ok("steps", "--json"))
    assert [step["name"] for step in found] == list(operators())
    keys = {"name", "kind", "summary", "source", "fields", "extra"}
    assert all(set(step) == keys for step in found)
    (length,) = json.loads(ok("steps", "length", "--json"))
    assert [f["name"] for f in length["fields"] if f["rule"]] == ["min", "max"]


def test_one_step_in_full(ok: Callable[..., str]) -> None:
    said = ok("steps", "near")
    assert said.startswith("near (whole)\n\nDrop every row")
    assert "similarity  0.8" in said


@dataclass(frozen=True, kw_only=True)
class Prompted(Filter):
    """Score a row by a prompt."""

    prompt: str = "helpfulness"

    def score(self, row: Row) -> float:
        return 0.0

    def keep(self, score: float | None) -> str | None:
        return None


def test_a_step_shows_its_prompt() -> None:
    said = _in_full(Prompted, describe(Prompted))
    path = prompts.find("helpfulness")
    assert said.endswith(f"prompt 'helpfulness', from {path}:\n\n{path.read_text().rstrip()}")


def test_the_schema(ok: Callable[..., str]) -> None:
    assert json.loads(ok("steps", "--schema")) == recipe_schema()


def test_the_store_is_counted_cleaned_and_exported(
    process: Curate, curate: Callable[..., Any], home: Path
) -> None:
    model = script(home, "colour=5", "town=1", "bad=2")
    arguments = ("filter", "rows.jsonl", "judge", "-o", "out.jsonl", "--model", model)
    assert process(*arguments).returncode == 0
    numbers = json.loads(curate("store", "stats", "--json").stdout)
    assert (numbers["replies"], numbers["requests"], numbers["runs"]) == (4, 4, 1)
    done = process("store", "export")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["reply"]["text"] for line in lines) == ["1", "2", "5", "5"]
    assert curate("store", "export", "-o", "all.jsonl").exit_code == 0
    assert (home / "all.jsonl").read_text() == done.stdout
    assert curate("store", "export", "-o", "all.jsonl").exit_code == 2
    assert "0 replies deleted" in curate("store", "gc").stdout
    told = process("explain", "runs/out", lines_ids(home)[0]).stdout
    assert "asked scripted" in told
    assert "reply: " in told
    assert "4 replies" in curate("doctor").stdout


def lines_ids(home: Path) -> list[str]:
    from curate.pipeline import Result

    return [row.id for row in Result.open(home / "runs" / "out").kept]


def test_doctor_names_keys_and_never_shows_them(
    curate: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_API_KEY", "sk-very-secret")
    done = curate("doctor")
    assert done.exit_code == 0, done.output
    assert "ACME_API_KEY" in done.stdout
    assert "secret" not in done.output
    assert "none in .curate yet" in done.stdout


def test_doctor_finds_a_broken_store(curate: Callable[..., Any], home: Path) -> None:
    (home / ".curate").mkdir()
    (home / ".curate" / "store.db").write_bytes(b"no database " * 100)
    done = curate("doctor")
    assert done.exit_code == 4
    assert "broken  store" in done.stdout
