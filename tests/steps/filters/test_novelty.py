import json

import pytest

from curate import Pipeline
from curate.steps.filters.novelty import Novelty
from tests.steps.conftest import both_decisions

TASKS = (
    "Write a poem about the sea and the wind.",
    "Write a poem about the sea and the storm.",
    "Name three planets.",
    "write a POEM about the sea, and the wind!",
)


def test_rows_too_similar_to_an_accepted_one_are_dropped(conversation):
    verdicts = both_decisions(Novelty(), [conversation(task, "x") for task in TASKS])
    assert verdicts.code.tolist() == [-1, 0, -1, 0]
    assert verdicts.partner.tolist() == [-1, 0, -1, 0]
    assert verdicts.score[[1, 3]].tolist() == [8 / 9, 1.0]


def test_a_rejected_row_is_no_witness(conversation):
    chain = ["a b c d e f g h", "a b c d e f g z", "a b c d e f y z"]
    verdicts = both_decisions(Novelty(max=0.8), [conversation(text, "x") for text in chain])
    assert verdicts.code.tolist() == [-1, 0, -1]


@pytest.mark.parametrize(
    "pair",
    [
        ("请写一首关于大海和风的诗", "请写一首关于大海和雨的诗"),
        ("เขียนบทกวีเกี่ยวกับทะเลและสายลม", "เขียนบทกวีเกี่ยวกับทะเลและสายฝน"),
    ],
)
def test_other_scripts_have_words_unless_rouge_score_reads_them(pair, conversation):
    rows = [conversation(text, "x") for text in pair]
    assert both_decisions(Novelty(), rows).code.tolist() == [-1, 0]
    assert both_decisions(Novelty(tokens="rouge_score"), rows).code.tolist() == [-1, -1]


def test_texts_without_words_are_kept(conversation):
    rows = [conversation(text, "x") for text in ("", "?!", "", "?!")]
    assert both_decisions(Novelty(), rows).code.tolist() == [-1] * 4


def test_the_most_similar_are_listed_with_the_mean(conversation):
    step = Novelty(neighbours=2, max=None)
    rows = [conversation(task, "x") for task in TASKS]
    verdicts = both_decisions(step, rows)
    assert verdicts.code.tolist() == [-1] * 4
    assert verdicts.details[0] == {"most_similar": [], "mean": 0.0}
    last = verdicts.details[3]
    assert last["most_similar"] == [[rows[0].id, 1.0], [rows[1].id, 8 / 9]]
    assert last["mean"] == (1.0 + 8 / 9 + 0.0) / 3


def test_seeds_are_compared_with_but_not_among_each_other(tmp_path):
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(
        "".join(json.dumps({"instruction": t, "output": "x"}) + "\n" for t in TASKS[:2])
    )
    rows = [
        {"instruction": "Write a poem about the sea and the rain.", "output": "a"},
        {"instruction": "Sort these numbers from low to high.", "output": "b"},
        {"instruction": "Sort these numbers from high to low.", "output": "c"},
    ]
    for neighbours in (0, 3):
        step = Novelty(against=str(seeds), neighbours=neighbours)
        result = Pipeline([step]).run(rows, run=tmp_path / f"run{neighbours}")
        reasons = [row["reason"] for row in result.dropped.to_pandas().to_dict("records")]
        assert reasons == [f"similar to a row of {seeds}", "similar to an accepted row"]
        lines = result.explain(result.dropped.to_pandas()["id"].tolist()[0])
        assert "seeds.jsonl" in str(lines)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max": 1.5}, "max is 1.5"),
        ({"neighbours": -1}, "neighbours is -1"),
        ({"max": None}, "nothing to do"),
    ],
)
def test_wrong_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Novelty(**fields).check()
