"""Every judge of quality: killed and run again, replayed, explained, and asked nothing anew."""

from __future__ import annotations

import json
import math
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate import Pipeline
from curate.pipeline import Result
from curate.store.store import Store

from .conftest import fingerprint

CHILD = Path(__file__).with_name("crash_child.py")
ROWS = 24


@dataclass(frozen=True)
class Case:
    """A judge's steps, and a rule of one of them to change with nothing asked anew."""

    steps: tuple[dict[str, Any], ...]
    change: dict[str, Any]
    shown: str
    ranked: bool = False


def digits(n: int) -> list[float]:
    """Return log-probabilities of six scores that depend on the row."""
    weights = [1 + (n * k) % 7 for k in range(1, 7)]
    return [math.log(weight / sum(weights)) for weight in weights]


# What `explain` shows of a ranker whose model read the beginning of an answer, and of a triple.
CUT, GRADED = '"cut": ["response"]', '"quality": {"human": {"helpfulness": '
CASES = {
    "alpagasus": Case(
        ({"alpagasus": {"model": "judge"}},), {"alpagasus": {"at_least": 2}}, "in half of it"
    ),
    "alpagasus in samples": Case(
        ({"alpagasus": {"model": "judge", "samples": 3, "temperature": 1.0}},),
        {"alpagasus": {"at_least": 2}},
        "spread",
    ),
    "deita": Case(
        (
            {"deita_complexity": {"model": "choice", "at_least": 3.0}},
            {"deita_quality": {"model": "choice"}},
            {"deita_evol": {"model": "choice"}},
            {"top": {"by": "deita_evol", "count": 6}},
        ),
        {"top": {"count": 3}},
        "quality",
    ),
    "deita side by side": Case(
        (
            {"deita_joint": {"model": "joint", "per": "seed"}},
            {"top": {"by": "deita_joint", "count": 9}},
        ),
        {"top": {"count": 4}},
        "They differ.",
    ),
    "ultrafeedback": Case(
        ({"ultrafeedback": {"model": "ratings"}},), {"ultrafeedback": {}}, "means", ranked=True
    ),
    "ensemble": Case(
        (
            {"alpagasus": {"model": "judge", "at_least": None}},
            {"deita_quality": {"model": "choice"}},
            {"ensemble": {"of": ["alpagasus", "deita_quality"], "at_least": 0.5}},
        ),
        {"ensemble": {"at_least": 0.2}},
        "spread",
    ),
    "safety": Case(
        ({"safety": {"model": "letters", "drop": ["over-refusal"]}},),
        {"safety": {"drop": ["refusal"]}},
        "outcome",
    ),
    "scar": Case(({"scar": {"model": "ranker", "share": 0.5}},), {"scar": {"share": 0.25}}, CUT),
    "scar by a threshold": Case(
        ({"scar": {"model": "ranker", "at_least": 0.0}},), {"scar": {"at_least": 1.0}}, CUT
    ),
    "scar pairs": Case(
        ({"scar_pairs": {"model": "writer", "judge": "grades"}},), {"scar_pairs": {}}, GRADED
    ),
}
any_judge = pytest.mark.parametrize("name", CASES)


def script(kind: str) -> Iterator[dict[str, Any]]:
    """Yield the replies of one kind of judge, a line for what its question holds."""
    for n in range(ROWS):
        about = {"when": {"contains": f"question {n}?"}}
        if kind == "judge":
            score = "7" if n % 8 == 5 else f"{n % 11 / 2}\nRight in half of it."
            yield {**about, "reply": score}
        elif kind == "choice":
            yield {**about, "values": digits(n)}
        elif kind == "joint":
            scores = [1 + n % 6, 1 + n % 5, 1 + n % 3]
            yield {**about, "reply": json.dumps({"rationale": "They differ.", "scores": scores})}
        elif kind == "ratings":
            ratings = [{"rationale": "So.", "rating": 1 + (n + k) % 5} for k in range(2)]
            yield {**about, "reply": json.dumps({"ratings": ratings})}
        elif kind == "ranker":
            yield {**about, "values": [math.sin(n) + n % 3], "cut": [1] if n % 2 else []}
        elif kind == "writer":
            # Asked for the same in other words, it is shown what the person said.
            human = {"when": {"contains": [f"question {n}?", f"answer {n}"]}}
            yield {**human, "reply": f"Rewritten, {n}."}
            yield {**about, "reply": f"Written, {n}."}
        elif kind == "grades":
            # A reply without a score in one row of eight, which therefore fails.
            said = "It is fine." if n % 8 == 5 else f"Final score: {n % 10}"
            yield {**about, "reply": said}
        else:
            contains = "What does the answer do with"
            yield {"when": {"contains": contains}, "reply": "B"}
            yield {**about, "reply": "A" if n % 3 else "C"}


