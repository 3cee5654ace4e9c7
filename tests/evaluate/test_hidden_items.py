"""Items hidden in rows: each way changes what it should; recall and alarms are counted."""

import json
import re
from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.evaluate.hidden_items import (
    WAYS,
    hidden_items,
    hidden_items_text,
    measure_hidden_items,
)
from curate.evaluate.model.stages import Stages
from curate.kernels.sets.benchmarks import ItemText, normal_words
from curate.steps import Contamination

DATA = Path(__file__).parents[3] / "shared" / "data"
HOSTS = [
    ("Write a poem. It is for a friend.", "Roses are red. Violets are blue."),
    ("Name a bird", "Owl"),
    ("Explain: why is it so?\nBe brief.", ""),
]
ITEMS = [
    ItemText("t", 0, "Tom has 3 apples; Ann's basket holds 12. How many do they have?"),
    ItemText("t", 1, "Who are you"),
    ItemText("t", 2, "def f(x_1):\n    return x_1 + 100"),
]


def test_each_way_hides_what_it_says():
    found = list(hidden_items(HOSTS, ITEMS, 30, seed=3))
    assert [one.way for one in found] == [way for way in WAYS for _ in range(30)]
    for one in found:
        words, asked = normal_words(one.item.text), normal_words(one.instruction)
        answered = normal_words(one.response)
        if one.way in ("verbatim", "short lines", "case and punctuation"):
            assert asked == words
            assert one.way != "verbatim" or one.instruction == one.item.text
        elif one.way == "changed numbers":
            assert [re.sub(r"\d", "0", w) for w in asked] == [re.sub(r"\d", "0", w) for w in words]
            assert asked != words
        else:
            inside, around = (answered, asked) if one.way == "in the answer" else (asked, answered)
            places = range(len(inside) - len(words) + 1)
            assert any(inside[place : place + len(words)] == words for place in places)
            assert len(inside) > len(words)
            assert words[0] not in around
    assert all(
        len(line.split()) <= 6 for one in found[30:60] for line in one.instruction.split("\n")
    )
    assert (
        found
        == list(hidden_items(HOSTS, ITEMS, 30, seed=3))
        != list(hidden_items(HOSTS, ITEMS, 30))
    )


def test_rows_without_answers_and_items_without_numbers_leave_ways_out():
    there = {one.way for one in hidden_items([("A prompt.", "")], ITEMS[1:2], 3)}
    assert there == set(WAYS) - {"in the answer", "changed numbers"}


VECTORS = {"apples": [1, 0, 0], "Who are you": [0, 1, 0], "def f": [0, 0, 1]}


@pytest.fixture
def measure(tmp_path):
    """Measure with an encoder that reads three words; other texts are near to nothing."""
    (tmp_path / "t.jsonl").write_text(lines({"question": one.text} for one in ITEMS))
    script = [{"when": {"contains": key}, "values": [value]} for key, value in VECTORS.items()]
    script += [{"when": {"contains": "no vector"}, "fault": "permanent"}]
    (tmp_path / "e.jsonl").write_text(lines([*script, {"when": {}, "values": [[1, 1, 1]]}]))

    def measure(rows, clean=None, **fields):
        for name, own in (("rows", rows), ("clean", clean)):
            (tmp_path / f"{name}.jsonl").write_text(lines(own or ()))
        step = Contamination(against=(f"t={tmp_path / 't.jsonl'}",), **fields)
        encoders = {"e": f"scripted:{tmp_path / 'e.jsonl'}"} if step.by_meaning else None

        def run(pipeline, **given):
            changed = Pipeline(pipeline.steps, inputs=pipeline.inputs, encoders=encoders)
            return changed.run(store=tmp_path / "store", **given)

        stages = Stages(tmp_path / "run", {}, run)
        path = str(tmp_path / "clean.jsonl") if clean else None
        found = measure_hidden_items(
            stages, str(tmp_path / "rows.jsonl"), step, count=6, clean=path
        )
        return found, hidden_items_text(found, step), stages

    return measure


def lines(records):
    return "".join(json.dumps(one) + "\n" for one in records)


