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
from curate.step import Step
from curate.steps import (
    Aggregate,
    BestOf,
    ConstitutionalPrefer,
    Convert,
    CritiqueRevise,
    Delta,
    Pairs,
    Prefer,
    Rank,
    Respond,
    Reviewed,
    RewardScore,
    RlaifPrefer,
)

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


def killed(arguments: list[Path], log: Path, after: int) -> set[str]:
    """Kill a run once so many requests were sent; return the keys of the replies that it stored."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, *map(str, arguments)])
    until = time.monotonic() + 30
    while not log.exists() or log.read_text().count("\n") < after:
        assert time.monotonic() < until
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    child.kill()
    child.wait()
    with sqlite3.connect(arguments[-1] / "store.db") as connection:
        paid = {key.hex() for (key,) in connection.execute("SELECT key FROM replies")}
    connection.close()
    assert paid
    return paid


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
    paid = killed([path, data, folder, store], log, after=25)
    before = log.read_text().split()
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


def makers() -> dict[str, tuple[list[Step], int, dict[str, dict[str, object]]]]:
    """Return steps that make pairs, what they send for a row, and other rules for them."""
    answers = Respond(model="m", samples=5, to="sft", temperature=1.0)
    return {
        "critique_revise": (
            [CritiqueRevise(model="m", rounds=3)],
            7,
            {"critique_revise": {"upto": 2, "last": True}},
        ),
        "pairs": (
            [answers, RewardScore(model="m"), Pairs(by="reward_score")],
            10,
            {"pairs": {"rejected": "second", "most": 2}},
        ),
        "best_of": (
            [answers, RewardScore(model="m"), BestOf(by="reward_score")],
            10,
            {"best_of": {"count": 2, "lowest": True}},
        ),
        "delta": (
            [
                Respond(models=("m", "n"), samples=3, to="sft", temperature=1.0),
                Delta(larger="m", smaller="n"),
            ],
            6,
            {"delta": {"most": 3}},
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["critique_revise", "pairs", "best_of", "delta"])
def test_a_killed_maker_of_pairs_goes_on_and_other_rules_ask_nothing(
    name: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    lines: list[dict[str, object]] = []
    # Every round says something else, so that no two requests are one.
    for number in (3, 2, 1):
        said_before = f"version {number}" if number > 1 else "First."
        anew = {"contains": ["Now write the answer anew", f"kinder, {number}"]}
        lines.append({"when": anew, "reply": f"This is version {number + 1}."})
        criticised = {"contains": ["Criticise", said_before]}
        lines.append({"when": criticised, "reply": f"It could be kinder, {number}."})
    if name in ("pairs", "best_of"):
        # A reward request is the only one in which an answer stands.
        lines = [{"when": {"contains": f"answer {n}"}, "values": [n % 4]} for n in range(5)]
    said = [f"answer {n}{' more' * n}" for n in range(5)] if name != "critique_revise" else "First."
    models = {}
    for model in ("m", "n"):
        own = [f"Well, {text}" for text in said] if model == "n" else said
        path = tmp_path / f"{model}.jsonl"
        every = [{**line, "delay": 0.01} for line in [*lines, {"when": {}, "reply": own}]]
        path.write_text("".join(json.dumps(line) + "\n" for line in every))
        models[model] = {
            "model": f"scripted:{path}", "log": str(log), "max_concurrency": CONCURRENCY,
        }  # fmt: skip
    steps, requests, rules = makers()[name]
    text = Pipeline(steps, models={k: v for k, v in models.items() if k in used(steps)}).to_yaml()
    recipe_file, rows = tmp_path / "recipe.yaml", tmp_path / "rows.jsonl"
    recipe_file.write_text(text)
    rows.write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(ROWS)))
    folder, store = tmp_path / "run", tmp_path / "store"
    paid = killed([recipe_file, rows, folder, store], log, after=60)
    before = log.read_text().split()
    assert len(before) < requests * ROWS
    again = Pipeline.from_yaml(text).run(rows, run=folder, store=store)
    asked = log.read_text().split()
    assert not paid & set(asked[len(before) :]), "a stored reply is asked again"
    assert len(set(asked)) == requests * ROWS
    whole = Pipeline.from_yaml(text).run(rows, run=tmp_path / "whole", store=tmp_path / "other")
    assert contents(again) == contents(whole)
    assert again.summary["figures"] == whole.summary["figures"]
    assert again.summary["kept"] > 0
    other = again.rethreshold(**rules)
    assert other.summary["this_time"]["sent"] == 0
    assert contents(other) != contents(whole)
    fresh = Pipeline.from_yaml(text).with_settings(
        {f"steps.{label}.{field}": v for label, own in rules.items() for field, v in own.items()}
    )
    run = fresh.run(rows, run=tmp_path / "fresh", store=tmp_path / "fresh_store")
    assert contents(other) == contents(run)


def used(steps: list[Step]) -> set[str]:
    """Return the names of the models that the steps ask."""
    return {name for step in steps for name in step.reads_models()}


def votes(name: str) -> list[dict[str, object]]:
    """Return a pair for each question, and for `aggregate` a second vote, against one in four."""
    sides = {"chosen": "Yes.", "rejected": "No, never."}
    rows: list[dict[str, object]] = [
        {"prompt": f"Question {n}?", **sides, "annotator": "anna"} for n in range(ROWS)
    ]
    if name != "aggregate":
        return rows
    turned = {"chosen": "No, never.", "rejected": "Yes."}
    others = [turned if n % 4 == 0 else sides for n in range(ROWS)]
    ben: list[dict[str, object]] = [
        {**row, **own, "annotator": "ben"} for row, own in zip(rows, others, strict=True)
    ]
    return [*rows, *ben]


def decisions(path: Path, ids: list[str], dropped: int) -> str:
    """Write decisions that turn every second pair, and drop the first so many of the others."""
    lines = [
        {"row": one, "annotator": "anna", "decision": "chosen", "value": "rejected"}
        if n % 2
        else {"row": one, "annotator": "anna", "decision": "drop" if n < dropped else "keep"}
        for n, one in enumerate(ids)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aggregate", "convert", "reviewed"])
def test_steps_that_ask_nothing_stand_before_a_judge_that_is_killed(
    name: str, tmp_path: Path
) -> None:
    rows, log, replies = tmp_path / "rows.jsonl", tmp_path / "log", tmp_path / "replies.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in votes(name)))
    replies.write_text(json.dumps({"when": {}, "values": [-0.2, -1.0], "delay": 0.01}) + "\n")
    ids = [row.id for row in Pipeline([]).run(rows, run=tmp_path / "ids").kept]
    # The step, other rules for it, and how many pairs the judge is shown.
    step, rules, shown = {
        "aggregate": (Aggregate(), {"at_least": 0.9, "prior": 1.0}, ROWS - ROWS // 4),
        "convert": (Convert(to="ranked"), None, ROWS),
        "reviewed": (
            Reviewed(file=decisions(tmp_path / "decisions.jsonl", ids, 10)),
            {"file": decisions(tmp_path / "others.jsonl", ids, 20)},
            ROWS - 5,
        ),
    }[name]
    judge = {"model": f"scripted:{replies}", "log": str(log), "max_concurrency": CONCURRENCY}
    asking: list[Step] = [step, Prefer(model="judge", sides="given", orders="given")]
    text = Pipeline(asking, models={"judge": judge}).to_yaml()
    recipe_file, folder, store = tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "store"
    recipe_file.write_text(text)
    paid = killed([recipe_file, rows, folder, store], log, after=12)
    before = log.read_text().split()
    assert len(before) < shown
    again = Pipeline.from_yaml(text).run(rows, run=folder, store=store)
    asked = log.read_text().split()
    assert not paid & set(asked[len(before) :]), "a stored reply is asked again"
    assert len(set(asked)) == shown
    whole = Pipeline.from_yaml(text).run(rows, run=tmp_path / "whole", store=tmp_path / "other")
    assert contents(again) == contents(whole)
    assert again.summary["figures"] == whole.summary["figures"]
    assert again.summary["kept"] == shown
    if rules is not None:
        other = again.rethreshold(**{name: rules})
        assert other.summary["this_time"]["sent"] == 0
        fresh = Pipeline.from_yaml(text).with_settings(
            {f"steps.{name}.{field}": value for field, value in rules.items()}
        )
        run = fresh.run(rows, run=tmp_path / "fresh", store=tmp_path / "fresh_store")
        assert contents(other) == contents(run)
        assert (contents(other) != contents(whole)) == (name == "reviewed")
