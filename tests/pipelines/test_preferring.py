"""The recipes of preference pairs: with scripted models, votes of people, and with `local`."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate.kernels.text.words import words
from curate.pipeline import Result
from curate.prompts import prompt as prompts
from tests.models.providers.test_local import NEEDS_LOCAL
from tests.pipelines.test_asking import check_that_no_row_is_lost, run, script, smaller

GOOD, BAD = "Give each of them one half.", "Keep both halves for yourself."


def texts_of(result: Result) -> list[str]:
    """Return every text that something trained on the kept rows would see."""
    rows = [json.dumps(row, ensure_ascii=False) for row in result.kept.to_list()]
    assert len(rows) == result.summary["kept"]
    return rows


@pytest.mark.slow
def test_constitutional_makes_revisions_and_labelled_pairs(tmp_path: Path) -> None:
    writer = [
        {"when": {"contains": ["Now write the answer anew", "SECRET CRITIQUE 2"]}, "reply": GOOD},
        {"when": {"contains": "Now write the answer anew"}, "reply": "Half of it for each."},
        {"when": {"contains": ["Criticise", "Half of it"]}, "reply": "SECRET CRITIQUE 2: unclear."},
        {"when": {"contains": "Criticise"}, "reply": "SECRET CRITIQUE 1: it is unfair."},
        {"when": {}, "reply": BAD},
    ]
    judge = [
        {"when": {"contains": f"Answer A: {GOOD}"}, "values": [-0.1, -2.5]},
        {"when": {"contains": f"Answer B: {GOOD}"}, "values": [-1.5, -0.2]},
    ]
    models = {"writer": script(tmp_path, writer), "judge": script(tmp_path / "judge", judge)}
    result = run("constitutional", tmp_path, models=models)
    counts = check_that_no_row_is_lost(result)
    assert counts["failed"] == 0
    kinds = Counter(row.kind for row in result.kept)
    assert kinds == {"sft": 12, "preference": 12}
    # An answer, two rounds of two requests, and a pair in both orders.
    assert counts["requests"]["sent"] == 12 * (1 + 4 + 2)
    principles = {item.id for item in prompts.load("constitution_honesty").items}
    for row in result.kept:
        columns = json.loads(row.extra)
        assert (columns["round"], columns["principle"] in principles) == (2, True)
        if row.kind == "preference":
            assert (row.chosen[0].content, row.rejected[0].content) == (GOOD, BAD)
            assert 0.8 < row.fields["p_chosen"] < 0.95
        else:
            assert row.messages[-1].content == GOOD
    assert not any("SECRET CRITIQUE" in text for text in texts_of(result))
    figures = counts["figures"]["constitutional_prefer"]
    assert (figures["consistent"], figures["same_place_wins"]) == (1.0, 0.0)
    # Another limit asks nothing.
    stricter = smaller("constitutional", constitutional_prefer={"at_least": 0.99})
    again = run("constitutional", tmp_path, "strict", models=models, steps=stricter)
    assert again.summary["requests"]["sent"] == 0
    assert Counter(row.kind for row in again.kept) == {"sft": 12}


def test_rlaif_measures_its_labeler_before_it_labels(tmp_path: Path) -> None:
    labeler = [
        {"when": {"contains": f"{GOOD}\n[end of answer A"}, "values": [-0.1, -2.5]},
        {"when": {"contains": f"{GOOD}\n[end of answer B"}, "values": [-2.5, -0.1]},
        # Of people's pairs it prefers whatever stands first.
        {"when": {}, "values": [-0.1, -2.5]},
    ]
    models = {
        "writer": script(tmp_path, [{"when": {}, "reply": [BAD, GOOD]}]),
        "labeler": script(tmp_path / "labeler", labeler),
    }
    result = run("rlaif", tmp_path, models=models)
    counts = check_that_no_row_is_lost(result)
    assert counts["failed"] == 0
    assert counts["requests"]["sent"] == 2 * 12 + 2 * 12 + 2 * 12
    assert counts["figures"]["alignment"]["position_bias"] == 1.0
    assert counts["figures"]["alignment"]["ai_labeler_alignment"] == 0.5
    assert counts["figures"]["rlaif_prefer"]["position_bias"] == 0.0
    assert {row.source for row in result.kept} == {"tasks"}
    pairs = Counter((row.chosen[0].content, row.rejected[0].content) for row in result.kept)
    assert pairs == {(GOOD, BAD): 12}


def test_best_of_n_keeps_the_likeliest_answer_and_a_pair(tmp_path: Path) -> None:
    worst = "I don't know at all, so have it as you like."
    said = [BAD, GOOD, worst, "It goes on, and on, and"]
    scores = {BAD: -1.0, GOOD: -0.5, worst: -2.0}
    lines: list[dict[str, Any]] = [
        {"when": {"contains": text}, "values": [score, score]} for text, score in scores.items()
    ]
    models = {"writer": script(tmp_path, [*lines, {"when": {}, "reply": said}])}
    result = run("best_of_n", tmp_path, models=models)
    counts = check_that_no_row_is_lost(result)
    # Four answers each, and the likelihoods of the three that are whole.
    assert counts["requests"]["sent"] == 14 * (4 + 3)
    assert Counter(row.kind for row in result.kept) == {"sft": 14, "preference": 14}
    for row in result.kept:
        if row.kind == "sft":
            assert row.messages[-1].content == GOOD
        else:
            assert (row.chosen[0].content, row.rejected[0].content) == (GOOD, worst)
            assert row.fields["margin"] == 1.5
    figures = counts["figures"]
    assert figures["best_of"]["score of kept"] == 0.5
    assert figures["pairs"]["length gap after, words"] == -5.0
    stricter = smaller("best_of_n", pairs={"length_within": 3})
    again = run("best_of_n", tmp_path, "strict", models=models, steps=stricter)
    assert again.summary["requests"]["sent"] == 0
    assert {row.rejected[0].content for row in again.kept if row.kind == "preference"} == {BAD}


def test_delta_pairs_choose_the_recorded_answer(tmp_path: Path) -> None:
    replies = [
        {"when": {"contains": "detective"}, "reply": "I am a", "finish_reason": "length"},
        {"when": {}, "reply": GOOD},
    ]
    result = run("delta_pairs", tmp_path, models={"small": script(tmp_path, replies)})
    counts = check_that_no_row_is_lost(result)
    assert counts["requests"]["sent"] == 30
    assert 0 < counts["failed"] < 30
    assert 0 < counts["kept"] <= 30 - counts["failed"]
    recorded = {
        row.messages[-1].content for row in result.used if json.loads(row.extra)["model"] == "gpt-4"
    }
    for row in result.kept:
        columns = json.loads(row.extra)
        assert (columns["chosen_model"], columns["rejected_model"]) == ("gpt-4", "small")
        assert (row.chosen[0].content in recorded, row.rejected[0].content) == (True, GOOD)
        assert abs(len(row.chosen[0].content.split()) - len(GOOD.split())) <= 60
    figures = counts["figures"]["delta"]
    assert figures["length gap before, words"] > figures["length gap after, words"] > 0


def test_ultrafeedback_pairs_the_best_with_another(tmp_path: Path) -> None:
    rate = {GOOD: [-9.0, -9.0, -9.0, -1.0, -0.5], BAD: [-0.5, -1.0, -9.0, -9.0, -9.0]}
    judge = [{"when": {"contains": f"Answer: {text}"}, "values": v} for text, v in rate.items()]
    judge.append({"when": {}, "values": [-1.6] * 5})
    models = {
        name: script(tmp_path / name, [{"when": {}, "reply": text}])
        for name, text in (("cold", BAD), ("warm", GOOD), ("hot", "Ask the others first, please."))
    }
    models["judge"] = script(tmp_path / "judge", judge)
    result = run("ultrafeedback", tmp_path, models=models)
    counts = check_that_no_row_is_lost(result)
    assert counts["failed"] == 0
    assert counts["requests"]["sent"] == 12 * (3 + 3 * 4)
    assert {row.chosen[0].content for row in result.kept} == {GOOD}
    rejected = Counter(json.loads(row.extra)["rejected_model"] for row in result.kept)
    assert rejected.keys() == {"cold", "hot"}
    assert rejected.total() == 12


@pytest.mark.slow
def test_human_preferences_are_majorities_held_out_by_prompt(tmp_path: Path) -> None:
    result = run("human_preferences", tmp_path)
    counts = check_that_no_row_is_lost(result)
    assert (counts["failed"], counts["requests"]["sent"]) == (0, 0)
    figures = counts["figures"]["aggregate"]
    assert figures["votes"] == 900
    # Published for the whole of PandaLM's test set: 0.852, 0.879 and 0.862.
    assert 0.8 < figures["cohen kappa"] < 0.9
    gaps = counts["figures"]["length_gap"]
    assert abs(gaps["length gap after, words"]) < abs(gaps["length gap before, words"])
    sides: dict[str, set[str]] = {}
    for row in result.kept:
        if row.source == "votes":
            assert len(json.loads(row.extra)["votes"]) == 3
            assert row.fields["p_chosen"] >= 0.6
        chosen, rejected = (
            "\n".join(turn.content for turn in s) for s in (row.chosen, row.rejected)
        )
        assert chosen.strip()
        assert rejected.strip()
        assert chosen != rejected
        assert abs(len(words(chosen)) - len(words(rejected))) <= 100
        side = json.loads(row.notes)["split"]["split"]
        sides.setdefault(row.instruction, set()).add(side)
    assert Counter(len(found) for found in sides.values()) == {1: len(sides)}
    assert {side for found in sides.values() for side in found} == {"train", "test"}
    assert max(Counter(row.instruction for row in result.kept).values()) <= 4
    # Where all three must agree, only votes are fewer.
    steps = smaller("human_preferences", aggregate={"at_least": 1.0})
    unanimous = run("human_preferences", tmp_path, "unanimous", steps=steps)
    assert {row.fields["p_chosen"] for row in unanimous.kept if row.source == "votes"} == {1.0}


@pytest.mark.slow
@pytest.mark.real
@NEEDS_LOCAL
@pytest.mark.parametrize(
    "name", ["constitutional", "rlaif", "best_of_n", "delta_pairs", "ultrafeedback"]
)
def test_each_runs_on_the_embedded_model(name: str, tmp_path: Path) -> None:
    brief = {"max_tokens": 48, "system": "Answer in five words."}
    steps = smaller(name, sample={"count": 3}, respond=brief, critique_revise={"max_tokens": 64})
    steps = tuple(
        dataclasses.replace(step, count=0) if step.title == "measured" else step for step in steps
    )
    result = run(name, tmp_path, steps=steps)
    counts = check_that_no_row_is_lost(result)
    assert counts["requests"]["sent"] >= 3
    for step in counts["steps"]:
        # A row fails for an answer that is cut off or empty, never for a step that does not fit.
        reasons = [row["error"] for row in result.failed.to_list() if row["step"] == step["label"]]
        assert all("UnusableReply" in reason for reason in reasons), reasons
