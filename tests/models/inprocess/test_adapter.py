"""Models of other distributions: found by entry point, asked in batches, refused where wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCORER = '''
import threading

from curate.ask import Reply
from curate.errors import PermanentFault

SIZES = []


class Lengths:
    """Score a conversation by the length of its last turn."""

    forms, options, version, batch_size = ("reward",), ("scale",), "2", 16

    def __init__(self, name, options):
        if name == "gone":
            raise OSError("no such weights")
        self.scale = options.get("scale", 1.0)

    def answer(self, requests):
        SIZES.append(len(requests))
        found = []
        for request in requests:
            text = request.messages[-1].content
            wrong = PermanentFault("it cannot be scored") if text == "wrong" else None
            found.append(wrong or Reply(values=(self.scale * len(text),)))
        return found


class Wrong:
    forms = ("rewards",)

    def answer(self, requests):
        return []
'''

RUN = """
import json, sys
from dataclasses import dataclass
from curate import Pipeline
from curate.ask import Ask, Reward
from curate.row import Message
from curate.step import Asking, Filter, rule
import lengths


@dataclass(frozen=True, kw_only=True)
class Rated(Filter):
    model: str | None = "judge"
    form: str = "reward"
    at_least: float | None = rule(None)

    def score(self, row):
        if self.form == "ask":
            yield Ask.text("x")
        reply = yield Reward(messages=(Message("user", row.instruction),), model=self.model)
        return reply.values[0]

    def keep(self, score):
        return "short" if self.at_least is not None and score < self.at_least else None


spec, form, at_least = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3])
rows = [{"prompt": "x" * (1 + n % 50) + str(n)} for n in range(200)] + [{"prompt": "wrong"}]
pipeline = Pipeline([Rated(form=form, at_least=at_least)], models={"judge": spec})
result = pipeline.run(rows, store="store", run=f"run-{at_least}", allow_failed=1.0)
print(json.dumps({"summary": result.summary, "sizes": lengths.SIZES}))
"""


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    (tmp_path / "lengths.py").write_text(SCORER)
    info = tmp_path / "lengths-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lengths\nVersion: 1.0\n")
    points = "[curate.models]\nlengths = lengths:Lengths\nwrong = lengths:Wrong\n"
    (info / "entry_points.txt").write_text(points)
    return tmp_path


def run(folder: Path, spec: object, form: str = "reward", at_least: float = 0.0) -> object:
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(spec), form, str(at_least)],
        env={**os.environ, "PYTHONPATH": path}, cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_a_scorer_is_asked_in_batches_and_replayed(scorer: Path) -> None:
    first = run(scorer, {"model": "lengths:any", "scale": 2.0})
    assert isinstance(first, dict), first
    summary = first["summary"]
    assert (summary["kept"], summary["failed"]) == (200, 1)
    assert max(first["sizes"]) == 16, "batches of its own size"
    assert len(first["sizes"]) < 60, "and not row by row"
    # Another threshold asks only what got no reply.
    again = run(scorer, {"model": "lengths:any", "scale": 2.0}, at_least=20.0)
    assert isinstance(again, dict) and again["sizes"] == [1]
    assert again["summary"]["dropped"] > 0
    # Another option is another identity.
    other = run(scorer, {"model": "lengths:any", "scale": 3.0}, at_least=21.0)
    assert isinstance(other, dict) and sum(other["sizes"]) == 201


@pytest.mark.parametrize(
    ("spec", "form", "said"),
    [
        ("lengths:any", "ask", "for texts; it gives rewards"),
        ({"model": "lengths:any", "scal": 1}, "reward", "unknown option 'scal'; did you mean"),
        ({"model": "lengths:any", "batch_size": 0}, "reward", "'batch_size' is 0"),
        ("lengths:gone", "reward", "cannot be loaded: OSError: no such weights"),
        ("wrong:any", "reward", "a model adapter has a method 'answer' and 'forms'"),
        ("length:any", "reward", "did you mean 'lengths'"),
    ],
)
def test_what_is_wrong_is_said(scorer: Path, spec: object, form: str, said: str) -> None:
    found = run(scorer, spec, form)
    assert isinstance(found, str) and said in found
