"""`curate prove` from the command line: plan, verdict, exit codes, and what it refuses."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
RECIPE = "steps:\n  - length: {min: 3, on: response}\n"


def run(*words: str | Path) -> Any:
    from typer.testing import CliRunner

    from curate.cli.main import app

    return CliRunner().invoke(app, ["prove", *map(str, words)])


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.folder(tmp_path / "model")
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"alpha{n} beta{n} gamma{n}?"},
                {"role": "assistant", "content": f"yes {n} yes" if n % 2 else "no"},
            ],
            "who": "ann" if n % 4 < 2 else "bob",
        }
        for n in range(300)
    ]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.yaml"
    path.write_text(f"inputs: raw.jsonl\n{RECIPE}")
    return path


@pytest.fixture
def judged(recipe: Path) -> Path:
    """Let a judge decide, who cannot be read at his first try on half of the rows."""
    # Of 300 rows half are good; what cannot be read has nothing to do with that.
    lines = [
        {"when": {"contains": f"alpha{n} "}, "attempt": 0, "reply": "I would rather not say."}
        for n in range(300)
        if n % 4 < 2
    ]
    lines.append({"when": {"contains": "yes"}, "reply": '{"rationale": "so", "score": 9}'})
    lines.append({"when": {}, "reply": '{"rationale": "so", "score": 1}'})
    Path("judge.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe.write_text(
        "inputs: raw.jsonl\nmodels: {judge: 'scripted:judge.jsonl'}\n"
        "steps:\n  - rubric: {model: judge, at_least: 5, repairs: 0}\n"
    )
    return recipe


def sent() -> int:
    report = json.loads(Path("out/curated/report.json").read_text())
    return int(report["requests"]["sent"])


def test_a_judge_of_the_recipe_that_fails_half_stops_the_proof(judged: Path) -> None:
    done = run(judged, "-o", "out", *common())
    assert done.exit_code == 4, done.output
    assert "141 rows failed (50.4%)" in done.stderr
    assert "--retry-failed asks again" in done.stderr
    assert not Path("out/plan.json").exists() and not Path("out/arms").exists()
    assert sent() == 280
    # The same again pays nothing, and no share that was not allowed goes through.
    assert run(judged, "-o", "out", *common("--allow-failed", "40%")).exit_code == 4
    assert sent() == 280


@pytest.mark.slow
def test_rows_that_a_judge_could_not_decide_are_in_no_arm(judged: Path) -> None:
    words = (judged, "-o", "out", *common())
    done = run(*words, "--allow-failed", "60%", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert any(
        note == "141 of 280 candidates (50.4%) failed in the recipe, and are in no arm"
        for note in found["notes"]
    )
    rows = {arm["name"]: arm["rows"] for arm in found["arms"]}
    assert rows["all"] == 139
    assert len({n for name, n in rows.items() if name != "all" and "tokens" not in name}) == 1
    # With an answer to every question there would be other arms: that is another plan.
    again = run(*words, "--retry-failed")
    assert again.exit_code == 2
    assert "another plan" in again.stderr
    fresh = run(judged, "-o", "fresh", *common("--retry-failed", "--json"))
    assert fresh.exit_code == 0, fresh.output
    rows = {arm["name"]: arm["rows"] for arm in json.loads(fresh.stdout)["arms"]}
    assert rows["all"] == 280


def common(*more: str) -> list[str]:
    return ["--model", "model", "--draws", "3", "--held-out", "20", "--max-steps", "2", *more]


@pytest.mark.slow
def test_a_recipe_is_proved_and_the_same_command_trains_nothing_again(recipe: Path) -> None:
    done = run(recipe, "-o", "out", *common())
    assert done.exit_code == 0, done.output
    assert "curation" in done.stdout.splitlines()[0]
    assert "trained on" in done.stdout
    assert "note: 20 held-out rows are few" in done.stdout
    assert Path("out/proof.json").is_file()
    assert Path("out/plan.json").is_file()
    pytest.importorskip("matplotlib")
    assert Path("out/proof.png").is_file()
    stamps = {path: path.stat().st_mtime_ns for path in Path("out/arms").iterdir()}
    again = run(recipe, "-o", "out", *common(), "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["verdicts"][0]["metric"] == "loss"
    assert {path: path.stat().st_mtime_ns for path in Path("out/arms").iterdir()} == stamps
    other = run(recipe, "-o", "out", *common(), "--seed", "5")
    assert other.exit_code == 2
    assert "seed: 0 before, 5 now" in other.stderr


@pytest.mark.slow
def test_a_judge_is_one_more_metric(recipe: Path) -> None:
    # A judge of places: whatever is shown first.
    Path("judge.jsonl").write_text('{"when": {}, "reply": "A"}\n')
    words = (recipe, "-o", "out", *common("--judge", "scripted:judge.jsonl", "--judge-rows", "8",
                                          "--max-tokens", "4"))  # fmt: skip
    plan = json.loads(run(*words, "--dry-run", "--json").stdout)
    assert plan["judge_requests_at_most"] == 2 * 8 * plan["runs"]
    assert not Path("out").exists()
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [one["metric"] for one in found["verdicts"]] == ["loss", "judge"]
    assert found["verdicts"][1]["verdict"] == "no evidence"
    assert (found["judge"]["prompts"], found["judge"]["failed"]) == (8, 0)
    # The same command goes on without an answer or a verdict being made again.
    Path("judge.jsonl").write_text("")
    stamps = {path: path.stat().st_mtime_ns for path in Path("out/arms").iterdir()}
    again = run(*words)
    assert again.exit_code == 0, again.output
    assert "judge: 8 of 8 prompts have a verdict for every run" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in Path("out/arms").iterdir()} == stamps
    silent = run(recipe, "-o", "other", *common("--judge", "scripted:judge.jsonl"))
    assert silent.exit_code == 4, silent.output


@pytest.mark.slow
def test_a_killed_proof_goes_on_and_trains_nothing_twice(recipe: Path) -> None:
    words = ["prove", str(recipe), "-o", "out", *common("--max-steps", "4")]
    killed = subprocess.Popen([sys.executable, "-m", "curate", *words], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while len(list(Path("out/arms").glob("*.json"))) < 2 and time.monotonic() < until:
        assert killed.poll() is None, "it ended before it was killed"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    stamps = {p: p.stat().st_mtime_ns for p in Path("out/arms").glob("*.json")}
    assert len(stamps) >= 2
    assert not Path("out/proof.json").exists()
    done = run(*words[1:])
    assert done.exit_code == 0, done.output
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert len(list(Path("out/arms").iterdir())) == 9


@pytest.mark.slow
def test_a_full_disk_ends_with_4_and_the_same_command_goes_on(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.evaluate.proof import arms

    whole, written = arms.write_atomically, list[Path]()

    def full(path: Path, text: str) -> None:
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        whole(path, text)

    with monkeypatch.context() as patched:
        patched.setattr(arms, "write_atomically", full)
        done = run(recipe, "-o", "out", *common())
    assert done.exit_code == 4, done.output
    assert "no room left on the disk of out/arms" in done.stderr
    assert len(list(Path("out/arms").glob("*.json"))) == 3
    stamps = {path: path.stat().st_mtime_ns for path in written}
    again = run(recipe, "-o", "out", *common())
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in written} == stamps


@pytest.mark.slow
def test_a_dry_run_names_runs_and_time_and_leaves_nothing(recipe: Path) -> None:
    before = sorted(path.name for path in Path().iterdir())
    done = run(recipe, "-o", "out", *common("--dry-run"))
    assert done.exit_code == 0, done.output
    # all, curated, three draws, the longest; and three draws of as many tokens.
    assert "would train 9 runs of 2 steps" in done.stdout
    assert "nothing is kept" in done.stdout
    found = json.loads(run(recipe, *common("--dry-run", "--json")).stdout)
    assert found["runs"] == 9
    assert found["held_out"] == 20
    assert {path.name for path in Path().iterdir()} - set(before) <= {".curate"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [(["--by", "who"], "ann against bob"), (["--sizes", "40"], "40 rows"),
     (["--between", "full", "lora"], "full against lora")],
)  # fmt: skip
def test_what_else_can_be_compared(recipe: Path, words: list[str], told: str) -> None:
    done = run(recipe, *words, "-o", "out", *common())
    assert done.exit_code == 0, done.output
    assert told in done.stdout


def test_groups_that_are_too_small_are_named(recipe: Path) -> None:
    done = run(recipe, "--by", "who", *common(), "--set", "steps.length.min=4")
    assert done.exit_code == 2
    found = run(recipe, "--by", "who", "-o", "out", *common("--held-out", "100"))
    assert found.exit_code == 2
    assert "under 60 rows are not compared: ann (" in found.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipe.yaml", "other.yaml"], "prove looks at one, or compares all: --between"),
        (["full", "lora", "--between"], "curate prove RECIPE --between full lora"),
        (["recipe.yaml", "--sizes", "30,many"], "found 'many'"),
        (["recipe.yaml", "--sizes", "30", "--by", "who"], "sizes and by are different questions"),
        (["nothing.yaml"], "there is no recipe"),
        (["recipe.yaml", "--metric", "beauty"], "has no metric 'beauty'"),
        (["raw.jsonl", "--between", "recipe.yaml"], "--held-out FILE"),
        (["recipe.yaml", "--judge-labels", "raw.jsonl"], "--judge-labels is for answers that are"),
        (["recipe.yaml", "--max-tokens", "9"], "--max-tokens is for answers that are judged"),
        (["recipe.yaml", "--metric", "loss,judge"], "--judge MODEL adds that of a judge"),
        (["recipe.yaml", "--judge", "nobody:x", "--reference", "best"], "'best' is not one of"),
    ],
)
def test_what_is_refused_before_anything_is_read(recipe: Path, words: list[str], said: str) -> None:
    done = run(*words, *common())
    assert done.exit_code == 2, done.output
    assert said in done.output
