"""The steps that tell what a dataset is about, and how diverse it is."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.kernels.text.topic_terms import topic_terms
from curate.pipeline import Pipeline
from curate.steps.select.diversity import Diversity
from curate.steps.select.topics import Topics

TEXTS = ["the cat purrs", "python code", "a cat and a kitten", "code in python", "", "cat kitten"]
ANGLES = [0, 90, 5, 95, None, 2]
VECTORS = [
    [0.0, 0.0] if a is None else [math.cos(math.radians(a)), math.sin(math.radians(a))]
    for a in ANGLES
]


def table(vectors, texts=None):
    columns = {"vector": pa.array(list(vectors), pa.list_(pa.float32(), len(vectors[0])))}
    return pa.table(columns if texts is None else {**columns, "text": texts})


def test_topics_are_named_by_what_their_rows_say_and_others_do_not():
    verdicts = Topics(clusters=2, terms=2).decide(np.arange(6), table(VECTORS, TEXTS))
    assert verdicts.code.tolist() == [-1] * 6
    cats, code = {"topic": 0, "name": "cat, kitten"}, {"topic": 1, "name": "code, python"}
    assert verdicts.notes == [cats, code, cats, code, None, cats]
    assert verdicts.score.tolist()[:4] == [0, 1, 0, 1] and math.isnan(verdicts.score[4])
    assert verdicts.remarks == (
        "topic 0 (cat, kitten): 3 rows, 50.0%, mean cosine with its centre 1.00",
        "topic 1 (code, python): 2 rows, 33.3%, mean cosine with its centre 1.00",
    )


def test_small_topics_are_counted_together():
    vectors = np.eye(30, dtype=np.float32)
    remarks = Topics(clusters=30).decide(np.arange(30), table(vectors, ["word"] * 30)).remarks
    assert len(remarks) == 26
    assert remarks[-1] == "5 smaller topics: 5 rows, 16.7%"


def test_terms_weigh_as_in_the_paper():
    # Words per class: 4 and 2, so A = 3; "apple" is in both: f = 3.
    texts, topics = ["apple apple pear pear", "apple plum", "left out"], [0, 1, -1]
    assert topic_terms(texts, topics, 5) == {0: ["pear", "apple"], 1: ["plum", "apple"]}
    assert 2 * math.log(1 + 3 / 2) > 2 * math.log(1 + 3 / 3)
    # A word that is far more frequent outweighs a rarer one of the class alone.
    assert topic_terms(["apple " * 9 + "pear", "apple"], [0, 1], 1) == {0: ["apple"], 1: ["apple"]}


@pytest.mark.parametrize(
    "step", [Topics(clusters=0), Topics(terms=0), Topics(seed=-1), Diversity(sample=1)]
)
def test_contradictions_are_refused(step):
    with pytest.raises(ValueError, match=r"is at least|of at least"):
        step.check()


def test_a_run_notes_topics_and_compare_shows_the_figures_of_two_runs(tmp_path):
    file = tmp_path / "vectors.jsonl"
    lines = [
        {"when": {"contains": text}, "values": [vector]}
        for text, vector in zip(TEXTS, VECTORS, strict=True)
        if text
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [{"instruction": text, "output": "yes"} for text in TEXTS if text]
    pipeline = Pipeline(
        [Topics(on="instruction", clusters=2, terms=1), Diversity(on="instruction", clusters=2)],
        encoders={"e": f"scripted:{file}"},
    )
    store = tmp_path / "store"
    result = pipeline.run(rows, run=tmp_path / "all", store=store)
    first = next(iter(result.kept))
    assert json.loads(first.notes)["topics"] == {"topic": 0, "name": "cat"}
    assert "Vendi score: 2.0" in result.report()
    pipeline.run(rows[:3], run=tmp_path / "less", store=store)
    shown = CliRunner().invoke(app, ["compare", str(tmp_path / "all"), str(tmp_path / "less")])
    assert shown.exit_code == 0, shown.output
    remarks = shown.output.partition("remarks that differ")[2].split("\n\n")[0]
    assert "rows measured" in remarks and "5 of 5" in remarks and "3 of 3" in remarks
    data = CliRunner().invoke(
        app, ["compare", str(tmp_path / "all"), str(tmp_path / "less"), "--json"]
    )
    found = {r["remark"]: r["values"] for r in json.loads(data.stdout)["remarks"]}
    assert found["rows measured"] == ["5 of 5", "3 of 3"]
