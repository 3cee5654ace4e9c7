"""Tasks with a judge on a server: a ceiling, a kill, another threshold."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from curate.store.store import Store

from .cleaning import talk
from .place import Place, Task, Way, answer, table

RECIPE = """\
inputs: rows.jsonl
models:
  judge: {model: "openai:grader", base_url: "URL", max_tokens: 64, max_concurrency: 4}
steps:
  - rubric: {model: judge, at_least: 5}
"""


def _graded(count: int) -> list[dict[str, Any]]:
    """Rows whose answers say themselves how good they are: 2 to 9, each as often."""
    grades = [2 + n % 8 for n in range(count)]
    return [talk(f"Tell me about {n}.", f"Text {n} of grade {g}.") for n, g in enumerate(grades)]


# Judge under a ceiling.
def _prepare_ceiling(place: Place) -> None:
    place.write("rows.jsonl", _graded(16))


def _check_ceiling(place: Place) -> list[str]:
    kept = place.lines("good.jsonl")
    wrong = [] if len(place.asked) <= 20 else [f"{len(place.asked)} requests were sent, 20 allowed"]
    if kept is None:
        return [*wrong, "there is no good.jsonl"]
    grades = sorted(int(answer(row).split()[-1].rstrip(".")) for row in kept)
    wrong += [] if grades == [7, 7, 8, 8, 9, 9] else [f"grades {grades} are kept"]
    bounds = [(run / "run.yaml").read_text() for run, _ in place.runs()]
    if not any("max_requests: " in text and "max_requests: null" not in text for text in bounds):
        wrong.append("no run had a ceiling of requests")
    return wrong + place.account(rows=16, kept=6)


CEILING = Task(
    "ceiling",
    """
    rows.jsonl holds 16 instructions with answers. Let the model `grader` of the OpenAI-
    compatible server at URL rate every answer from 1 to 10, and write those with 7 and more to
    good.jsonl. You may send 20 requests in all, and the run must be unable to send more.
    """,
    _prepare_ceiling,
    _check_ceiling,
    Way(
        [
            "curate filter rows.jsonl rubric:at_least=7 --model openai:grader --base-url URL "
            "-o good.jsonl --max-requests 20 --json"
        ]
    ),
    Way(
        [
            "curate filter rows.jsonl rubric:at_least=7,samples=2,temperature=0.5 "
            "--model openai:grader --base-url URL -o good.jsonl"
        ]
    ),
)


# Resume after a kill.
def _prepare_kill(place: Place) -> None:
    place.write("rows.jsonl", _graded(80))
    (place.folder / "judge.yaml").write_text(RECIPE.replace("URL", place.server.url))
    words = ["run", "judge.yaml", "-o", "runs/judge"]
    process = subprocess.Popen(
        [sys.executable, "-m", "curate.cli", *words],
        cwd=place.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(place.server.received) < 30 and process.poll() is None:
        assert time.monotonic() < deadline, "the run never began to ask"
        time.sleep(0.005)
    process.kill()
    process.wait()
    with Store.open(place.folder / ".curate") as store:
        known = {one.request.content["messages"][-1][1] for one in store.exchanges()}
    place.known["answered"] = known
    assert 0 < len(known) < 80, f"the run was killed too early or too late: {len(known)} replies"


def _check_kill(place: Place) -> list[str]:
    report = next((r for run, r in place.runs() if run.name == "judge"), None)
    if report is None:
        return ["runs/judge has not finished"]
    again = [one for one in place.asked if one.text in place.known["answered"]]
    wrong = [f"{len(again)} replies were paid for twice"] if again else []
    return (
        wrong
        + ([] if report["kept"] == 50 else ["runs/judge has not judged all rows"])
        + (place.account(rows=80, kept=50))
    )


KILL = Task(
    "kill",
    """
    The machine went down while `curate run judge.yaml -o runs/judge` was asking a paid model.
    Bring that run to its end, without paying for a reply a second time.
    """,
    _prepare_kill,
    _check_kill,
    Way(["curate run judge.yaml -o runs/judge"]),
    Way(["curate run judge.yaml -o runs/judge --replace --store fresh"]),
)


# Another threshold.
def _prepare_threshold(place: Place) -> None:
    place.write("rows.jsonl", _graded(16))
    Way(["curate run judge.yaml -o runs/first"], {"judge.yaml": RECIPE}).go(place)


def _check_threshold(place: Place) -> list[str]:
    if place.asked:
        return [f"{len(place.asked)} requests were sent, and none was needed"]
    kept = table(place.folder / "runs" / "strict" / "kept")
    grades = sorted(row["messages"][-1]["content"].split()[-1] for row in kept)
    wrong = [] if grades == ["8.", "8.", "9.", "9."] else [f"runs/strict keeps grades {grades}"]
    wrong += [] if len(table(place.folder / "runs/first/kept")) == 10 else ["runs/first changed"]
    return wrong + place.account(rows=16, kept=4)


THRESHOLD = Task(
    "threshold",
    """
    runs/first let a paid model rate rows (judge.yaml is its recipe) and kept those with 5 and
    more. Make a run runs/strict that keeps 8 and more. Send no request, and leave runs/first as
    it is.
    """,
    _prepare_threshold,
    _check_threshold,
    Way(["curate run judge.yaml --set steps.rubric.at_least=8 -o runs/strict --max-requests 0"]),
    Way(
        [
            "curate run judge.yaml --set steps.rubric.at_least=8 --set steps.rubric.max_tokens=32 "
            "-o runs/strict"
        ]
    ),
)
