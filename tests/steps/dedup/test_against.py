"""Exact, near and semantic against another dataset, through the engine."""

from __future__ import annotations

import json
import math

import pytest

from curate.errors import InputError, StoppedShort, UsageError
from curate.pipeline import Pipeline
from curate.steps.dedup.exact import Exact
from curate.steps.dedup.near import Near
from curate.steps.dedup.semantic import Semantic

FOX = "the quick brown fox jumps over the lazy dog and runs away home"
# What the recorded encoder makes of a text with this word in it: an angle.
ANGLES = {"fox": 0, "vixen": 10, "cat": 90}


def write(path, texts):
    path.write_text("".join(json.dumps({"instruction": t, "output": ""}) + "\n" for t in texts))
    return str(path)


@pytest.fixture
def run(tmp_path):
    lines = [
        {
            "when": {"contains": word},
            "values": [[math.cos(math.radians(a)), math.sin(math.radians(a))]],
        }
        for word, a in ANGLES.items()
    ]
    vectors = tmp_path / "vectors.jsonl"
    vectors.write_text("".join(json.dumps(line) + "\n" for line in lines))
    encoders = {"e": {"model": f"scripted:{vectors}", "log": str(tmp_path / "sent.log")}}

    def run(step, texts, **options):
        rows = [{"instruction": text, "output": ""} for text in texts]
        pipeline = Pipeline([step], encoders=encoders if step.embeds() else None)
        options = {"run": tmp_path / "run", "store": tmp_path / "store", **options}
        return pipeline.run(rows, **options)

    return run


STEPS = [
    (Exact(against="", on="instruction", ignore_case=True), FOX.upper(), 1.0),
    (Near(against="", on="instruction"), FOX + " again", 11 / 12),
    (Semantic(against="", on="instruction"), "a vixen", math.cos(math.radians(10))),
]


@pytest.mark.parametrize(("step", "text", "score"), STEPS, ids=["exact", "near", "semantic"])
def test_a_row_of_another_dataset_is_dropped_with_file_and_record(step, text, score, run, tmp_path):
    others = write(tmp_path / "test.jsonl", ["a cat is here", FOX, FOX + " again and again"])
    step = type(step)(**{**step.fields(), "against": others})
    result = run(step, [text, "a cat was there", "a cat was there", text])
    reasons = result.summary["steps"][0]["reasons"]
    leak = next(reason for reason in reasons if others in reason)
    for row in result.dropped:
        (event,) = result.explain(row.id).events
        if event["reason"] == leak and row.instruction == text:
            assert event["detail"] == {"against": f"{others}:2"}
            assert event["score"] == pytest.approx(score, abs=1e-7)
            assert event["partner"] is None
    # Copies of a leaked row are leaks themselves, and not duplicates of a row that is not kept.
    assert reasons[leak] == (4 if step.name == "semantic" else 2)
    assert result.summary["kept"] == 4 - sum(reasons.values())


@pytest.mark.parametrize("keep", ["first", "longest"])
@pytest.mark.parametrize("kind", [Exact, Near])
def test_a_row_that_is_elsewhere_is_no_witness(kind, keep, run, tmp_path):
    others = write(tmp_path / "test.jsonl", [FOX + " x y"])
    rows = [FOX + " x y", FOX + " x", FOX, FOX]
    result = run(kind(against=others, on="instruction", keep=keep, **(
        {"similarity": 0.9} if kind is Near else {})), rows)  # fmt: skip
    kept = [row.instruction for row in result.kept]
    assert kept == ([FOX + " x", FOX] if kind is Exact else [FOX])


def test_other_rows_are_not_compared_with_each_other(run, tmp_path):
    # Both are near to one another, and only the second one is near to the row.
    others = write(tmp_path / "test.jsonl", [FOX + " a", FOX + " a b"])
    result = run(Near(against=others, on="instruction", similarity=0.9), [FOX + " a b c"])
    assert result.summary["dropped"] == 1


def test_changed_content_needs_another_run_folder(run, tmp_path):
    path = tmp_path / "test.jsonl"
    step = Exact(against=write(path, [FOX]), on="instruction")
    assert run(step, [FOX, "b"]).summary["kept"] == 1
    write(path, ["b"])
    with pytest.raises(UsageError):
        run(step, [FOX, "b"])
    assert [row.instruction for row in run(step, [FOX, "b"], replace=True).kept] == [FOX]


def test_a_dataset_that_is_not_there_costs_nothing(run, tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        run(Semantic(against=str(tmp_path / "nowhere.jsonl")), [FOX])
    assert not (tmp_path / "sent.log").exists()


def test_a_line_of_it_that_cannot_be_read_stops_the_run(run, tmp_path):
    path = tmp_path / "test.jsonl"
    write(path, [FOX])
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(StoppedShort, match=r"test\.jsonl:2 of against cannot be read"):
        run(Exact(against=str(path)), [FOX])


def test_a_row_of_it_without_a_vector_stops_the_run(run, tmp_path):
    others = write(tmp_path / "test.jsonl", ["a cat", "a dog that no line answers"])
    with pytest.raises(StoppedShort, match="1 rows of against cannot be compared"):
        run(Semantic(against=others, on="instruction"), ["a cat"])


def test_a_changed_threshold_asks_and_searches_nothing(run, tmp_path, monkeypatch):
    from curate.kernels.vectors import dedup

    others = write(tmp_path / "test.jsonl", ["a fox"])
    step = Semantic(against=others, on="instruction", similarity=0.99)
    assert run(step, ["a vixen", "a cat"]).summary["kept"] == 2
    sent = (tmp_path / "sent.log").read_text()
    for name in ("closest_other", "AllPairs", "IVFIndex"):
        monkeypatch.setattr(dedup, name, None)
    step = Semantic(against=others, on="instruction", similarity=0.9)
    again = run(step, ["a vixen", "a cat"], run=tmp_path / "again")
    assert again.summary["kept"] == 1
    assert (tmp_path / "sent.log").read_text() == sent
