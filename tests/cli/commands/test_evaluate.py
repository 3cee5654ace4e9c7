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
    assert "--recorded and --model exclude each other" in both.stderr
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


@pytest.mark.parametrize(
    "given",
    [
        ("pairs", "--on", "pairs.jsonl", "--recorded", "said"),
        ("pairs", "--on", "pairs.jsonl", "--annotators", "said,said"),
        ("judge", "--on", "rows.jsonl", "--recorded", "s", "--label", "good"),
    ],
)
def test_a_dry_run_of_what_was_recorded_ends_with_its_plan(curate, labelled, given):
    done = curate("evaluate", *given, "--dry-run")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["dry_run"] is True
    assert not (labelled / "runs").exists()


def test_a_judge_of_scores_and_one_of_lists_are_measured_on_pairs(curate, labelled):
    done = curate(
        "evaluate", "pairs", "--on", "pairs.jsonl", "--step", "rubric", "--model",
        "scripted:seven.jsonl", "--run", "runs/scores",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "24 labelled pairs, 0 of them ties" in done.stdout
    assert f"scores of {2 * ROWS} answers" in done.stdout
    assert "bias of length" in done.stdout
    assert "shown first" not in done.stdout
    with (labelled / "lists.jsonl").open("w") as file:
        for n in range(ROWS):
            answers = [{"messages": [{"role": "assistant", "content": f"{k} of {n}"}], "score": k}
                       for k in (3, 2, 1)]  # fmt: skip
            file.write(json.dumps({"prompt": f"Q{n}?", "candidates": answers}) + "\n")
    said = json.dumps({"rationale": "r", "ranks": [1, 2, 3]})
    (labelled / "list.jsonl").write_text(json.dumps({"when": {}, "reply": said}))
    done = curate(
        "evaluate", "pairs", "--on", "lists.jsonl", "--step", "rank:method=listwise", "--model",
        "scripted:list.jsonl",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "place 1        48     100.0%" in done.stdout
    assert "remark: all labelled rows list their answers in the order of" in done.stdout


def test_what_judges_no_answers_is_refused(curate, labelled):
    done = curate("evaluate", "pairs", "--on", "pairs.jsonl", "--step", "respond:model=judge")
    assert done.exit_code == 2
    assert "'respond' judges no answers; measure a step that compares two" in done.stderr


def test_preferences_are_audited(curate, tmp_path):
    rows = [{"prompt": f"Q{n}?", "chosen": "yes, certainly", "rejected": "no"} for n in range(3)]
    rows.append({"prompt": "Q9?", "chosen": "text \u001b[31m", "rejected": ""})
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = curate("evaluate", "preference", "pairs.jsonl")
    assert done.exit_code == 0, done.stderr
    assert "4 pairs (0 ties) of 4 prompts in 4 rows" in done.stdout
    assert "the longer answer wins      100.0%" in done.stdout
    assert "an answer is empty  1      25.0%" in done.stdout
    line = json.loads((tmp_path / "runs/pairs-preference/findings.jsonl").read_text())
    shown = curate("explain", "runs/pairs-preference", line["row"])
    assert (shown.exit_code, line["finding"]) == (0, "empty_side")
    again = curate("evaluate", "preference", "pairs.jsonl", "--json")
    assert json.loads(again.stdout)["findings"]["empty_side"]["pairs"] == 1
    wrong = curate("evaluate", "preference", "pairs.jsonl", "--model", "local")
    assert (wrong.exit_code, "an audit asks no model" in wrong.stderr) == (2, True)
    (tmp_path / "sft.jsonl").write_text('{"instruction": "a", "output": "b"}')
    wrong = curate("evaluate", "preference", "sft.jsonl")
    assert (wrong.exit_code, "no labelled pair (rows read: 1 sft" in wrong.stderr) == (2, True)


def test_a_search_for_test_items_is_measured(curate, labelled):
    question = "How many of the seven birds sang while the lazy dog slept under the old tree?"
    (labelled / "t.jsonl").write_text(json.dumps({"question": question}) + "\n")
    rule = ("--against", "t=t.jsonl", "--step", "contamination:mode=ngrams", "--hide", "5")
    done = curate("evaluate", "contamination", "pairs.jsonl", *rule)
    assert done.exit_code == 0, done.stderr
    assert "embedded 5 100.0% (56.6% to 100.0%)" in " ".join(done.stdout.split())
    assert "your rows 24 0 (0.00%)" in " ".join(done.stdout.split())
    assert "no item for: changed numbers" in done.stdout
    assert "run        runs/pairs-hidden-items/rows" in done.stdout
    found = json.loads(curate("evaluate", "contamination", "pairs.jsonl", *rule, "--json").stdout)
    assert found["ways"]["in the answer"]["ngrams"]["value"] == 1.0
    for wrong, said in (
        (("--step", "length"), "--step is 'length'"),
        (("--step", "contamination:mode=ngrams"), "name test sets with --against"),
        ((*rule[:4], "--model", "local"), "--model has nothing to answer"),
    ):
        done = curate("evaluate", "contamination", "pairs.jsonl", *wrong)
        assert done.exit_code == 2 and said in done.stderr, done.stderr
