"""A judge as a metric of a proof: what it prefers is found, and what it fails at claims nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import CeilingReached, UsageError
from curate.evaluate.proof.judging import JudgeRequest, decided
from curate.evaluate.proof.proof_text import draw_proof, proof_text
from curate.evaluate.proof.proving import PreparedProof, ProofRequest, prepare_proof, run_proof
from curate.row import Row
from tests.evaluate.proof.arithmetic import MeanTrainer, WritingTrainer, failure, records, write

Line = dict[str, Any]
PROMPTS = 60


def says(place: str, option: str) -> Line:
    """Return the line of a judge who names `option` where this text stands before its end mark."""
    return {"when": {"contains": f"{place}\n[end of answer {option}"}, "reply": option}


def good(row: Row) -> bool:
    return bool(json.loads(row.extra or "{}")["quality"])


def by_hash(row: Row) -> bool:
    return int(row.id, 16) % 2 == 0


def questions() -> list[str]:
    return [f"alpha{n} beta{n} gamma{n} delta{n}" for n in range(300)]


def taste() -> list[Line]:
    """Return a judge who prefers GOOD answers to the references, and those to all others."""
    # A prompt's question ends a good answer; a reference is one word five times.
    good_ones = [{"when": {"contains": f"GOOD {q}\n[end of answer {o}"}, "reply": o}
                 for q in questions() for o in "AB"]  # fmt: skip
    bad_ones = [{"when": {"contains": f"BAD {q}\n[end of answer {o}"}, "reply": "BA"["AB".index(o)]}
                for q in questions() for o in "AB"]  # fmt: skip
    return [*good_ones, *bad_ones]


def by_chance(seed: int) -> list[Line]:
    """Return a judge who throws a coin for each comparison and order."""
    draw = random.Random(seed)
    return [
        {"when": {"contains": f"{word} {q}\n[end of answer {o}"}, "reply": draw.choice("AB")}
        for word in ("GOOD", "BAD")
        for q in questions()
        for o in "AB"
    ]


def plan(
    folder: Path,
    lines: Sequence[Line],
    step: Callable[[Row], bool] = good,
    trainer: MeanTrainer | None = None,
    options: dict[str, Any] | None = None,
    **judge: Any,
) -> PreparedProof:
    folder.mkdir(exist_ok=True)
    write(folder / "judge.jsonl", lines)
    raw = folder / "raw.jsonl"
    if not raw.exists():
        write(raw, records(300))
    given = {"rows": PROMPTS, **judge}
    request = ProofRequest(
        draws=6, held_out=100, judge=JudgeRequest(model=f"scripted:{folder}/judge.jsonl", **given)
    )
    own = trainer or WritingTrainer()
    return prepare_proof(
        Pipeline([step], inputs=str(raw)), lambda kind: own, request, folder / "out",
        store=folder / "store", **(options or {}),
    )  # fmt: skip


def judged(record: Any) -> Any:
    return next(one for one in record["verdicts"] if one["metric"] == "judge")


def sent(folder: Path) -> int:
    report = json.loads((folder / "out" / "judged" / "report.json").read_text())
    return int(report["requests"]["sent"])


def test_what_a_judge_prefers_is_found_and_asked_once(tmp_path: Path) -> None:
    trainer = WritingTrainer()
    proof = run_proof(plan(tmp_path, taste(), trainer=trainer))
    verdict = judged(proof.record)
    # Of curated rows all are good, of random ones half: 0.8 against 0.5 of the answers.
    first = verdict["tests"][0]
    assert verdict["verdict"] == "helped"
    assert first["low"] < 0.3 < first["high"]
    assert first["effect"] == pytest.approx(0.3, abs=0.15)
    own = proof.record["judge"]
    assert (own["prompts"], own["judged"], own["failed"]) == (PROMPTS, PROMPTS, 0)
    # Two metrics share alpha.
    assert first["p_adjusted"] >= 2 * first["p"]
    wins = {arm["name"]: arm["scores"]["judge"] for arm in proof.record["arms"]}
    assert wins["curated"] > 0.6 > wins["random-1"]
    plan_file = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan_file["metrics"] == ["loss", "judge"]
    assert plan_file["judged"]["rows"] == PROMPTS
    # Equal answers of several runs are judged once: two answers a prompt, two orders.
    before = sent(tmp_path)
    assert before <= 4 * PROMPTS
    trainer.trained.clear()
    again = run_proof(plan(tmp_path, taste(), trainer=trainer))
    assert again.record["verdicts"] == proof.record["verdicts"]
    assert (sent(tmp_path), trainer.trained) == (before, [])
    text = proof_text(proof.record)
    assert f"judge: {PROMPTS} of {PROMPTS} prompts have a verdict for every run; 0 of" in text
    pytest.importorskip("matplotlib")
    draw_proof(proof.record, tmp_path / "proof.png")


@pytest.mark.parametrize("seed", range(3))
def test_a_judge_by_chance_claims_nothing(seed: int, tmp_path: Path) -> None:
    proof = run_proof(plan(tmp_path, by_chance(seed)))
    verdict = judged(proof.record)
    assert verdict["verdict"] == "no evidence"
    assert verdict["tests"][0]["low"] < 0 < verdict["tests"][0]["high"]


def test_a_recipe_without_taste_claims_nothing(tmp_path: Path) -> None:
    assert judged(run_proof(plan(tmp_path, taste(), by_hash)).record)["verdict"] == "no evidence"


@pytest.mark.parametrize("place", ["A", "B"])
def test_a_judge_of_places_says_nothing(place: str, tmp_path: Path) -> None:
    verdict = judged(run_proof(plan(tmp_path, [{"when": {}, "reply": place}])).record)
    assert verdict["verdict"] == "no evidence"
    first = verdict["tests"][0]
    assert (first["effect"], first["draw_sd"], first["p"]) == (0, 0, 1)


def failing(share: int = 2) -> list[Line]:
    """Return the judge of taste who cannot be read at first where a number is even."""
    silent = [
        {"when": {"contains": f"{q}\n"}, "attempt": 0, "reply": "Neither of the two."}
        for n, q in enumerate(questions())
        if n % share == 0
    ]
    return [*silent, *taste()]


def test_a_judge_that_fails_half_measures_nothing_until_it_is_asked_again(tmp_path: Path) -> None:
    trainer = WritingTrainer()
    proof = run_proof(plan(tmp_path, failing(), trainer=trainer))
    verdict = judged(proof.record)
    assert (verdict["verdict"], proof.exit_code) == ("not measured", 4)
    own = proof.record["judge"]
    assert 0 < own["failed"] < own["comparisons"]
    assert f"failed on {own['failed']} of {own['comparisons']} comparisons" in verdict["text"]
    assert "--retry-failed" in verdict["text"]
    assert all("judge" not in arm["scores"] for arm in proof.record["arms"])
    # The other metric stands, with the share of alpha that it had.
    loss = proof.record["verdicts"][0]
    assert loss["verdict"] == "helped"
    assert loss["tests"][0]["p_adjusted"] == pytest.approx(2 * loss["tests"][0]["p"])
    # Replies that cannot be used are kept: the same again pays nothing.
    paid = sent(tmp_path)
    run_proof(plan(tmp_path, failing(), trainer=trainer))
    assert sent(tmp_path) == paid
    trainer.trained.clear()
    again = run_proof(plan(tmp_path, failing(), trainer=trainer, options={"retry_failed": True}))
    assert judged(again.record)["verdict"] == "helped"
    assert (again.record["judge"]["failed"], trainer.trained) == (0, [])
    assert paid < sent(tmp_path) <= 2 * paid


def test_prompts_without_a_verdict_count_in_no_arm(tmp_path: Path) -> None:
    proof = run_proof(plan(tmp_path, failing(), options={"allow_failed": 0.9}))
    own = proof.record["judge"]
    assert 0 < own["judged"] < PROMPTS
    assert own["failed_share"] > 0.2
    assert judged(proof.record)["verdict"] in ("helped", "no evidence")
    assert f"judge: {own['judged']} of {PROMPTS} prompts have a verdict" in proof_text(proof.record)
    # The mean of every arm is over the same prompts, and so a multiple of their share.
    for arm in proof.record["arms"]:
        assert arm["scores"]["judge"] * own["judged"] == pytest.approx(
            round(arm["scores"]["judge"] * own["judged"])
        )


def test_a_ceiling_stops_the_judge_and_the_same_command_trains_nothing_again(
    tmp_path: Path,
) -> None:
    trainer = WritingTrainer()
    with pytest.raises(CeilingReached):
        run_proof(plan(tmp_path, taste(), trainer=trainer, options={"max_requests": 20}))
    trainer.trained.clear()
    proof = run_proof(plan(tmp_path, taste(), trainer=trainer, options={"max_requests": 1000}))
    assert judged(proof.record)["verdict"] == "helped"
    assert trainer.trained == []


def test_a_failed_arm_leaves_the_judge_unmeasured_too(tmp_path: Path) -> None:
    trainer = WritingTrainer()
    trainer.broken["random-2"] = failure()
    proof = run_proof(plan(tmp_path, taste(), trainer=trainer))
    assert judged(proof.record)["text"].startswith("not measured: random-2 failed")
    trainer.broken.clear()
    assert judged(run_proof(plan(tmp_path, taste(), trainer=trainer)).record)["verdict"] == "helped"


def labels(count: int, wrong: int) -> tuple[list[Line], list[Line]]:
    """Return labelled pairs, and the lines of a judge who is wrong about some of them."""
    pairs, lines = [], []
    for n in range(count):
        better, worse = f"fine {n}!", f"poor {n}!"
        pairs.append({"prompt": f"Which {n}?", "chosen": better, "rejected": worse})
        lines += [says(worse if n < wrong else better, option) for option in "AB"]
    return pairs, lines


def test_labels_correct_the_judge(tmp_path: Path) -> None:
    pairs, lines = labels(100, 20)
    path = write(tmp_path / "labels.jsonl", pairs)
    proof = run_proof(plan(tmp_path, [*lines, *taste()], labels=path))
    first, known = judged(proof.record)["tests"][0], proof.record["judge"]["calibration"]
    assert known["pairs"] == 100
    better = known["sensitivity"] + known["specificity"] - 1
    assert better == pytest.approx(0.6, abs=0.05)
    assert first["corrected"]["effect"] == pytest.approx(first["effect"] / better, rel=0.06)
    assert first["corrected"]["low"] < first["low"] / better < first["effect"]
    assert "corrected by 100 labelled pairs (sensitivity 0.79" in proof_text(proof.record)
    # Labels are judged before anything is trained, and a judge by chance is refused there.
    pairs, lines = labels(100, 60)
    path = write(tmp_path / "labels.jsonl", pairs)
    trainer = WritingTrainer()
    with pytest.raises(UsageError, match=r"no better than chance.*take another judge"):
        plan(tmp_path / "other", [*lines, *taste()], trainer=trainer, labels=path)
    assert trainer.trained == []


def test_the_untrained_model_may_be_the_reference(tmp_path: Path) -> None:
    lines = [*taste(), {"when": {}, "reply": "Neither."}]
    proof = run_proof(plan(tmp_path, lines, reference="untrained"))
    # It says nothing but once: nobody is asked about an answer to silence.
    said = json.loads((tmp_path / "out" / "reference.json").read_text())
    assert [text for text in said["answers"] if text] == ["PLAIN"]
    assert proof.record["judge"]["comparisons"] <= 2
    assert judged(proof.record)["verdict"] == "no evidence"


def test_what_needs_no_judge() -> None:
    assert decided("a", "b") is None
    assert decided("a", "a") == 0.5
    assert (decided(" ", "a"), decided("a", "\n"), decided("", " ")) == (0, 1, 0.5)


def test_what_cannot_be_judged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="write no answers"):
        plan(tmp_path, taste(), trainer=MeanTrainer())
    with pytest.raises(UsageError, match="2 prompts and 1 token are the least"):
        JudgeRequest(model="local", rows=1)
    rows = records(300)
    for row in rows:
        row["messages"][0]["content"] += " too much"
    (tmp_path / "long").mkdir()
    write(tmp_path / "long" / "raw.jsonl", rows)
    with pytest.raises(UsageError, match="0 of 100 held-out rows have a prompt"):
        plan(tmp_path / "long", taste())
    for row in rows[:200]:
        row["messages"][0]["content"] = row["messages"][0]["content"].removesuffix(" too much")
    (tmp_path / "some").mkdir()
    write(tmp_path / "some" / "raw.jsonl", rows)
    notes = plan(tmp_path / "some", taste()).notes
    assert any("held-out rows are not judged: tool calls, media, long prompts" in n for n in notes)


def test_proofs_that_were_begun_without_a_judge_go_on() -> None:
    assert "judge" not in ProofRequest().as_data()
