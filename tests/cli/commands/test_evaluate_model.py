"""`curate evaluate model` as a user types it."""

import errno
import json
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def annotated(tmp_path):
    """Write forty annotations: the model wins where its answer is the longer one."""
    records = []
    for n in range(40):
        own = "long answer" * (n % 4) + "."
        records.append(
            {
                "instruction": f"Do {n}",
                "output_1": "a baseline text",
                "output_2": own,
                "generator_1": "base",
                "generator_2": "own",
                "dataset": ("chat", "code")[n % 2],
                "preference": 1.9 if len(own) > 15 else 1.1,
            }
        )
    (tmp_path / "a.json").write_text(json.dumps(records))
    (tmp_path / "d.json").write_text(json.dumps([0.0] * 40))
    head = "np.tanh(std_delta_len),instruction_difficulty,not_gamed_baseline.astype(float)"
    (tmp_path / "w.csv").write_text(f",{head}\nown,-1,0.5,0\n")
    return tmp_path


def test_recorded_annotations_are_measured(curate, annotated):
    done = curate("evaluate", "model", "own", "--recorded", "a.json")
    assert done.exit_code == 0, done.stderr
    assert "40 prompts" in done.stdout
    assert "win rate                        50.00%" in done.stdout
    assert "chat    20" in done.stdout
    found = json.loads(curate("evaluate", "model", "own", "--recorded", "a.json", "--json").stdout)
    assert found["win_rate"]["value"] == 0.5
    assert found["length_controlled"]["how"] == "fitted"
    assert found["win_rate_longest"]["value"] == 0.5
    figures = json.loads(curate("report", "runs/a-recorded", "--json").stdout)["figures"]
    assert figures["evaluation"]["win_rate"] == 0.5


def test_published_weights_take_the_place_of_a_fit(curate, annotated):
    given = ("evaluate", "model", "own", "--recorded", "a.json", "--weights", "w.csv")
    done = curate(*given, "--difficulty", "d.json", "--json")
    assert done.exit_code == 0, done.stderr
    controlled = json.loads(done.stdout)["length_controlled"]
    assert (controlled["win_rate"], controlled["how"]) == (0.5, "given")
    wrong = curate("evaluate", "model", "other", *given[3:])
    assert (wrong.exit_code, "has no weights of 'other'" in wrong.stderr) == (2, True)
    # The published weights weigh how difficult an instruction is; no difficulty is not 0.
    alone = curate(*given, "--json")
    assert alone.exit_code == 2, alone.stdout
    assert "give --difficulty FILE" in alone.stderr
    (annotated / "d.json").write_text("{")
    wrong = curate(*given, "--difficulty", "d.json")
    assert (wrong.exit_code, "cannot be read as JSON" in wrong.stderr) == (2, True)


def test_what_is_missing_or_too_much_is_said(curate, annotated):
    for given, words in (
        ((), "give --on, --mt-bench, --held-out, --pairs, --tasks or --recorded FILE"),
        (("--on", "p.jsonl"), "--on needs a judge: --judge MODEL"),
        (("--mt-bench", "q.jsonl"), "--mt-bench needs a judge"),
        (("--on", "p.jsonl", "--judge", "local", "--model", "local"), "name the models"),
        (("--tasks", "gsm8k"), "need a folder or hf:NAME as the model"),
        (("--on", "p.jsonl", "--judge", "local", "--weights", "w.csv"), "give --recorded FILE"),
        (("--on", "p.jsonl", "--judge", "local", "--difficulty", "d.json"), "give --recorded FILE"),
    ):
        wrong = curate("evaluate", "model", "openai:own", *given)
        assert (wrong.exit_code, words in wrong.stderr) == (2, True), wrong.stderr


@pytest.fixture
def scripted(tmp_path):
    """Write prompts with answers, a model that says one thing, and a judge who prefers it."""
    lines = [{"instruction": f"Ask {n}.", "output": f"reference {n}"} for n in range(4)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "own.jsonl").write_text('{"when": {}, "reply": "GOOD, really"}\n')
    judge = [
        {"when": {"contains": f"{text}\n[end of answer {option}"}, "reply": option}
        for text in ("GOOD, really", *(f"reference {n}" for n in range(4)))
        for option in "AB"
    ]
    (tmp_path / "judge.jsonl").write_text("\n".join(map(json.dumps, judge)))
    return tmp_path


