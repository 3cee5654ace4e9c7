"""A dataset that grows: old rows are not paid for again, and new ones are compared with a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.errors import UsageError
from curate.pipeline import Pipeline, Result
from curate.steps import Contamination, Exact, Near, Novelty, Respond, Rubric
from tests.models.chaos import Answer, Received, Server, chat

WORDS = ("amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath", "islet", "jetty")


def rows(start: int, stop: int) -> list[dict[str, str]]:
    """Return rows that share no three words with each other."""
    texts = [" ".join(f"{word}{n}" for word in WORDS) for n in range(start, stop)]
    return [{"instruction": f"Write about {text}.", "output": f"On {text}."} for text in texts]


def write(path: Path, records: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def answer(request: Received) -> Answer:
    if "0 birch0" in request.text:
        return chat('{"rationale": "Short.", "score": 2}')
    return chat('{"rationale": "Good.", "score": 8}')


STEPS: dict[str, list[Any]] = {
    "judged": [Exact(), Near(), Rubric(model="m", at_least=5, max_tokens=99)],
    "answered": [Exact(), Respond(model="m", max_tokens=99)],
}


@pytest.mark.parametrize("name", STEPS)
def test_only_new_rows_are_asked_about_and_paid_for(name: str, tmp_path: Path) -> None:
    old = write(tmp_path / "old.jsonl", rows(0, 12))
    # Three rows come again, and stand before the new ones.
    new = write(tmp_path / "new.jsonl", [*rows(3, 6), *rows(12, 17)])
    files = {"old": old, "new": new}

    def run(inputs: dict[str, str], folder: str) -> Result:
        model = {"model": "openai:tiny", "base_url": server.url, "identity": "m"}
        model |= {"price": {"input": 1, "output": 1}}
        pipeline = Pipeline(STEPS[name], models={"m": model}, inputs=inputs)
        return pipeline.run(run=tmp_path / folder, store=tmp_path / "store", max_requests=20)

    with Server(answer) as server:
        first = run({"old": old}, "first")
        assert first.summary["requests"]["sent"] == len(server.received) == 12
        second = run(files, "second")
        assert second.summary["requests"]["sent"] == 5 == len(server.received) - 12
        assert second.summary["requests"]["replayed"] == 12
        assert second.summary["cost_usd"] == pytest.approx(first.summary["cost_usd"] * 5 / 12)
        # The other order, and another folder: nothing is new.
        third = run({"new": new, "old": old}, "third")
        assert third.summary["requests"]["sent"] == 0
        assert len(server.received) == 17
    texts = {row.instruction for row in second.kept}
    assert texts >= {row.instruction for row in first.kept}
    assert len(texts) == 16 if name == "judged" else 17
    assert {row.instruction for row in third.kept} == texts


@pytest.mark.parametrize(
    "step",
    [
        Exact(against="RUN"),
        Near(against="RUN"),
        Novelty(against="RUN"),
        Contamination(against=("RUN",), n=5),
    ],
    ids=lambda step: step.name,
)
def test_new_rows_are_compared_with_what_a_run_kept(step: Any, tmp_path: Path) -> None:
    run = str(tmp_path / "first")
    Pipeline([Near()]).run(rows(0, 6), run=run, store=tmp_path / "store")
    there = (run,) if isinstance(step.against, tuple) else run
    step = type(step)(**{**step.fields(), "against": there})
    result = Pipeline([step]).run(rows(4, 9), run=tmp_path / "new", store=tmp_path / "store")
    assert [row.seq[2] for row in result.dropped] == [0, 1]
    for row in result.dropped:
        (event,) = result.explain(row.id).events
        # A test set is called by the name of its file or folder.
        assert "first" in event["reason"] + json.dumps(event["detail"])


def test_a_run_that_was_replaced_is_another_comparison(tmp_path: Path) -> None:
    def compare() -> Result:
        step = Exact(against=str(tmp_path / "first"))
        return Pipeline([step]).run(rows(0, 3), run=tmp_path / "new", store=tmp_path / "store")

    Pipeline([]).run(rows(0, 1), run=tmp_path / "first", store=tmp_path / "store")
    assert compare().summary["kept"] == 2
    assert compare().summary["kept"] == 2
    Pipeline([]).run(rows(0, 2), run=tmp_path / "first", store=tmp_path / "store", replace=True)
    with pytest.raises(UsageError, match="holds a run of"):
        compare()
