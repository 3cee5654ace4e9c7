"""AlpacaEval's published figures come out of its recorded annotations and weights."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from curate import Pipeline
from curate.errors import InputError, UsageError
from curate.evaluate.model.alpaca_eval import (
    preference_of,
    soft_label,
    was_switched,
)
from curate.evaluate.model.contest_rows import recorded_contests
from curate.evaluate.model.contests import contest_measures
from curate.evaluate.model.length_control import LengthControl, difficulty_of, read_weights

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "alpaca_eval"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


@pytest.fixture(scope="module")
def difficulty():
    text = (DATA / "derived_instruction_difficulty_805.json").read_text()
    return difficulty_of(json.loads(text), "file")


@real
@pytest.mark.real
def test_the_raw_win_rate_and_the_length_controlled_one(tmp_path, difficulty):
    path = DATA / "alpaca-7b" / "annotations.json"
    rows = list(Pipeline([]).run(path, run=tmp_path / "run").kept)
    contests = list(recorded_contests(rows, difficulty))
    weights = read_weights(DATA / "length_controlled_v1.csv")["alpaca-7b"]
    found = contest_measures(contests, weights)
    assert found["prompts"] == 805
    assert 100 * found["win_rate"].value == pytest.approx(2.591450540223603, abs=1e-12)
    # The leaderboard's 5.875487163278986, from the published weights.
    assert 100 * found["length_controlled"]["win_rate"] == pytest.approx(5.875487, abs=1e-5)
    # Fitted without the two gamed baselines of AlpacaEval, whose annotations are not here.
    fitted = contest_measures(contests)["length_controlled"]
    assert fitted["how"] == "fitted"
    assert 0.05 < fitted["win_rate"] < 0.075
    assert fitted["weights"]["length"] < -1  # longer answers win
    assert found["length"] < found["baseline_length"] / 3
    assert "shorter than the baseline's for 98%" in contest_measures(contests)["warning"]


@real
@pytest.mark.real
def test_the_soft_label_of_every_row_with_log_probabilities():
    records = json.loads((DATA / "alpaca-7b" / "annotations.json").read_text())
    labels = [soft_label(one, one["instruction"]) for one in records]
    known = [
        (a, b["preference"] - 1) for a, b in zip(labels, records, strict=True) if a is not None
    ]
    assert len(known) == 802  # three rows have no reply
    recorded = np.array(known)
    assert np.abs(recorded[:, 0] - recorded[:, 1]).max() < 1e-9
    switched = [was_switched(one["instruction"]) for one in records]
    assert 0.45 < np.mean(switched) < 0.55


@real
@pytest.mark.real
def test_length_controlled_win_rates_of_the_leaderboard(difficulty):
    weights = read_weights(DATA / "length_controlled_v1.csv")
    with (DATA / "leaderboard.csv").open(newline="") as file:
        published = {}
        for line in csv.DictReader(file):
            # Weights name models as the folders of their answers; one row names no folder.
            name = re.search(r"/results/([^/]+)/", line["samples"])
            own = name[1] if name else "gpt-3.5-turbo-16k-0613"
            published[own] = float(line["length_controlled_winrate"])
    both = sorted(published.keys() & weights.keys())
    gaps = [abs(100 * weights[name].win_rate(difficulty) - published[name]) for name in both]
    # The leaderboard that is here has 187 of the 200 models with weights.
    assert len(both) == 187
    assert sum(gap < 0.01 for gap in gaps) >= 183
    assert np.median(gaps) < 1e-4
    # In the baseline's place stands any model; the baseline itself has weights of 0.
    one, other = weights["gpt4_0613"], weights["alpaca-7b"]
    assert one.win_rate(difficulty, over=other) == pytest.approx(
        1 - other.win_rate(difficulty, over=one)
    )
    assert one.win_rate(difficulty, over=one) == 0.5


def test_preferences():
    assert [preference_of({"preference": v}) for v in (1, 1.5, 2, 0, None, 1.25)] == [
        0, 0.5, 1, 0.5, None, 0.25,
    ]  # fmt: skip
    for wrong in (2.5, "m", True):
        with pytest.raises(ValueError, match="a preference is"):
            preference_of({"preference": wrong})


def completion(**listed):
    top = [{"token": token, "logprob": value} for token, value in listed.items()]
    return {"raw_completion": {"logprobs": {"content": [{"top_logprobs": top}]}}}


def test_soft_labels_are_renormalised_and_turned_back():
    asked = {switched: next(t for t in map(str, range(99)) if was_switched(t) is switched)
             for switched in (True, False)}  # fmt: skip
    half = completion(m=np.log(0.2), M=np.log(0.6), The=np.log(0.2))
    # The model's answer was shown first: `m`, a quarter of the two.
    assert soft_label(half, asked[True]) == pytest.approx(0.25)
    assert soft_label(half, asked[False]) == pytest.approx(0.75)
    assert soft_label(completion(M=-0.1), asked[False]) == 1
    assert soft_label(completion(m=-0.1), asked[False]) == 0
    assert soft_label(completion(The=-0.1), asked[False]) is None
    for nothing in ({}, {"raw_completion": None}, {"raw_completion": {"logprobs": None}}):
        assert soft_label(nothing, "x") is None


def annotation(number, preference):
    return {"instruction": f"Do {number}", "output_1": "baseline text", "output_2": f"own {number}",
            "generator_1": "base", "generator_2": "own", "preference": preference}  # fmt: skip


def test_rows_without_a_verdict_are_counted(tmp_path):
    records = [annotation(0, 2.0), annotation(1, None), annotation(2, 1.5)]
    rows = list(Pipeline([]).run(records, run=tmp_path / "run").kept)
    found = contest_measures(list(recorded_contests(rows)))
    assert (found["prompts"], found["without_verdict"]) == (3, 1)
    assert found["win_rate"].value == 0.75
    assert found["length_controlled"]["not_measured"].startswith("2 comparisons")
    by_instruction = {f"Do {n}": float(n) for n in range(3)}
    assert [one.difficulty for one in recorded_contests(rows, by_instruction)] == [0, 1, 2]
    assert [one.difficulty for one in recorded_contests(rows, [5, 6, 7])] == [5, 6, 7]
    with pytest.raises(UsageError, match="has no difficulty: 2 are given"):
        list(recorded_contests(rows, [5, 6]))
    silent = list(recorded_contests(rows[1:2]))
    found = contest_measures(silent, LengthControl(0.0, 0.0, 1.0))["length_controlled"]
    assert found == {"not_measured": "no comparison has a verdict"}


def test_what_is_no_annotation_or_weight_is_refused(tmp_path):
    rows = list(Pipeline([]).run([{"prompt": "P", "completion": "C"}], run=tmp_path / "run").kept)
    with pytest.raises(UsageError, match="is not an annotation of two answers"):
        list(recorded_contests(rows))
    path = tmp_path / "weights.csv"
    for text, words in (
        ("a,b\n", "columns are b"),
        (",np.tanh(std_delta_len),instruction_difficulty,not_gamed_baseline.astype(float)\nm,1,2\n",
         ":2: a name and three numbers"),
        (",np.tanh(std_delta_len),instruction_difficulty,not_gamed_baseline.astype(float)\n"
         "m,1,2,nan\n", "are not weights"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(words)):
            read_weights(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path / "gone.csv")
    for wrong in ("text", [1, "a"], {"a": None}, [float("nan")]):
        with pytest.raises(InputError, match="a JSON list of numbers"):
            difficulty_of(wrong, "file")