def test_a_model_is_judged_against_answers(curate, scripted):
    given = (
        "evaluate", "model", "scripted:own.jsonl", "--on", "prompts.jsonl",
        "--judge", "scripted:judge.jsonl",
    )  # fmt: skip
    done = curate(*given)
    assert done.exit_code == 0, done.stderr
    assert "win rate against the baseline: 4 prompts" in done.stdout
    assert "win rate                        100.00%" in done.stdout
    assert "a constant answer in its place  0.00%" in done.stdout
    assert "runs/own.jsonl-evaluation" in done.stdout
    found = json.loads(curate(*given, "--json").stdout)
    assert found["win_rate"]["win_rate"]["value"] == 1
    kept = json.loads((scripted / "runs/own.jsonl-evaluation/evaluation.json").read_text())
    assert kept == found
    assert "constant" not in json.loads(curate(*given, "--no-controls", "--replace",
                                               "--json").stdout)["win_rate"]  # fmt: skip


def test_a_ceiling_stops_and_the_same_command_goes_on(curate, scripted):
    given = (
        "evaluate", "model", "scripted:own.jsonl", "--on", "prompts.jsonl",
        "--judge", "scripted:judge.jsonl",
    )  # fmt: skip
    done = curate(*given, "--max-requests", "9")
    assert done.exit_code == 3
    done = curate(*given, "--max-requests", "20")
    assert done.exit_code == 0, done.stderr


def test_a_dry_run_asks_nothing_of_a_model(curate, scripted):
    done = curate(
        "evaluate", "model", "scripted:own.jsonl", "--on", "prompts.jsonl",
        "--judge", "scripted:judge.jsonl", "--dry-run",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["estimate"]["requests"] == 4


JUDGED = (
    "evaluate", "model", "scripted:own.jsonl", "--on", "prompts.jsonl", "--judge",
    "scripted:judge.jsonl",
)  # fmt: skip


def requests_of(folder, part):
    """Return the requests of an evaluation up to the end of a part."""
    report = json.loads((folder / "runs/own.jsonl-evaluation" / part / "report.json").read_text())
    return report["requests"]


def test_a_judge_that_fails_half_of_its_requests(curate, scripted):
    path = scripted / "judge.jsonl"
    silent = [
        {"when": {"contains": f"Ask {n}."}, "attempt": 0, "reply": "Neither of the two."}
        for n in (0, 1)
    ]
    path.write_text("\n".join([*map(json.dumps, silent), path.read_text()]))
    done = curate(*JUDGED)
    assert done.exit_code == 1
    # What stands: the two prompts that were judged, and how many were not.
    assert "win rate against the baseline: 2 prompts" in done.stdout
    assert "4 rows failed in runs/own.jsonl-evaluation/judged" in done.stderr
    paid = requests_of(scripted, "judged")["sent"]
    found = json.loads((scripted / "runs/own.jsonl-evaluation/evaluation.json").read_text())
    assert (found["win_rate"]["prompts"], found["win_rate"]["failed"]) == (2, 4)
    # Replies that were unusable are kept, and nobody pays for them again ...
    assert curate(*JUDGED).exit_code == 1
    assert requests_of(scripted, "judged")["sent"] == paid
    # ... unless that is asked for: the four contests of two prompts, in both orders.
    done = curate(*JUDGED, "--retry-failed")
    assert done.exit_code == 0, done.stderr
    assert "win rate against the baseline: 4 prompts" in done.stdout
    assert requests_of(scripted, "judged")["sent"] == paid + 8


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_pays_nothing_twice(curate, scripted):
    path = scripted / "judge.jsonl"
    lines = [json.loads(line) | {"delay": 0.05 * n} for n, line in
             enumerate(path.read_text().splitlines())]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    command = [sys.executable, "-m", "curate", *JUDGED, "--store", "store"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stored():
        done = curate("store", "stats", "--store", "store", "--json")
        return json.loads(done.stdout)["replies"] if done.exit_code == 0 else 0

    until = time.monotonic() + 120
    # The answers, and some of the sixteen judgements.
    while killed.poll() is None and time.monotonic() < until and stored() < 8:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = stored()
    assert not (scripted / "runs/own.jsonl-evaluation/evaluation.json").exists()
    done = curate(*JUDGED, "--store", "store")
    assert done.exit_code == 0, done.stderr
    assert "win rate                        100.00%" in done.stdout
    assert stored() == 20
    assert requests_of(scripted, "judged")["replayed"] >= before - 4


def test_a_full_disk_ends_with_4_and_the_same_command_goes_on(curate, scripted, monkeypatch):
    from curate.evaluate.model import stages

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(stages, "write_atomically", full)
        done = curate(*JUDGED)
    assert done.exit_code == 4
    assert "no room left on the disk for " in done.stderr
    assert "contests.jsonl: free some" in done.stderr
    assert "the same command continues" in done.stderr
    assert "unexpected" not in done.stderr
    assert requests_of(scripted, "answers")["sent"] == 4
    done = curate(*JUDGED)
    assert done.exit_code == 0, done.stderr
    # Of all parts together: four answers, sixteen judgements.
    assert requests_of(scripted, "judged")["sent"] == 20
