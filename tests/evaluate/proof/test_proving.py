"""A proof from raw rows to a verdict, with a trainer that needs no model."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import DiskFull, StoppedShort, UsageError
from curate.evaluate.proof.proof_text import proof_text
from curate.evaluate.proof.proving import PreparedProof, ProofRequest, prepare_proof, run_proof
from curate.row import Row
from curate.steps import Sample
from tests.evaluate.proof.arithmetic import MeanTrainer, failure, records, write


def good(row: Row) -> bool:
    return bool(json.loads(row.extra or "{}")["quality"])


def by_hash(row: Row) -> bool:
    return int(row.id, 16) % 2 == 0


def plan(tmp_path: Path, trainer: MeanTrainer, step: Any = good, **given: Any) -> PreparedProof:
    raw = tmp_path / "raw.jsonl"
    if not raw.exists():
        write(raw, records(400))
    request = ProofRequest(**{"draws": 6, "held_out": 100, **given})
    pipeline = Pipeline([step] if step else [], inputs=str(raw))
    return prepare_proof(
        pipeline, lambda kind: trainer, request, tmp_path / "out", store=tmp_path / "store"
    )


def test_a_curation_that_helps_is_found(tmp_path: Path) -> None:
    trainer = MeanTrainer()
    proof = run_proof(plan(tmp_path, trainer))
    assert [one.kind for one in proof.verdicts] == ["helped"]
    assert proof.exit_code == 0
    assert trainer.trained == ["all", "curated", *(f"random-{k}" for k in range(1, 7)), "longest"]
    written = json.loads((tmp_path / "out" / "proof.json").read_text())
    assert written["verdicts"][0]["tests"][0]["rank"] == 1
    text = proof_text(written)
    assert text.startswith("the curation helped: better than random rows and the longest rows")
    assert "note: 100 held-out rows are few" in text
    # The same command again trains nothing.
    trainer.trained.clear()
    assert run_proof(plan(tmp_path, trainer)).record == proof.record
    assert trainer.trained == []


def test_the_plan_is_written_before_anything_is_trained(tmp_path: Path) -> None:
    prepared = plan(tmp_path, MeanTrainer())
    written = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert not (tmp_path / "out" / "arms").exists()
    assert written["order"] == ["random", "random_tokens", "longest", "all"]
    assert (written["draws"], written["seeds"], written["alpha"]) == (6, 1, 0.01)
    assert written["candidates"]["rows"] + written["held_out"]["rows"] == 400
    assert [arm["name"] for arm in written["arms"]] == [s.name for s in prepared.design.subsets]
    assert all(len(arm["digest"]) == 16 for arm in written["arms"])


@pytest.mark.parametrize(
    ("change", "named"),
    [({"draws": 7}, "draws: 6 before, 7 now"), ({"alpha": 0.05}, "alpha"), ({"seed": 1}, "seed"),
     ({"held_out": 90}, "held_out"), ({"step": by_hash}, "recipe")],
)  # fmt: skip
def test_another_plan_needs_another_folder(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    run_proof(plan(tmp_path, MeanTrainer()))
    with pytest.raises(UsageError, match=named) as refused:
        plan(tmp_path, MeanTrainer(), **change)
    assert "choose another folder" in str(refused.value)


def test_before_there_is_a_plan_another_question_may_be_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most half"):
        plan(tmp_path, MeanTrainer(), held_out=1000)
    write(tmp_path / "raw.jsonl", records(300))
    assert plan(tmp_path, MeanTrainer(), by_hash, held_out=100).runs == 9


def test_other_data_needs_another_folder(tmp_path: Path) -> None:
    plan(tmp_path, MeanTrainer())
    write(tmp_path / "raw.jsonl", records(401))
    with pytest.raises(UsageError, match="have changed since this proof began"):
        plan(tmp_path, MeanTrainer())


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds no proof"):
        plan(tmp_path, MeanTrainer())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_failed_arm_is_not_measured_and_is_trained_again(tmp_path: Path) -> None:
    trainer = MeanTrainer()
    trainer.broken["random-3"] = failure()
    proof = run_proof(plan(tmp_path, trainer))
    assert [one.kind for one in proof.verdicts] == ["not measured"]
    assert proof.exit_code == 4
    assert "random-3" in proof.verdicts[0].text
    assert "random-3 failed: seed 0: the loss is nan at step 4" in proof_text(proof.record)
    trainer.broken.clear()
    trainer.trained.clear()
    again = run_proof(plan(tmp_path, trainer))
    assert trainer.trained == ["random-3"]
    (tmp_path / "fresh").mkdir()
    whole = run_proof(plan(tmp_path / "fresh", MeanTrainer()))
    assert again.record["verdicts"] == whole.record["verdicts"]


def test_scores_that_are_no_numbers_are_a_failure(tmp_path: Path) -> None:
    trainer = MeanTrainer()
    trainer.broken["curated"] = "nan"
    proof = run_proof(plan(tmp_path, trainer))
    assert proof.verdicts[0].kind == "not measured"
    assert "loss of 1 held-out rows is not a number" in proof.record["arms"][1]["failed"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "No space left"), DiskFull),
     (DiskFull("full"), DiskFull)],
    ids=["interrupted", "disk", "checkpoint"],
)  # fmt: skip
def test_what_was_trained_stays(
    tmp_path: Path, error: BaseException, raised: type[BaseException]
) -> None:
    trainer = MeanTrainer()
    trainer.broken["random-4"] = error
    with pytest.raises(raised):
        run_proof(plan(tmp_path, trainer))
    assert not (tmp_path / "out" / "proof.json").exists()
    before = list(trainer.trained)
    trainer.broken.clear()
    run_proof(plan(tmp_path, trainer))
    assert trainer.trained == [*before, "random-4", "random-5", "random-6", "longest"]


@pytest.mark.parametrize(
    ("step", "message"),
    [(lambda row: False, "found no rows"),
     (lambda row: int(row.id, 16) % 20 == 0, "30 are the least"),
     (None, "no other subset has as many")],
    ids=["none", "few", "all"],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(tmp_path: Path, step: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(tmp_path, MeanTrainer(), step)


def test_a_recipe_that_hardly_chooses_is_warned_of(tmp_path: Path) -> None:
    prepared = plan(tmp_path, MeanTrainer(), lambda row: int(row.id, 16) % 25 > 0)
    assert any("keeps 9" in note and "little can be seen" in note for note in prepared.notes)


def judge(row: Row) -> bool:
    # Half of the requests fail, until the judge is back.
    if int(row.id, 16) % 2 and "JUDGE_IS_AWAY" in os.environ:
        raise OSError("the judge is away")
    return good(row)


def test_rows_that_fail_in_the_recipe_stop_it_until_they_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_IS_AWAY", "1")
    with pytest.raises(StoppedShort, match=r"curated stopped short: \d+ rows failed"):
        plan(tmp_path, MeanTrainer(), judge)
    assert not (tmp_path / "out" / "plan.json").exists()
    monkeypatch.delenv("JUDGE_IS_AWAY")
    assert run_proof(plan(tmp_path, MeanTrainer(), judge)).verdicts[0].kind == "helped"


def test_checkpoints_that_a_kill_left_beside_scores_are_removed(tmp_path: Path) -> None:
    run_proof(plan(tmp_path, MeanTrainer()))
    left = tmp_path / "out" / "arms" / "001-curated-seed0"
    assert left.with_name("001-curated-seed0.json").is_file()
    (left / "checkpoints").mkdir(parents=True)
    run_proof(plan(tmp_path, MeanTrainer()))
    assert not left.exists()


@pytest.mark.parametrize("count", [0, 201, 1000])
def test_more_than_half_of_the_rows_is_not_held_out(tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError, match="at most half"):
        plan(tmp_path, MeanTrainer(), held_out=count)


def test_longer_rows_are_compared_with_as_many_tokens(tmp_path: Path) -> None:
    rows = [row for n in (2, 20) for row in records(150, words=n)]
    for place, row in enumerate(rows):
        row["messages"][0]["content"] += f" nr{place}" * 3
    write(tmp_path / "raw.jsonl", rows)
    longest = plan(tmp_path, MeanTrainer(), lambda row: len(row.response.split()) > 5,
                   held_out=60)  # fmt: skip
    names = [subset.name for subset in longest.design.subsets]
    assert {"random-6", "random_tokens-6"} <= set(names)
    tokens = {arm["name"]: arm["tokens"] for arm in longest.plan["arms"]}
    goal = tokens["curated"]
    assert all(abs(tokens[f"random_tokens-{k}"] - goal) <= 10 for k in range(1, 7))
    proof = run_proof(longest)
    against = [one.difference.against for one in proof.verdicts[0].tested]
    assert against[:2] == ["random rows", "random rows of as many tokens"]


def test_sizes_are_nested_and_adjusted(tmp_path: Path) -> None:
    prepared = plan(tmp_path, MeanTrainer(), sizes=(80, 40))
    rows = {s.name: {row.id for row in s.rows} for s in prepared.design.subsets}
    assert rows["curated-40"] < rows["curated-80"]
    assert len(rows["random-40-1"]) == len(rows["longest-40"]) == 40
    proof = run_proof(prepared)
    assert [one.name for one in proof.verdicts] == ["40 rows", "80 rows"]
    first = proof.verdicts[0].tested[0]
    assert first.p is not None
    assert first.p >= first.difference.p
    with pytest.raises(UsageError, match="--sizes asks for"):
        prepare_proof(
            Pipeline([good], inputs=str(tmp_path / "raw.jsonl")), lambda kind: MeanTrainer(),
            ProofRequest(draws=6, held_out=100, sizes=(500,)), tmp_path / "two",
            store=tmp_path / "store",
        )  # fmt: skip


def test_groups_are_compared_two_by_two(tmp_path: Path) -> None:
    rows = records(400)
    for row in rows:
        row["source"] = "human" if row["quality"] else "synthetic"
    write(tmp_path / "raw.jsonl", rows)
    proof = run_proof(plan(tmp_path, MeanTrainer(), None, by="source"))
    [found] = proof.verdicts
    assert (found.kind, found.name) == ("better", "human against synthetic")
    assert found.text.startswith("human is better than synthetic: loss +")
    assert len(proof.record["arms"]) == 12


def test_datasets_are_compared_on_neutral_rows(tmp_path: Path) -> None:
    rows = records(500)
    held = write(tmp_path / "held.jsonl", rows[400:])
    one = write(tmp_path / "one.jsonl", [row for row in rows[:400] if row["quality"]])
    other = write(tmp_path / "other.jsonl", [row for row in rows[:410] if not row["quality"]])
    request = ProofRequest(draws=6, held_out=held, between=(one, other))
    trainer = MeanTrainer()
    prepared = prepare_proof(
        None, lambda kind: trainer, request, tmp_path / "out", store=tmp_path / "store"
    )
    assert any("5 rows of" in note and "like held-out ones" in note for note in prepared.notes)
    proof = run_proof(prepared)
    assert proof.verdicts[0].kind == "better"
    with pytest.raises(UsageError, match="--held-out FILE"):
        prepare_proof(None, lambda kind: trainer, ProofRequest(between=(one, other)),
                      tmp_path / "two", store=tmp_path / "store")  # fmt: skip


def test_two_metrics_are_adjusted(tmp_path: Path) -> None:
    proof = run_proof(plan(tmp_path, MeanTrainer({"loss": True, "contrast": False})))
    assert [one.metric for one in proof.verdicts] == ["loss", "contrast"]
    assert [one.kind for one in proof.verdicts] == ["helped", "helped"]
    tests = proof.record["verdicts"][0]["tests"]
    assert tests[0]["p_adjusted"] == pytest.approx(2 * tests[0]["p"])


def test_a_recipe_that_draws_is_compared_in_versions(tmp_path: Path) -> None:
    trainer = MeanTrainer()
    write(tmp_path / "raw.jsonl", records(400))
    pipeline = Pipeline([good, Sample(share=0.6)], inputs=str(tmp_path / "raw.jsonl"))

    def planned(out: str, **given: Any) -> PreparedProof:
        return prepare_proof(
            pipeline, lambda kind: trainer, ProofRequest(draws=6, held_out=100, **given),
            tmp_path / out, store=tmp_path / "store",
        )  # fmt: skip

    prepared = planned("out", versions=3)
    parts = {s.name: s for s in prepared.design.subsets if s.name.startswith("curated")}
    assert list(parts) == ["curated-1", "curated-2", "curated-3"]
    sizes = {len(s.rows) for s in prepared.design.subsets if s.name != "all"}
    assert len(sizes) == 1
    assert len({s.digest() for s in parts.values()}) == 3
    assert (tmp_path / "out" / "curated-3" / "report.json").is_file()
    proof = run_proof(prepared)
    assert proof.verdicts[0].kind == "helped"
    assert "curated     3" in proof_text(proof.record)
    wins = [arm["scores"]["loss"] for arm in proof.record["arms"] if arm["group"] == "curated"]
    test = proof.record["verdicts"][0]["tests"][0]
    draws = [arm["scores"]["loss"] for arm in proof.record["arms"] if arm["group"] == "random"]
    assert test["effect"] == pytest.approx(sum(draws) / 6 - sum(wins) / 3)
    # One version is another question, and asks what it asked before there were any.
    with pytest.raises(UsageError, match="another plan"):
        planned("out")
    assert "versions" not in ProofRequest().as_data()
    with pytest.raises(UsageError, match="kept the same rows: no step of it draws"):
        prepare_proof(
            Pipeline([good], inputs=str(tmp_path / "raw.jsonl")), lambda kind: trainer,
            ProofRequest(draws=6, held_out=100, versions=2), tmp_path / "same",
            store=tmp_path / "store",
        )  # fmt: skip


def test_seeds_are_averaged_within_an_arm(tmp_path: Path) -> None:
    trainer = MeanTrainer()
    proof = run_proof(plan(tmp_path, trainer, seeds=2))
    assert trainer.trained.count("curated") == 2
    assert len(list((tmp_path / "out" / "arms").glob("*.json"))) == 18
    assert proof.record["seeds"] == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [({"draws": 2}, "no spread"), ({"seeds": 0}, "at least 1"), ({"alpha": 1.0}, "alpha"),
     ({"sizes": (40,), "by": "source"}, "sizes and by"),
     ({"versions": 2, "by": "source"}, "by and versions"), ({"versions": 0}, "give 1 or more")],
)  # fmt: skip
def test_requests_that_no_test_can_be_made_of(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ProofRequest(**given)
