"""A judge of pairs is killed: no committed reply is asked for again, and nothing is different."""

import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from curate import Pipeline
from curate.pipeline import Result
from curate.steps import ConstitutionalPrefer, Prefer, Rank, RlaifPrefer

CHILD = """
import sys
from curate import Pipeline
Pipeline.from_yaml(open(sys.argv[1]).read()).run(sys.argv[2], run=sys.argv[3], store=sys.argv[4])
"""
ROWS, CONCURRENCY = 40, 4
PAIRWISE = {
    "prefer": Prefer,
    "constitutional_prefer": ConstitutionalPrefer,
    "rlaif_prefer": RlaifPrefer,
}


def recipe(folder: Path, method: str, at_least: float | None = None) -> str:
    """Return a recipe whose judge prefers letters that come late, slowly."""
    replies = folder / "replies.jsonl"
    if not replies.exists():
        lines = [
            {"when": {"contains": f"Question {n}?"}, "values": [-0.2 - n / 50, -1.0], "delay": 0.01}
            for n in range(ROWS)
        ]
        if method == "listwise":
            text = '{"rationale": "r", "ranks": [1, 2, 2]}'
            lines = [{"when": {}, "reply": text, "delay": 0.01}]
        replies.write_text("".join(json.dumps(line) + "\n" for line in lines))
    step = (
        PAIRWISE[method](model="judge", sides="given", at_least=at_least)
        if method in PAIRWISE
        else Rank(model="judge", method=method)  # type: ignore[arg-type]
    )
    judge = {
        "model": f"scripted:{replies}",
        "log": str(folder / "log"),
        "max_concurrency": CONCURRENCY,
    }
    return Pipeline([step], models={"judge": judge}).to_yaml()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for n in range(ROWS):
            answers = [f"{letter} {n}" for letter in "abc"]
            candidates = [{"messages": [{"role": "assistant", "content": a}]} for a in answers]
            file.write(json.dumps({"prompt": f"Question {n}?", "candidates": candidates}) + "\n")
    return path


def pairs_of(data: Path) -> None:
    """Leave two candidates in every row."""
    records = [json.loads(line) for line in data.read_text().splitlines()]
    for record in records:
        del record["candidates"][2:]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))


def contents(result: Result) -> list[object]:
    return [(r.id, r.seq, r.kind, r.fields, r.extra, r.scores) for r in result.kept]


@pytest.mark.slow
@pytest.mark.parametrize("method", [*PAIRWISE, "tournament", "listwise"])
def test_a_killed_judge_goes_on_and_another_limit_asks_nothing(
    method: str, data: Path, tmp_path: Path
) -> None:
    if method in PAIRWISE:
        pairs_of(data)
    text = recipe(tmp_path, method)
    path, log = tmp_path / "recipe.yaml", tmp_path / "log"
    path.write_text(text)
    folder, store = tmp_path / "run", tmp_path / "store"
    command = [sys.executable, "-c", CHILD, *map(str, (path, data, folder, store))]
    child = subprocess.Popen(command)
    until = time.monotonic() + 30
    while not log.exists() or log.read_text().count("\n") < 25:
        assert time.monotonic() < until
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    child.kill()
    child.wait()
    with sqlite3.connect(store / "store.db") as connection:
        paid = {key.hex() for (key,) in connection.execute("SELECT key FROM replies")}
    connection.close()
    before = log.read_text().split()
    assert paid
    again = Pipeline.from_yaml(text).run(data, run=folder, store=store)
    asked = Counter(log.read_text().split())
    assert not paid & set(log.read_text().split()[len(before) :]), "a stored reply is asked again"
    wanted = {"tournament": 6}.get(method, 2) * ROWS
    assert len(asked) == wanted
    whole = Pipeline.from_yaml(text).run(data, run=tmp_path / "whole", store=tmp_path / "other")
    assert contents(again) == contents(whole)
    assert again.summary["figures"] == whole.summary["figures"]
    replay = Pipeline.from_yaml(text).run(data, run=tmp_path / "replay", store=store)
    assert replay.summary["requests"]["sent"] == 0
    assert contents(replay) == contents(whole)
    history = whole.explain(next(iter(whole.kept)).id)
    evidence = "opinions" if method != "listwise" else "ranks"
    assert evidence in str(history.events[0]["detail"])
    assert len(history.parents[0].exchanges) == wanted // ROWS
    if method in PAIRWISE:
        stricter = Pipeline.from_yaml(recipe(tmp_path, method, at_least=0.6))
        other = stricter.run(data, run=tmp_path / "strict", store=store)
        assert other.summary["requests"]["sent"] == 0
        assert other.summary["kept"] < whole.summary["kept"]
