"""The command as a whole: its list, its names, what starting it costs."""

import importlib
import inspect
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.cli.main import COMMANDS
from tests.cli.conftest import Curate


def test_help_lists_every_command_in_its_own_words(ok: Callable[..., str]) -> None:
    text = " ".join(ok("--help").split())
    for name, said in COMMANDS.items():
        module = importlib.import_module(f"curate.cli.commands.{name}")
        doc = module.app.info.help if hasattr(module, "app") else inspect.getdoc(module.command)
        assert str(doc).split("\n\n")[0] == said
        assert f"{name} {said}" in text


def test_the_usage_has_brackets_around_what_may_be_left_out(ok: Callable[..., str]) -> None:
    usages = {name: ok(name, "--help").splitlines()[0] for name in ("filter", "explain", "steps")}
    assert usages == {
        "filter": "Usage: curate filter [OPTIONS] INPUT STEP[:key=value,...]...",
        "explain": "Usage: curate explain [OPTIONS] RUN [ROW]",
        "steps": "Usage: curate steps [OPTIONS] [NAME]",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_flag_has_help(name: str, ok: Callable[..., str]) -> None:
    from curate.cli.main import load

    assert COMMANDS[name] in " ".join(ok(name, "--help").split())
    command = load(name)
    for one in [command, *getattr(command, "commands", {}).values()]:
        silent = [p.name for p in one.params if hasattr(p, "help") and not p.help]
        assert [n for n in silent if n not in ("first", "second")] == []


def test_a_command_that_is_not_there(process: Curate) -> None:
    done = process("rnu")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "No such command 'rnu'. Did you mean 'run'?" in done.stderr


def test_the_version(ok: Callable[..., str]) -> None:
    from importlib.metadata import version

    assert ok("--version") == f"curate {version('curate-align')}\n"


def test_tab_offers_steps_and_runs(process: Curate, environment: dict[str, str]) -> None:
    for words, offered in (("filter rows.jsonl le", "length"), ("steps ne", "near")):
        environment |= {
            "_CURATE_COMPLETE": "complete_bash",
            "COMP_WORDS": f"curate {words}",
            "COMP_CWORD": str(len(words.split())),
        }
        done = process()
        assert offered in done.stdout.split(), done.stderr
    for name in ("_CURATE_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
        environment.pop(name)


def seconds(*arguments: str) -> float:
    """Return the best of five times of a fresh interpreter."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.slow
def test_help_costs_little_more_than_typer() -> None:
    bare = seconds("-c", "import typer")
    assert seconds("-m", "curate.cli", "--help") <= 3 * bare


def test_help_imports_no_command(process: Curate) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom curate.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in sys.modules if m in ('curate.cli.commands.run', 'yaml', 'curate.step')])"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("steps nea", ["near"]),
        ("filter x.jsonl lang", ["language"]),
        ("export runs/a --as trl_d", ["trl_dpo"]),
        ("run a.yaml --shape share", ["sharegpt", "sharegpt_kto", "sharegpt_preference"]),
        ("report runs/fi", ["runs/first"]),
    ],
)
def test_the_tab_key_offers_names(
    typed: str, offered: list[str], home: Path, environment: dict[str, str]
) -> None:
    (home / "runs" / "first").mkdir(parents=True)
    (home / "runs" / "first" / "report.json").touch()
    words = f"curate {typed}"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "from curate.cli.main import main; main()"],
        env={**environment, **asked, "_CURATE_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == offered
