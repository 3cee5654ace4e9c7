"""Exit codes and messages, from real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Curate, lines_of


def script(home: Path, *replies: str) -> str:
    """Write replies for the judge, one per grade, and return the model."""
    lines = [{"when": {"contains": c}, "reply": r} for c, r in (x.split("=") for x in replies)]
    (home / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "scripted:replies.jsonl"


def test_0_when_all_is_done(process: Curate, home: Path) -> None:
    done = process("filter", "rows.jsonl", "length:min=3", "-o", "out.jsonl")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "4 in + 0 made = 3 kept" in done.stdout
    assert len(lines_of(home / "out.jsonl")) == 3
    assert (home / "runs" / "out" / "report.json").is_file()


def test_1_when_more_rows_failed_than_allowed(process: Curate) -> None:
    done = process("filter", "rows.jsonl", "stumble", "-o", "out.jsonl")
    assert done.returncode == 1
    assert "1 row failed, more than --allow-failed 0 allows" in done.stderr
    again = process("filter", "rows.jsonl", "stumble", "-o", "out.jsonl", "--allow-failed", "0.25")
    assert again.returncode == 0, again.stderr


WRONG = [
    (["run", "nosuch"], "there is no recipe 'nosuch'"),
    (["run", "quickstrt"], "there is no recipe 'quickstrt'; did you mean 'quickstart'?"),
    (["run", "mine.yaml"], "there is no recipe 'mine.yaml': no such file"),
    (["run", "pipelines/mine.yaml"], "there is no recipe 'pipelines/mine.yaml': no such file"),
    (
        ["generate", "rows.jsonl", "unpack", "-o", "x.jsonl"],
        "the step comes first: curate generate unpack rows.jsonl -o x.jsonl",
    ),
    (
        ["filter", "rows.jsonl", "keywords:words=[a]", "-o", "x.jsonl"],
        "pattern, phrases, whole_words)",
    ),
    (["run", "recipe.yaml", "--set", "steps.lenght.min=1"], "did you mean 'length'"),
    (["run", "recipe.yaml", "--set", "seed"], "--set takes PATH=VALUE"),
    (["run", "recipe.yaml", "--limit", "-1"], "--limit"),
    (["run", "recipe.yaml", "--max-cost", "nan"], "--max-cost"),
    (["run", "recipe.yaml", "--allow-failed", "2"], "--allow-failed"),
    (["run", "recipe.yaml", "--nosuch"], "No such option"),
    (["run", "recipe.yaml", "-o", "a", "--run", "b"], "name two run folders"),
    (["run"], "Missing argument"),
    (["filter", "rows.jsonl", "lenght", "-o", "x.jsonl"], "did you mean 'length'"),
    (["filter", "rows.jsonl", "length:mn=3", "-o", "x.jsonl"], "did you mean 'min'"),
    (["filter", "rows.jsonl", "length:min=a", "-o", "x.jsonl"], "min must be an integer"),
    (["filter", "rows.jsonl", "top:count=1,by=x", "-o", "x.jsonl"], "no step before this one"),
    (["filter", "nosuch.jsonl", "length", "-o", "x.jsonl"], "no such file"),
    (["filter", "rows.jsonl", "length", "-o", "x.foo"], "cannot tell its format"),
    (["report", "nosuch"], "holds no run"),
    (["explain", "nosuch", "00"], "holds no run"),
    (["steps", "nosuch"], "unknown step 'nosuch'"),
    (["export", "nosuch.jsonl", "-o", "x.jsonl"], "no such file"),
    (["store", "stats"], "there is no store in .curate"),
    (["preview", "nosuch.yaml"], "there is no recipe"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG, ids=lambda v: " ".join(v)[:40])
def test_2_when_something_is_wrong_before_anything_is_spent(
    curate: Callable[..., Any], home: Path, arguments: list[str], says: str
) -> None:
    done = curate(*arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (home / "x.jsonl").exists()
    assert not (home / ".curate").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "nosuch"], "there is no recipe 'nosuch'"),
        (["filter", "rows.jsonl", "judge", "-o", "x.jsonl"], "unknown model 'judge'"),
    ],
    ids=["recipe", "model"],
)
def test_a_process_ends_with_2_and_no_traceback(
    process: Curate, home: Path, arguments: list[str], says: str
) -> None:
    done = process(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (home / ".curate").exists()


def test_an_error_in_a_recipe_names_file_line_and_step(process: Curate, home: Path) -> None:
    (home / "bad.yaml").write_text("inputs: rows.jsonl\nsteps:\n- length:\n    min: no\n")
    done = process("run", "bad.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: bad.yaml:4: step 'length': min must be an integer")


def test_4_when_a_step_cannot_decide_and_no_advice_to_go_on(process: Curate, home: Path) -> None:
    (home / "mixture.yaml").write_text(
        "inputs: {rows: rows.jsonl}\nsteps:\n- mix: {weights: {row: 1}}\n"
    )
    done = process("run", "mixture.yaml")
    assert done.returncode == 4
    assert "could not decide: caps or weights name 'row'" in done.stderr
    assert "did you mean 'rows'? (known: rows; a run with --limit reads" in done.stderr
    # The same command would fail again.
    assert "the same command continues" not in done.stderr


def test_3_when_a_ceiling_is_reached_and_the_same_command_goes_on(
    process: Curate, home: Path
) -> None:
    model = script(home, "colour=5", "town=1", "bad=2")
    arguments = ["filter", "rows.jsonl", "judge", "-o", "out.jsonl", "--model", model]
    done = process(*arguments, "--max-requests", "2")
    assert done.returncode == 3, done.stderr
    assert "--max-requests" in done.stderr
    assert "2" in done.stderr
    assert "the same command continues" in done.stderr
    assert not (home / "out.jsonl").exists()
    state = process("report", "runs/out")
    assert state.returncode == 0, state.stderr
    assert "runs/out was stopped before its end" in state.stdout
    assert "requests   2 sent" in state.stdout
    assert process("report", "runs/out", "--json").returncode == 2
    done = process(*arguments, "--max-requests", "4")
    assert done.returncode == 0, done.stderr
    report = json.loads((home / "runs" / "out" / "report.json").read_text())
    assert report["requests"]["sent"] == 4
    assert report["kept"] == 2
    assert (report["this_time"]["sent"], report["this_time"]["replayed"]) == (2, 2)
    assert "this time  2 sent, 2 replayed" in done.stdout


def test_4_and_one_line_when_nobody_expected_it(home: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys, curate.pipeline\n"
        "def open(folder): raise ZeroDivisionError('odd \\x1b[31m')\n"
        "curate.pipeline.Result.open = open\n"
        "sys.argv = ['curate', 'report', 'runs', *sys.argv[1:]]\n"
        "from curate.cli.main import main; main()\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 4
    assert done.stderr == (
        "error: unexpected ZeroDivisionError: odd \\x1b[31m (run again with --debug for the "
        "traceback)\n"
    )
    done = subprocess.run(
        [*command, "--debug"], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 4
    assert "Traceback (most recent call last)" in done.stderr


def test_debug_shows_the_traceback_of_a_plain_error(process: Curate) -> None:
    done = process("report", "nosuch", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "error: nosuch holds no run" in done.stderr


def interrupted(
    command: list[str], home: Path, environment: dict[str, str], seconds: float
) -> tuple[int, str]:
    """Interrupt a command while a row sleeps; return its exit code and what it said in time."""
    with subprocess.Popen(
        command,
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "asleep\n"
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=seconds)
    return child.returncode, said


def test_130_when_interrupted(home: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "curate.cli", "filter", "rows.jsonl", "sleeper"]
    code, said = interrupted([*command, "-o", "o.jsonl"], home, environment, 20)
    assert code == 130
    assert said == "interrupted; the same command continues\n"


def test_a_command_in_the_background_goes_on(home: Path, environment: dict[str, str]) -> None:
    """A shell without job control, and `nohup`, have it ignore the terminal's Ctrl-C."""
    command = [sys.executable, "-m", "curate", "filter", "rows.jsonl"]
    command += ["sleeper:seconds=0.2", "-o", "o.jsonl"]
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    code, said = interrupted(ignoring, home, environment, 60)
    assert (code, "interrupted" in said) == (0, False), said
    assert (home / "o.jsonl").exists()


def test_a_closed_pipe_is_nobodys_fault(home: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "curate.cli", "steps", "--schema"]
    with subprocess.Popen(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        os.read(child.stdout.fileno(), 10)
        child.stdout.close()
        said = child.stderr.read()
    assert child.returncode == 0
    assert said == b""


def test_4_and_no_escapes_where_an_error_is_unexpected(capsys: pytest.CaptureFixture[str]) -> None:
    """What an error quotes of the data drives no terminal."""
    from types import SimpleNamespace

    from curate.cli.failures import reported

    context = SimpleNamespace(meta={}, invoked_subcommand="run")
    with pytest.raises(SystemExit) as left, reported(context):
        raise KeyError("\x1b]0;owned\x07\x1b[2J")
    assert left.value.code == 4
    said = capsys.readouterr().err
    assert "unexpected KeyError" in said
    assert "\x1b" not in said
    assert "\x07" not in said