def prepare(folder: Path, case: Case) -> Path:
    folder.mkdir()
    if case.ranked:
        said = [{"messages": [{"role": "assistant", "content": text}]} for text in ("Yes.", "No.")]
        rows: list[dict[str, Any]] = [
            {"prompt": [{"role": "user", "content": f"question {n}?"}], "candidates": said}
            for n in range(ROWS)
        ]
    else:
        rows = [
            {"instruction": f"question {n}?", "output": f"answer {n}", "seed": n // 3}
            for n in range(ROWS)
        ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    used = set(re.findall(r"'(?:model|judge)': '(\w+)'", str(case.steps)))
    models = {}
    for kind in sorted(used):
        lines = "".join(json.dumps(line) + "\n" for line in script(kind))
        (folder / f"{kind}.jsonl").write_text(lines)
        models[kind] = {"model": f"scripted:{kind}.jsonl", "identity": kind}
    recipe = {"inputs": "rows.jsonl", "steps": list(case.steps), "models": models}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def child(folder: Path) -> subprocess.Popen[bytes]:
    plan = {"recipe": "twin:judge", "rows": 0, "phase": None}
    return subprocess.Popen([sys.executable, str(CHILD), str(folder), json.dumps(plan)])


def committed(folder: Path) -> int:
    if not (folder / "store" / "store.db").exists():
        return 0
    with Store.open(folder / "store") as store:
        return sum(1 for _ in store.exchanges())


def run_in(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, **change: Any) -> Result:
    monkeypatch.chdir(folder)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    for step in recipe["steps"]:
        for own, fields in step.items():
            fields.update(change.get(own, {}))
    pipeline = Pipeline.from_yaml(yaml.safe_dump(recipe))
    return pipeline.run(run=folder / name, store=folder / "store", allow_failed=1.0)


@any_judge
def test_a_replay_and_another_rule_ask_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    folder = prepare(tmp_path / "it", case)
    result = run_in(folder, "run", monkeypatch)
    counts = result.summary
    assert counts["in"] + counts["made"] == sum(
        counts[outcome] for outcome in ("kept", "used", "dropped", "failed")
    )
    assert counts["requests"]["sent"] > 0
    again = run_in(folder, "again", monkeypatch)
    assert again.summary["requests"]["sent"] == 0
    assert fingerprint(folder / "again") == fingerprint(folder / "run")
    other = run_in(folder, "other", monkeypatch, **case.change)
    assert other.summary["requests"]["sent"] == 0
    if any(case.change.values()):
        assert other.summary["kept"] != counts["kept"]
    lives = [result.explain(row.id) for row in (*result.kept, *result.dropped)]
    said = json.dumps([life.events for life in lives], default=str)
    assert case.shown in said


@pytest.mark.slow
@any_judge
def test_a_killed_run_ends_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    calm = prepare(tmp_path / "calm", case)
    began = time.monotonic()
    code = child(calm).wait(120)
    took = time.monotonic() - began
    want = fingerprint(calm / "run")
    assert want
    folder, dice, paid = prepare(tmp_path / "killed", case), random.Random(name), 0
    for _ in range(4):
        process = child(folder)
        time.sleep(took * dice.uniform(0.3, 0.95))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert committed(folder) >= paid
        paid = committed(folder)
    assert child(folder).wait(120) == code
    assert committed(folder) == committed(calm)
    assert fingerprint(folder / "run") == want
