"""Recorded judgements are measured without a model, and give their published agreement."""

import json
from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.evaluate import recorded_agreement, recorded_pairs, recorded_scores
from curate.evaluate.judgement_columns import number_at, numbers_below, value_at, verdict_at

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


def read(tmp_path, data, shape=None):
    return list(Pipeline([]).run(data, run=tmp_path / "run", shape=shape).kept)


@real
@pytest.mark.real
@pytest.mark.parametrize(
    ("model", "mean", "both", "equal"),
    [("GPT-4", 0.955, 0.93, 0.95), ("ChatGPT", 0.815, 0.67, 0.71)],
)
def test_llmbar(model, mean, both, equal, tmp_path):
    rows = read(tmp_path, DATA / "llmbar" / "natural" / model / "result.json")
    paths = [f"results.0.swap = {swap}.winner" for swap in ("False", "True")]
    found = recorded_pairs(rows, *paths)
    assert found["pairs"] == 100
    assert found["accuracy_mean_of_orders"] == pytest.approx(mean)
    assert (found["both_orders_right"].value, found["consistency"].value) == (both, equal)
    one = recorded_pairs(rows, paths[0])
    assert one["accuracy"].value == pytest.approx(found["accuracy_given"].value)
    assert "consistency" not in one


@real
@pytest.mark.real
def test_pandalm(tmp_path):
    # As a table, since the shape of PandaLM refuses six rows whose responses are not texts.
    rows = read(tmp_path, DATA / "pandalm" / "testset-v1.json", "table")
    found = recorded_agreement(rows, ["annotator1", "annotator2", "annotator3"])["annotators"]
    assert [one["rows"] for one in found.values()] == [999] * 3
    assert [round(one["kappa"], 3) for one in found.values()] == [0.852, 0.879, 0.862]


@real
@pytest.mark.real
def test_oda_scores(tmp_path):
    path = DATA / "oda_scores" / "example_input_scored.jsonl"
    rows = read(tmp_path, path, "table")
    found = recorded_scores(rows, ["scores"])
    assert [one["rows"] for one in found["scores"].values()] == [1000] * 13
    assert len(found["correlations"]) == 13 * 12 // 2
    # The same from the file by numpy alone.
    import numpy as np

    records = [json.loads(line)["scores"] for line in path.read_text().splitlines()]
    sides = [
        np.array([record["QA"]["All"][name] for record in records])
        for name in ("Clarity", "Coherence")
    ]
    ranked = [
        np.array([(side < v).sum() + ((side == v).sum() + 1) / 2 for v in side]) for side in sides
    ]
    expected = np.corrcoef(*ranked)[0, 1]
    name = "scores.QA.All.Clarity, scores.QA.All.Coherence"
    assert found["correlations"][name] == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(0.970, abs=5e-4)
    # The commonest score of any dimension is that of 77 % of its rows: none has collapsed.
    shares = {k: max(n for _, n in one["histogram"]) / 1000 for k, one in found["scores"].items()}
    assert max(shares, key=shares.__getitem__) == "scores.QA.All.Relevance"
    assert not any("warning" in one for one in found["scores"].values())


def test_collapsed_scores_are_told(tmp_path):
    data = [{"prompt": str(n), "completion": "x", "a": 7 if n else 1, "b": n} for n in range(30)]
    found = recorded_scores(read(tmp_path, data), ["a", "b"])
    assert "29 of 30 scores (97%) of 'a' are 7" in found["scores"]["a"]["warning"]
    assert "warning" not in found["scores"]["b"]


def test_labels_give_the_measures_of_a_judge(tmp_path):
    data = [{"prompt": str(n), "completion": "x" * n, "human": n, "a": -n} for n in range(1, 9)]
    found = recorded_scores(read(tmp_path, data), ["a"], "human")["scores"]["a"]
    assert (found["spearman"], found["spearman_longest"]) == (-1.0, 1.0)


def test_a_label_that_is_in_no_row_is_refused(tmp_path):
    data = [{"prompt": str(n), "completion": "x", "human": n, "a": n} for n in range(3)]
    rows = read(tmp_path, data)
    with pytest.raises(UsageError, match=r"a label in the column 'humna'.*--label"):
        recorded_scores(rows, ["a"], "humna")


def test_labels_are_found_without_a_name_and_name_the_collapsed_column(tmp_path):
    data = [
        {"prompt": str(n), "completion": "x", "label": n % 2 == 0, "a": 7 if n else 1}
        for n in range(30)
    ]
    found = recorded_scores(read(tmp_path, data), ["a"], at_least=5)["scores"]["a"]
    assert (found["rows"], found["accuracy"].value) == (30, 14 / 30)
    assert "29 of 30 scores (97%) of 'a' are 7" in found["warning"]
    # What is measured is not a label of itself.
    scored = [{"prompt": str(n), "completion": "x", "score": n} for n in range(3)]
    found = recorded_scores(read(tmp_path / "other", scored), ["score"])["scores"]["score"]
    assert "spearman" not in found


def test_the_label_of_unpaired_rows_is_found(tmp_path):
    data = [{"prompt": str(n), "completion": "x", "label": n > 3, "a": n} for n in range(8)]
    found = recorded_scores(read(tmp_path, data, "unpaired"), ["a"])["scores"]["a"]
    assert found["auc"] == 1.0


def test_verdicts_on_preferences_have_a_kappa(tmp_path):
    data = [
        {"prompt": f"Q{n}?", "chosen": "yes", "rejected": "no", "said": "B" if n % 10 == 0 else "A"}
        for n in range(100)
    ]
    found = recorded_pairs(read(tmp_path, data), "said", "said")
    assert found["accuracy"].value == 0.9
    assert found["kappa"] == pytest.approx(0.8, abs=0.01)
    assert found["kappa_of_orders"] == 1.0
    assert {"sensitivity", "specificity"} < found["calibration"].keys()


def test_what_is_no_judgement_is_refused(tmp_path):
    pair = {"prompt": "Q?", "chosen": "a", "rejected": "b", "said": "perhaps", "n": "x"}
    rows = read(tmp_path, [pair])
    with pytest.raises(UsageError, match="'said' holds 'perhaps', which is not a verdict; allow"):
        recorded_pairs(rows, "said")
    with pytest.raises(UsageError, match="no labelled row has a verdict in the column 'other'"):
        recorded_pairs(rows, "other")
    with pytest.raises(UsageError, match="no row has a number in the column 'n'"):
        recorded_scores(rows, ["n"])
    with pytest.raises(UsageError, match="no row has verdicts in both 'x' and 'y'"):
        recorded_agreement(rows, ["x", "y"])
    with pytest.raises(UsageError, match="which is not a verdict"):
        recorded_agreement(rows, ["said", "y"])


def test_columns_are_found_by_their_path():
    columns = {"a": [{"b.c": 1, "d": {"e": 2.5, "f": "x", "g": True}}], "v": "B", "t": 0, "n": None}
    assert value_at(columns, "a.0.b.c") == 1
    assert value_at(columns, "a.1.d") is None
    assert value_at(columns, "v.x") is None
    assert number_at(columns, "a.0.d.g") == 1.0
    assert number_at(columns, "v") is None
    assert list(numbers_below(columns, "a.0.d")) == [("a.0.d.e", 2.5)]
    assert [verdict_at(columns, name) for name in ("v", "t", "n")] == [0.0, 0.5, None]
