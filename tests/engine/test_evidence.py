"""What is made carries evidence, fails alone and is explained; groups are whole; figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate import Pipeline
from curate.errors import RecipeError
from curate.row import Candidate, Message, Record, Row, canonical_bytes, check_record
from curate.step import (
    Drop,
    Failed,
    Generate,
    Made,
    Verdicts,
    Whole,
    dataclass,
)
from curate.steps import Top

from .conftest import assert_conserved, fingerprint, run
from .contract_steps import Couples, number_in, numbered, write_script
from .trial_steps import BestAnswer, Samples, Shots, TwoSteps, answer


def writer(folder: Path, rows: int, again: str = "bad") -> dict[str, Any]:
    """Return a model whose third answer to question 1 is bad, at the first attempt at least."""
    entries: list[dict[str, Any]] = []
    for n in range(rows):
        when = {"messages": [{"role": "user", "content": f"question {n}"}]}
        texts = [f"answer {n * 10 + s}" for s in range(5)]
        if n == 1:
            entries.append({"when": when, "sample": 2, "attempt": 0, "reply": "bad"})
            entries.append({"when": when, "sample": 2, "reply": again})
        entries.append({"when": when, "reply": texts})
    path = write_script(folder / "replies.jsonl", entries)
    return {"writer": {"model": f"scripted:{path}", "log": str(folder / "sent.log")}}


def sent(folder: Path) -> int:
    path = folder / "sent.log"
    return len(path.read_text().split()) if path.exists() else 0


def test_one_child_fails_alone_and_scores_of_made_rows_decide_later(tmp_path: Path) -> None:
    models = writer(tmp_path, 4)
    steps = [Samples(), Top(count=6, by="samples")]
    result = run(steps, numbered(4), tmp_path, models=models)
    assert_conserved(result)
    assert result.summary["steps"][0] | {"seconds": 0} == {
        "label": "samples", "name": "samples", "in": 4, "made": 20, "kept": 19, "used": 4,
        "dropped": 0, "failed": 1, "reasons": {}, "seconds": 0,
    }  # fmt: skip
    assert sorted(row.scores["samples"] for row in result.kept) == [
        24.0,
        *map(float, range(30, 35)),
    ]
    [failed] = list(result.failed)
    assert failed.response == "bad"
    life = result.explain(failed.id)
    assert [event["outcome"] for event in life.events] == ["made", "failed"]
    assert life.events[-1]["reason"] == "ValueError: cut off"
    [exchange] = life.exchanges.values()
    assert exchange["reply"] == "bad"
    best = next(iter(result.kept))
    assert result.explain(best.id).events[0]["detail"] == {"sample": best.seq[-1]}


def test_a_failed_child_is_asked_again_on_request_and_its_siblings_are_not(tmp_path: Path) -> None:
    models = writer(tmp_path, 4, again="answer 99")
    first = run([Samples()], numbered(4), tmp_path, models=models)
    assert (first.summary["failed"], sent(tmp_path)) == (1, 20)
    same = run([Samples()], numbered(4), tmp_path, models=models)
    assert sent(tmp_path) == 20
    assert fingerprint(same.folder) == fingerprint(first.folder)
    again = run([Samples()], numbered(4), tmp_path, models=models, retry_failed=True)
    assert (again.summary["failed"], sent(tmp_path)) == (0, 21)
    assert {99.0} < {row.scores["samples"] for row in again.kept}
    assert_conserved(again)


def test_a_step_that_makes_no_scores_is_no_target_of_by() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Plain(Generate):
        """Make nothing of note."""

    with pytest.raises(RecipeError, match="no step before this one scores"):
        Pipeline([Plain(), Top(count=1, by="plain")]).check(["sft"])
    Pipeline([Samples(), Top(count=1, by="samples")], models={"writer": "local"}).check(["sft"])


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (Made(answer("a", "b"), "much"), "a score must be a number"),  # type: ignore[arg-type]
        (Made("text"), "made a str"),  # type: ignore[arg-type]
        (Made(answer("a", "b"), 1.0, ["x"]), "a detail must be a mapping"),  # type: ignore[arg-type]
        (Failed(""), "a reason must not be empty"),
        (Failed("why", "record"), "made a str"),  # type: ignore[arg-type]
        (Drop("gone", row="0" * 32), "dropped the row"),
    ],
)
def test_evidence_that_could_not_be_written_fails_the_row(
    item: Any, error: str, tmp_path: Path
) -> None:
    def odd(row: Row) -> Any:
        return item if row.seq[-1] else row

    result = run([odd], numbered(2), tmp_path)
    [failed] = result.failed.tables()
    assert error in failed.column("error")[0].as_py()
    assert_conserved(result)


# -- groups ----------------------------------------------------------------------------------------


def test_a_group_with_a_failed_member_fails_and_each_member_has_its_reason(tmp_path: Path) -> None:
    models = writer(tmp_path, 4)
    result = run([Samples(), BestAnswer()], numbered(4), tmp_path, models=models)
    assert_conserved(result)
    step = result.summary["steps"][1]
    assert (step["in"], step["kept"], step["failed"], step["dropped"]) == (19, 3, 4, 12)
    assert step["reasons"] == {f"answer {place} of 5": 3 for place in (2, 3, 4, 5)}
    failed = [e for table in result.failed.tables() for e in table.column("error").to_pylist()]
    assert sum("the group has 4 of 5 rows" in error for error in failed) == 4
    assert result.summary["figures"] == {"best_answer": {"spread": 4.0}}
    # Another rule asks nothing.
    before = sent(tmp_path)
    result.rethreshold(best_answer=1.0)
    assert sent(tmp_path) == before


def test_groups_of_a_size_are_made_while_rows_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": f"question {n}"} for n in range(100)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    whole = run([Shots()], str(path), tmp_path / "one")
    assert_conserved(whole)
    # 34, 33 and 33 rows of each topic: 8 groups of four each, and what is left.
    sizes = sorted(row.instruction.count("\n") + 1 for row in whole.kept)
    assert sizes == [1, 1, 2, *[4] * 24]
    firsts = [number_in(row.instruction) for row in whole.kept]
    assert firsts == sorted(firsts)
    monkeypatch.setattr("curate.read.lines.PART_ROWS", 7)
    parts = run([Shots()], str(path), tmp_path / "parts")
    assert fingerprint(parts.folder) == fingerprint(whole.folder)


@pytest.mark.slow
def test_few_shot_composites_of_a_large_source_take_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    from curate.engine.output.run_files import Publisher

    monkeypatch.setattr("curate.read.lines.PART_ROWS", 1000)
    held: list[int] = []
    add = Publisher.add

    def noted(self: Publisher, state: Any) -> None:
        # What is held whenever a part leaves; how a file is cut is not the matter here.
        held.append(tracemalloc.get_traced_memory()[0])
        add(self, state)

    monkeypatch.setattr(Publisher, "add", noted)

    def most(count: int) -> int:
        path = tmp_path / f"{count}.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for n in range(count):
                file.write(json.dumps({"prompt": f"question {n} " + "word " * 60}) + "\n")
        held.clear()
        tracemalloc.start()
        result = run([Shots()], str(path), tmp_path / f"run{count}", workers=1)
        tracemalloc.stop()
        assert result.summary["used"] == count
        assert len(held) == count // 1000
        return max(held)

    most(40_000)  # Compiled kernels are loaded once.
    # A row takes more than a kilobyte while it is looked at; what stays is its id and place.
    assert most(50_000) - most(5_000) < 45_000 * 250


# -- figures ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entropy(Whole):
    """Report a figure, and decide nothing."""

    wrong: bool = False

    def sketch_types(self) -> dict[str, str]:
        return {"rest": "int64"}

    def sketch(self, row: Row) -> dict[str, int]:
        return {"rest": number_in(row.instruction) % 4}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        shares = np.bincount(sketches.column("rest").to_numpy()) / len(positions)
        bits = float(-(shares * np.log2(shares)).sum())
        return Verdicts(
            code=np.full(len(positions), -1),
            figures={"bits": float("nan") if self.wrong else bits, "rows": len(positions)},
        )


def test_figures_of_a_step_stand_in_the_report(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from curate.cli.main import app
    from curate.errors import StoppedShort

    rows = [{"prompt": f"question {n}"} for n in range(16)]
    result = run([Entropy()], rows, tmp_path)
    assert result.summary["figures"] == {"entropy": {"bits": 2.0, "rows": 16}}
    stored = json.loads((result.folder / "report.json").read_text())
    assert stored["figures"] == result.summary["figures"]
    assert "entropy: bits 2, rows 16" in result.report()
    fewer = run([Entropy()], rows[:15], tmp_path, run=tmp_path / "fewer")
    folders = [str(result.folder), str(fewer.folder)]
    shown = CliRunner().invoke(app, ["compare", *folders], prog_name="curate").stdout
    assert "figures that differ" in shown
    assert "rows" in shown.split("figures that differ")[1]
    with pytest.raises(StoppedShort, match="the figure 'bits' must be a finite number"):
        run([Entropy(wrong=True)], rows, tmp_path / "wrong")


# -- growth ----------------------------------------------------------------------------------------


def tasks(folder: Path) -> dict[str, Any]:
    entries = [{"when": {"contains": f"a topic, {n};"}, "reply": f"topic {n}"} for n in range(40)]
    about = [
        {"when": {"contains": f"a task about topic {n}"}, "reply": f"task {n}"}
        for n in range(39, -1, -1)
    ]
    path = write_script(folder / "tasks.jsonl", [*entries, *about])
    spec = {"model": f"scripted:{path}", "identity": "tasks", "log": str(folder / "sent.log")}
    return {"writer": spec}


def test_growth_explains_what_it_made_and_what_failed(tmp_path: Path) -> None:
    models = tasks(tmp_path)
    result = run([TwoSteps(target=12)], numbered(3), tmp_path, models=models)
    assert_conserved(result)
    grown = [row for row in result.kept if row.parents]
    assert len(grown) == 12
    life = result.explain(grown[0].id)
    assert life.events[0]["outcome"] == "made"
    assert life.events[0]["score"] == grown[0].scores["two_steps"] == len(grown[0].instruction)
    assert set(life.events[0]["detail"]) == {"topic", "against", "asked"}
    assert [e["reply"] for e in life.exchanges.values()] == [
        life.events[0]["detail"]["topic"],
        grown[0].instruction,
    ]
    failed = [row for row in result.failed if row.parents]
    assert failed
    life = result.explain(failed[0].id)
    assert [e["outcome"] for e in life.events] == ["made", "failed"]
    assert "3" in [e["reply"] for e in life.exchanges.values()][-1]
    count, want = sent(tmp_path), fingerprint(result.folder)
    again = run([TwoSteps(target=12)], numbered(3), tmp_path, models=models)
    assert (sent(tmp_path), fingerprint(again.folder)) == (count, want)
    more = run(
        [TwoSteps(target=14), Top(count=5, by="two_steps", only=("prompt",))],
        numbered(3),
        tmp_path,
        models=models,
        run=tmp_path / "more",
    )
    assert more.summary["kept"] == 5 + 3
    assert sent(tmp_path) > count


def test_growth_is_estimated_in_rounds_and_previewed_from_the_whole_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from curate.cli.main import app

    models, rows = tasks(tmp_path), numbered(3)
    steps = [TwoSteps(target=12)]
    plan = run(steps, rows, tmp_path, models=models, dry_run=True).summary["estimate"]
    # A row for each request and two requests one after the other: 3 rounds of 4.
    assert plan["requests"] == 24
    assert plan["ends_at"] == "two_steps"
    # What a preview asks is what the run begins with.
    monkeypatch.chdir(tmp_path)
    source = Path(__file__).with_name("trial_steps.py").read_text(encoding="utf-8")
    (tmp_path / "growing.py").write_text(source.replace("from .", "from tests.engine."))
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(
        json.dumps(
            {
                "inputs": "pool.jsonl",
                "models": models,
                "steps": [{"growing.py:TwoSteps": {"target": 12}}],
            }
        )
    )
    done = CliRunner().invoke(
        app, ["preview", "recipe.yaml", "-n", "2", "--store", "shared"], prog_name="curate"
    )
    assert done.exit_code in (0, 1), done.stderr
    assert "question" not in done.stdout
    assert done.stdout.count("made") >= 2
    asked = sent(tmp_path)
    assert 0 < asked <= 16
    full = Pipeline.from_yaml((tmp_path / "recipe.yaml").read_text()).run(
        run="full", store="shared", allow_failed=1.0
    )
    assert full.summary["this_time"]["sent"] + asked == sent(tmp_path)
    # What is stored is no longer expected, and closed rounds say how much each brings.
    more = (tmp_path / "recipe.yaml").read_text().replace('"target": 12', '"target": 14')
    again = (
        Pipeline.from_yaml(more).run(run="more", store="shared", dry_run=True).summary["estimate"]
    )
    assert again["requests"] > 0
    assert again["requests"] <= 16
    assert full.summary["estimate"]["off"]["requests"] is not None


def test_a_failed_request_of_a_round_keeps_its_reply(
    models: Mapping[str, Any], tmp_path: Path
) -> None:
    from .contract_steps import Novel

    step = Novel(target=1000, round_size=5, patience=4)
    result = run([step], numbered(10), tmp_path, models=dict(models))
    bad = [row for row in result.failed if not row.kind]
    assert bad
    life = result.explain(bad[0].id)
    assert life.record == {"raw": "bad"}
    assert [e["reply"] for e in life.exchanges.values()] == ["bad"]
    assert life.parents


def test_what_is_known_of_a_candidate_travels_with_it(tmp_path: Path) -> None:
    def ranked(row: Row) -> Record:
        answers = tuple(
            Candidate(
                (Message("assistant", text),), float(n), "m", json.dumps({"aspects": {"help": n}})
            )
            for n, text in enumerate(("no", "yes"))
        )
        fields = {"prompt": (Message("user", row.instruction),), "candidates": answers}
        return Record("ranked", fields)

    out = tmp_path / "out.jsonl"
    result = run([ranked], numbered(3), tmp_path, output=out)
    kept = list(result.kept)
    assert [json.loads(c.extra or "")["aspects"] for c in kept[0].candidates] == [
        {"help": 0},
        {"help": 1},
    ]
    line = json.loads(out.read_text().splitlines()[0])
    assert [c["aspects"] for c in line["candidates"]] == [{"help": 0}, {"help": 1}]
    again = run([lambda row: row], str(out), tmp_path / "again")
    for one, other in zip(kept, again.kept, strict=True):
        assert [json.loads(c.extra or "") for c in one.candidates] == [
            json.loads(c.extra or "") for c in other.candidates
        ]
    assert result.kept.to_list()[0]["candidates"][1]["aspects"] == {"help": 1}
    # No id depends on it.
    assert canonical_bytes("ranked", kept[0].fields) == canonical_bytes(
        "ranked",
        {
            **kept[0].fields,
            "candidates": tuple(c._replace(extra=None) for c in kept[0].candidates),
        },
    )
    with pytest.raises(TypeError, match="an extra must be the JSON text"):
        bad = {**kept[0].fields, "candidates": (kept[0].candidates[0]._replace(extra="[]"),)}
        check_record(Record("ranked", bad))


class Thing:
    """Something whose text says where it lies in memory."""


def test_a_detail_is_the_same_text_in_every_process(tmp_path: Path) -> None:
    """Sets have the order of their hash seed, and objects an address."""
    code = (
        "from curate.engine.ledger import dumps\n"
        "from tests.engine.test_evidence import Thing\n"
        "print(dumps({'words': set('abcdefg') | {'h\\u00e9'}, 'sets': {frozenset('ab'), 1}, "
        "'thing': Thing()}))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    [text] = said
    assert json.loads(text)["words"] == [*"abcdefg", "h\u00e9"]


@pytest.mark.parametrize("expected", [0, -1, 2.0, True, "4"])
def test_a_group_expects_a_number_of_rows(expected: Any, tmp_path: Path) -> None:
    class Odd(Couples):
        def expects(self, row: Row) -> int | None:
            return expected

    result = run([Odd(groups=1)], numbered(4), tmp_path)
    assert result.summary["failed"] == 4
    [error] = {row["error"] for row in result.failed.to_list()}
    assert error.startswith("TypeError: expects must return a number from 1 on, or None")
