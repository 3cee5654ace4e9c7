"""Recorded verdicts give the same figures of a model as `evaluate pairs` gives of their judge."""

from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.evaluate.model.contest_rows import recorded_verdicts
from curate.evaluate.model.contests import contest_measures
from curate.evaluate.recorded import recorded_pairs

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")


def read(tmp_path, data, **options):
    return list(Pipeline([]).run(data, run=tmp_path / "run", **options).kept)


@real
@pytest.mark.real
@pytest.mark.parametrize(("judge", "accuracy", "equal"), [("GPT-4", 0.955, 0.95),
                                                          ("ChatGPT", 0.815, 0.71)])  # fmt: skip
def test_llmbar_in_both_orders(judge, accuracy, equal, tmp_path):
    rows = read(tmp_path, DATA / "llmbar" / "natural" / judge / "result.json")
    paths = [f"results.0.swap = {swap}.winner" for swap in ("False", "True")]
    found = contest_measures(list(recorded_verdicts(rows, "chosen", *paths)))
    assert found["prompts"] == 100
    assert found["win_rate"].value == pytest.approx(accuracy)
    assert found["consistency"].value == equal
    theirs = recorded_pairs(rows, *paths)
    assert found["win_rate_counted"] == theirs["accuracy"]
    assert found["win_rate_longest"] == theirs["accuracy_longest"]
    assert found["ties"] == theirs["ties"]
    assert found["consistency"] == theirs["consistency"]
    for name, value in theirs["position"].items():
        assert found[name] == value


@real
@pytest.mark.real
def test_pandalm_model_by_model(tmp_path):
    # Six of its rows hold a response that is not text.
    path = DATA / "pandalm" / "testset-v1.json"
    rows = read(tmp_path, path, allow_failed=0.01)
    assert len(rows) == 993
    for annotator in ("annotator1", "annotator2", "annotator3"):
        theirs = recorded_pairs(rows, annotator)["models"]
        assert len(theirs) == 5
        for name, own in theirs.items():
            found = contest_measures(list(recorded_verdicts(rows, name, annotator)))
            assert found["prompts"] == own["pairs"]
            assert found["win_rate"].value == pytest.approx(own["judge"], abs=1e-12)


def pair(number, one, other, **verdicts):
    answers = [{"messages": [{"role": "assistant", "content": f"{who} says {number}"}],
                "model": who, "score": score} for who, score in (one, other)]  # fmt: skip
    prompt = [{"role": "user", "content": f"Ask {number}"}]
    return {"prompt": prompt, "candidates": answers, **verdicts}


def test_the_models_answer_comes_first_wherever_it_stands(tmp_path):
    rows = read(tmp_path, [
        pair(0, ("own", 1), ("base", 0), given="first", swapped="second"),
        pair(1, ("base", 0), ("own", 1), given="first", swapped="second"),
        pair(2, ("base", 0.5), ("third", 0.5), given="tie", swapped="tie"),
        pair(3, ("base", 0), ("own", 1)),
    ])  # fmt: skip
    own = list(recorded_verdicts(rows, "own", "given", "swapped"))
    # In the second row `swapped` showed the model's answer first.
    assert [(one.given, one.swapped, one.wins) for one in own] == [
        (1, 0, 0.5), (1, 0, 0.5), (None, None, None),
    ]  # fmt: skip
    assert [one.length for one in own] == [len("own says 0")] * 3
    chosen = list(recorded_verdicts(rows, "chosen", "given", "swapped"))
    assert chosen == own  # what the labels prefer; ties of labels are passed over
    assert [one.wins for one in recorded_verdicts(rows, "third", "given")] == [0.5]
    with pytest.raises(UsageError, match="no row has an answer of 'x': answers are by base, own"):
        list(recorded_verdicts(rows, "x", "given"))
    assert contest_measures(own)["without_verdict"] == 1


def test_preferences_and_what_is_no_verdict(tmp_path):
    rows = read(tmp_path, [
        {"prompt": "P", "chosen": "good", "rejected": "bad", "said": "A", "odd": "perhaps"},
    ])  # fmt: skip
    [one] = recorded_verdicts(rows, "chosen", "said")
    assert (one.wins, one.length, one.baseline_length) == (1, 4, 3)
    with pytest.raises(UsageError, match="'odd' holds 'perhaps', which is not a verdict"):
        list(recorded_verdicts(rows, "chosen", "odd"))
    with pytest.raises(UsageError, match="answers name no model"):
        list(recorded_verdicts(rows, "own", "said"))
    talks = read(tmp_path / "other", [{"prompt": "P", "completion": "C"}])
    with pytest.raises(UsageError, match="holds no two answers"):
        list(recorded_verdicts(talks, "chosen", "said"))
    # A hard instruction is found by its words.
    [hard] = recorded_verdicts(rows, "chosen", "said", None, {"P": 2.5})
    assert hard.difficulty == 2.5
    with pytest.raises(UsageError, match="has no difficulty"):
        list(recorded_verdicts(rows, "chosen", "said", None, {"Q": 1.0}))