def test_recall_of_each_mode_stands_beside_the_count(measure, tmp_path):
    rows = [{"instruction": f"Write song {n}. Be kind.", "output": "La la. La."} for n in range(4)]
    rows += [
        {"instruction": "Who are you?", "output": "x"},
        {"instruction": "apples", "output": "x"},
    ]
    clean = [
        {"instruction": "A day in May", "output": "x"},
        {"instruction": "def f", "output": "x"},
    ]
    found, text, stages = measure(rows, clean, mode=("ngrams", "semantic"))
    assert {k: v for k, v in found["rows"].items() if k != "named"} == {
        "rows": 6, "failed": 0, "ngrams": 1, "semantic": 2, "any": 2,
    }  # fmt: skip
    assert found["clean"] == {"rows": 2, "failed": 0, "ngrams": 0, "semantic": 1, "any": 1}
    assert len(found["rows"]["named"]) == 2
    shares = {
        way: {k: v and v.value for k, v in own.items() if k != "hidden"}
        for way, own in found["ways"].items()
    }
    for way in ("verbatim", "short lines"):
        assert shares[way]["ngrams"] == shares[way]["any"] == 1
    # Two of the three items are shorter than 13 words: in a longer text no n-gram finds them.
    for way in ("embedded", "in the answer"):
        assert shares[way] == {"ngrams": pytest.approx(1 / 3), "semantic": 1, "any": 1}
    assert shares["case and punctuation"]["any"] == 1 > shares["case and punctuation"]["semantic"]
    assert shares["changed numbers"]["semantic"] == 1 > shares["changed numbers"]["ngrams"]
    assert [row.split("  ")[1].strip() for row in text.splitlines()[1:7]] == list(WAYS)
    assert "clean rows: false alarms  2       0 (0.00%)" in text
    kept = json.loads((tmp_path / "run" / "rows" / "evaluation.json").read_text())
    assert kept["ways"]["embedded"]["any"]["value"] == 1.0
    told = {json.loads(r.extra)["way"] for r in stages.results[1].kept}
    assert told == set(WAYS)


def test_one_mode_is_measured_alone(measure):
    rows = [{"instruction": "Write a song. Be kind.", "output": "La la."}]
    found, text, _ = measure(rows, n=5, max=0.5)
    assert set(found["ways"]["verbatim"]) == {"hidden", "ngrams", "any"}
    assert "5-grams" in text and "both modes" not in text and "--clean DATA" in text


def test_clean_rows_that_all_fail_are_told(measure):
    rows = [{"instruction": "Write a song. Be kind.", "output": "La la."}]
    clean = [{"instruction": "This has no vector", "output": "x"}]
    found, text, _ = measure(rows, clean, mode="semantic")
    assert found["clean"] == {"rows": 0, "failed": 1, "semantic": 0, "any": 0}
    assert "1 clean rows failed" in text


def test_rows_that_all_hold_items_leave_no_place_to_hide(measure):
    with pytest.raises(UsageError, match=r"no row to hide an item in \(rows read: 1, failed: 0\)"):
        measure([{"instruction": "Who are you?", "output": "x"}])


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_ways_are_found_by_both_modes_and_no_clean_row_is_flagged(tmp_path):
    """Test questions of GSM8K hidden in Dolly's rows; 400 others of these are clean."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    every = json.loads((DATA / "dolly" / "dolly_3k.json").read_text())
    for name, rows in (("rows", every[:100]), ("clean", every[1000:1400])):
        (tmp_path / f"{name}.jsonl").write_text(lines(rows))
    tests = f"gsm8k={DATA / 'gsm8k' / 'test.jsonl'}"
    step = Contamination(against=(tests,), mode=("ngrams", "semantic"))

    def run(pipeline, **given):
        return pipeline.run(store=tmp_path / "store", **given)

    stages = Stages(tmp_path / "run", {}, run)
    clean = str(tmp_path / "clean.jsonl")
    found = measure_hidden_items(stages, str(tmp_path / "rows.jsonl"), step, clean=clean)
    for way in WAYS[:5]:
        assert found["ways"][way]["any"].value >= 0.99
    assert (
        found["ways"]["changed numbers"]["any"].value
        > found["ways"]["changed numbers"]["ngrams"].value
    )
    assert found["clean"]["rows"] == 400 and found["clean"]["any"] == 0
