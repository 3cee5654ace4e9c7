"""`curate evaluate` as a user types it."""

import json

import pytest

ROWS = 24


@pytest.fixture
def labelled(tmp_path):
    """Write labelled pairs and rows, and a judge that always says A, or 7."""
    with (tmp_path / "pairs.jsonl").open("w") as file:
        for n in range(ROWS):
            said = ("A", "B")[n % 4 == 0]
            pair = {"prompt": f"Q{n}?", "chosen": "yes, certainly", "rejected": "no", "said": said}
            file.write(json.dumps(pair) + "\n")
    with (tmp_path / "rows.jsonl").open("w") as file:
        for n in range(ROWS):
            row = {"prompt": f"Q{n}?", "completion": f"Answer {n}.", "good": n % 2 == 0, "s": n}
            file.write(json.dumps(row) + "\n")
    (tmp_path / "a.jsonl").write_text('{"when": {}, "reply": "A"}\n')
    (tmp_path / "seven.jsonl").write_text(
        '{"when": {"contains": "Q1?"}, "reply": "Score: 2"}\n{"when": {}, "reply": "Score: 7"}\n'
    )
    return tmp_path


def test_a_judge_of_pairs_is_measured(curate, labelled):
    done = curate("evaluate", "pairs", "--on", "pairs.jsonl", "--model", "scripted:a.jsonl")
    assert done.exit_code == 0, done.stderr
    out = done.stdout
    assert "24 labelled pairs, 0 of them ties" in out
    assert "the answer shown first wins     100.0%" in out
    assert "warning: 24 of 24 scores (100%) of the judge's averaged view are 0.5" in out
    assert "runs/pairs-pairs" in out
    again = curate(
        "evaluate", "pairs", "--on", "pairs.jsonl", "--model", "scripted:a.jsonl", "--json"
    )
    found = json.loads(again.stdout)
    assert found["accuracy"] == pytest.approx({"value": 0.5, "low": 0.314, "high": 0.686}, abs=1e-3)
    assert found["accuracy_longest"]["value"] == 1.0
    shown = curate("report", "runs/pairs-pairs", "--json")
    assert json.loads(shown.stdout)["figures"]["evaluation"]["accuracy"] == 0.5


def test_verdicts_in_columns_need_no_model(curate, labelled):
    done = curate("evaluate", "pairs", "--on", "pairs.jsonl", "--recorded", "said", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["accuracy"]["value"] == 0.75
    both = curate(
        "evaluate", "pairs", "--on", "pairs.jsonl", "--recorded", "said", "--model", "local"
    )
    assert both.exit_code == 2
    assert "--recorded and --model say different things" in both.stderr
    table = curate("evaluate", "pairs", "--on", "pairs.jsonl", "--annotators", "said,said")
    assert table.stdout.splitlines()[1].split() == [
        "said,", "said", "24", "100.0%", "(86.2%", "to", "100.0%)", "1.000",
    ]  # fmt: skip


def test_a_judge_of_scores_is_measured_and_corrects_a_share(curate, labelled):
    common = ("--on", "rows.jsonl", "--model", "scripted:seven.jsonl", "--label", "good")
    done = curate("evaluate", "judge", *common, "--at-least", "5")
    assert done.exit_code == 0, done.stderr
    assert "sensitivity                   100.0%" in done.stdout
    assert "collapsed to one value" in done.stdout
    assert "AUC, good over bad            0.542" in done.stdout
    wrong = curate("evaluate", "judge", *common[:4])
    assert wrong.exit_code == 2
    assert "name the labels' column with --label" in wrong.stderr
    corrected = curate(
        "evaluate", "judge", *common, "--at-least", "5", "--correct", "runs/rows-judge"
    )
    assert "share of good rows in runs/rows-judge (24 rows)" in corrected.stdout
    assert "corrected (Rogan-Gladen)  50.0%" in corrected.stdout
    kept = json.loads((labelled / "runs" / "rows-judge" / "evaluation.json").read_text())
    assert kept["corrected"]["corrected"]["value"] == 0.5


def test_a_step_that_gives_no_score_is_refused_before_anything_is_asked(curate, labelled):
    done = curate(
        "evaluate", "judge", "--on", "rows.jsonl", "--model", "scripted:seven.jsonl",
        "--label", "good", "--step", "respond",
    )  # fmt: skip
    assert done.exit_code == 2
    assert "'respond' gives rows no score; measure a step that does" in done.stderr
    assert not (labelled / "runs").exists()


def test_a_mistyped_label_of_recorded_scores_is_refused(curate, labelled):
    done = curate(
        "evaluate", "judge", "--on", "rows.jsonl", "--recorded", "s", "--label", "godo"
    )  # fmt: skip
    assert done.exit_code == 2
    assert "'godo'" in done.stderr


def test_scores_in_columns_need_no_model(curate, labelled):
    done = curate(
        "evaluate", "judge", "--on", "rows.jsonl", "--recorded", "s", "--label", "good", "--json"
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["scores"]["s"]["auc"] == pytest.approx(0.458333, abs=1e-6)


def test_failed_rows_are_no_part_of_the_measures_and_set_the_exit_code(curate, labelled):
    (labelled / "half.jsonl").write_text(
        '{"when": {"contains": "Q1"}, "reply": "Neither of them."}\n{"when": {}, "reply": "A"}\n'
    )
    given = ("evaluate", "pairs", "--on", "pairs.jsonl", "--model", "scripted:half.jsonl")
    done = curate(*given)
    assert done.exit_code == 1
    assert "13 labelled pairs" in done.stdout
    assert "11 rows failed, more than --allow-failed 0 allows" in done.stderr
    assert curate(*given, "--allow-failed", "50%").exit_code == 0


def test_a_dry_run_asks_nothing(curate, labelled):
    done = curate(
        "evaluate", "pairs", "--on", "pairs.jsonl", "--model", "scripted:a.jsonl", "--dry-run"
    )
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["estimate"]["requests"] == 2 * ROWS


def test_what_judges_no_pairs_is_refused(curate, labelled):
    done = curate("evaluate", "pairs", "--on", "pairs.jsonl", "--step", "length:min=3")
    assert done.exit_code == 2
    assert "does not compare pairs; measure prefer or rank" in done.stderr
