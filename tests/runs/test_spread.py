"""Scores of a run: quantiles of many, a count of each where they are few."""

from pathlib import Path

from curate import Pipeline
from curate.pipeline import Result
from curate.runs.spread import ScoreDistribution, score_distributions
from curate.steps import Exact, Length


def test_scores_are_spread_over_the_rows_that_have_one(tmp_path: Path) -> None:
    rows = [{"instruction": "x", "output": "w " * n} for n in range(1, 101)]
    steps = [
        Length(on="response", min=11),
        Length(on="instruction", label="question"),
        Exact(on="instruction"),
    ]
    result = Pipeline(steps).run(rows, run=tmp_path / "run")
    labels = ["length", "question", "exact"]
    assert score_distributions(result.folder, labels) == [
        ScoreDistribution("length", 100, (1, 10, 25, 50, 75, 90, 100))
    ]
    said = Result.open(result.folder).report(scores=True)
    section = next(part.splitlines() for part in said.split("\n\n") if part.startswith("scores"))
    assert section[0].split() == [
        "scores",
        "rows",
        "least",
        "10%",
        "25%",
        "50%",
        "75%",
        "90%",
        "most",
    ]
    assert section[1].split() == ["length", "100", "1", "10", "25", "50", "75", "90", "100"]
    assert "\nscores" not in result.report()


def test_few_marks_are_counted_each(tmp_path: Path) -> None:
    rows = [{"instruction": "x", "output": "w " * n} for n in (1, 1, 1, 2, 5)]
    result = Pipeline([Length(on="response")]).run(rows, run=tmp_path / "run")
    (one,) = score_distributions(result.folder, ["length"])
    assert one.counts == ((1, 3), (2, 1), (5, 1))
    assert "\n  length  3 of 1, 1 of 2, 1 of 5\n" in result.report(scores=True)
