"""Judges that give scores: correlation, calibration, and the warning of collapsed scores."""

import json

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.evaluate import evaluate_judge
from curate.evaluate.judge import corrected_share
from curate.evaluate.text import scores_text
from curate.steps import Length, Prefer, Rubric

ROWS = 40


def rows(**columns):
    return [
        {"prompt": f"Question {n}?", "completion": f"Answer {n}." + " x" * (n % 7), "human": n // 4}
        | {name: value(n) for name, value in columns.items()}
        for n in range(ROWS)
    ]


@pytest.fixture
def judge(tmp_path):
    def scripted(score):
        path = tmp_path / "judge.jsonl"
        lines = [
            {"when": {"contains": f"Question {n}?"}, "reply": f"Score: {score(n)}"}
            for n in range(ROWS)
        ]
        path.write_text("\n".join(map(json.dumps, lines)))
        return f"scripted:{path}"

    return scripted


def evaluated(data, model, tmp_path, **given):
    options = {"run": tmp_path / "run", "store": tmp_path / "store"}
    return evaluate_judge(data, model, **{**options, **given})


def test_scores_are_compared_with_labels_and_with_length(judge, tmp_path):
    found, result = evaluated(rows(), judge(lambda n: 1 + n // 4), tmp_path, label="human")
    assert (found["rows"], found["without_score"], found["failed"]) == (ROWS, 0, 0)
    assert found["spearman"] == found["kendall"] == pytest.approx(1.0)
    assert abs(found["spearman_longest"]) < 0.3
    assert found["histogram"][0] == ("1", 4)
    assert result.summary["requests"]["sent"] == ROWS
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["figures"]["evaluation"]["spearman"] == pytest.approx(1.0)


def test_good_and_bad_rows_calibrate_a_limit(judge, tmp_path):
    # Good from 20 on; the judge passes four bad rows and misses two good ones.
    said = lambda n: 8 if (n >= 22 or n < 4) else 3  # noqa: E731
    step = Rubric(model="judge", at_least=7)
    data = rows(good=lambda n: n >= 20)
    found, _ = evaluated(data, judge(said), tmp_path, label="good", step=step)
    assert found["at_least"] == 7
    assert found["calibration"]["counts"] == {
        "true_positives": 18, "false_negatives": 2, "true_negatives": 16, "false_positives": 4,
    }  # fmt: skip
    assert (found["sensitivity"].value, found["specificity"].value) == (0.9, 0.8)
    assert found["accuracy"].value == 0.85
    assert found["accuracy_commonest"].value == 0.5
    assert found["auc"] == pytest.approx(0.85)
    # The rows that it drops count, too.
    assert found["rows"] == ROWS
    corrected = corrected_share(found, tmp_path / "run", "rubric", 7)
    assert corrected["reported"].value == 22 / 40
    assert corrected["corrected"].value == pytest.approx(0.5)
    with pytest.raises(UsageError, match="no scores of a step labelled 'other'"):
        corrected_share(found, tmp_path / "run", "other", 7)
    # Another limit asks nothing.
    stricter = Rubric(model="judge", at_least=8.5)
    found, result = evaluated(
        data, judge(said), tmp_path, label="good", step=stricter, run=tmp_path / "other"
    )
    assert result.summary["requests"]["sent"] == 0
    assert found["sensitivity"].value == 0.0
    with pytest.raises(UsageError, match="labels of two values"):
        corrected_share({}, tmp_path / "run", "rubric", 7)


def test_groups_are_measured_apart(judge, tmp_path):
    data = rows(lang=lambda n: "de" if n % 2 else "en")
    said = lambda n: 1 + n // 4 if n % 2 else 10 - n // 4  # noqa: E731
    found, _ = evaluated(data, judge(said), tmp_path, label="human")
    assert {k: round(one["spearman"]) for k, one in found["groups"].items()} == {"de": 1, "en": -1}


def test_rows_of_no_group_are_measured_under_a_dash(judge, tmp_path):
    data = rows(lang=lambda n: "de" if n % 2 else None)
    found, _ = evaluated(data, judge(lambda n: 1 + n // 4), tmp_path, label="human", by="lang")
    assert {k: one["rows"] for k, one in found["groups"].items()} == {"-": 20, "de": 20}
    assert found["grouped"] == "by the column 'lang' (20 rows)"
    with pytest.raises(UsageError, match="no row has anything in a column 'lnag'"):
        evaluated(data, judge(lambda n: 1), tmp_path / "b", label="human", by="lnag")


def test_collapsed_scores_are_told_in_every_report(judge, tmp_path):
    model = judge(lambda n: 7 if n else 3)
    found, result = evaluated(rows(), model, tmp_path, label="human")
    assert "39 of 40 scores (98%)" in found["warning"]
    # And where nobody evaluates: a run that only filters.
    ran = Pipeline([Rubric(model="judge", at_least=5)], models={"judge": model}).run(
        rows(), run=tmp_path / "plain", store=tmp_path / "store"
    )
    (step,) = ran.summary["steps"]
    assert step["remarks"] == [
        "39 of 40 scores (98%) of 'rubric' are 7: they have collapsed to one value and hardly tell "
        "rows apart; try another prompt or model, an expected score (expectation: true), or rank "
        "answers against each other (rank)"
    ]
    assert "collapsed to one value" in ran.report()
    assert result.summary["steps"][0]["remarks"] == step["remarks"]


def test_what_scores_that_do_not_vary_cannot_say_is_told(judge, tmp_path):
    found, _ = evaluated(rows(), judge(lambda n: 7), tmp_path, label="human")
    assert "spearman" not in found
    told = scores_text(found).splitlines()
    at = next(n for n, line in enumerate(told) if line.startswith("  of the answer"))
    assert told[at - 1].split("  ") == ["rank correlation with labels", "-"]


def test_scores_that_differ_and_few_scores_are_no_collapse(judge, tmp_path):
    for number, (said, count) in enumerate([(lambda n: 7 if n > 4 else 3, 40), (lambda n: 7, 19)]):
        ran = Pipeline([Rubric(model="judge")], models={"judge": judge(said)}).run(
            rows()[:count], run=tmp_path / f"run{number}", store=tmp_path / f"store{number}"
        )
        assert "remarks" not in ran.summary["steps"][0]


def test_what_has_no_labels_or_scores_is_refused(judge, tmp_path):
    with pytest.raises(UsageError, match="0 rows with a label in the column 'other'"):
        evaluated(rows(), judge(lambda n: 5), tmp_path, label="other")
    with pytest.raises(UsageError, match="gives rows no score"):
        evaluated(rows(), None, tmp_path, step=Prefer(model="judge"))
    found, _ = evaluated(
        rows(), None, tmp_path, step=Length(min=1), label="human", run=tmp_path / "length"
    )
    assert found["rows"] == ROWS
