"""Pictures of a run: every one that there is to draw, the same bytes twice, and clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.errors import MissingExtra, UsageError
from curate.page import pictures
from curate.page.pictures import write_pictures
from curate.pipeline import Pipeline, Result
from curate.system import package_data
from tests.page.conftest import STEPS, made

pytest.importorskip("matplotlib")
painted = pictures._save


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run whose steps drop, choose, and fail on rows."""
    steps = [*STEPS, "exact", {"sample": {"count": 5}}]
    return made(tmp_path_factory.mktemp("pictures"), steps)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The figures instead of files, by the files' names: to paint them takes the most time."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(
        pictures, "_save", lambda figure, path: found.__setitem__(path.name, figure)
    )
    return found


def heights(container: Any) -> list[float]:
    return [bar.get_height() for bar in container]


@pytest.mark.slow
def test_the_command_draws_the_same_bytes_twice(run: Result, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(run.folder), "--png", str(tmp_path / "a")])
    names = ["funnel.png", "reasons.png", "scores_length.png", "scores_charset.png"]
    found = [Path(line) for line in done.output.split()]
    assert done.exit_code == 0 and found == [tmp_path / "a" / name for name in names]
    for path in found:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    again = write_pictures(run.folder, tmp_path / "b")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in found]


@pytest.mark.slow
def test_a_map_of_style_is_among_them(tmp_path: Path) -> None:
    run = made(tmp_path, [{"style_report": {}}])
    found = [path.name for path in write_pictures(run.folder, tmp_path / "out")]
    assert found == [
        "funnel.png",
        "reasons.png",
        "scores_style_report.png",
        "style_report.png",
        "style_report.csv",
    ]


def test_bars_are_the_counts_of_the_run(run: Result, drawn: dict[str, Any], tmp_path: Path) -> None:
    write_pictures(run.folder, tmp_path)
    (axes,) = drawn["funnel.png"].axes
    kept, lost = ([bar.get_width() for bar in each] for each in axes.containers)
    steps = run.summary["steps"]
    assert kept == [step["kept"] for step in steps]
    assert lost == [step["dropped"] + step["failed"] for step in steps]
    assert axes.yaxis_inverted()
    (axes,) = drawn["reasons.png"].axes
    widths = sum(bar.get_width() for each in axes.containers for bar in each)
    assert widths == run.summary["dropped"] + run.summary["failed"]
    words = [label.get_text() for label in axes.get_yticklabels()]
    assert "length: fewer than 5 words" in words and "could not be read" in words
    assert axes.get_legend_handles_labels()[1] == ["dropped", "not chosen", "failed"]


def test_the_threshold_is_drawn_where_the_rule_is(
    run: Result, drawn: dict[str, Any], tmp_path: Path
) -> None:
    write_pictures(run.folder, tmp_path)
    (axes,) = drawn["scores_length.png"].axes
    passed, stopped = map(heights, axes.containers)
    step = run.summary["steps"][0]
    assert sum(passed) == step["kept"] and sum(stopped) == step["dropped"]
    (line,) = axes.lines
    assert line.get_xdata()[0] == 5 and line.get_label() == "min 5"
    # Every bar of refused rows lies below it.
    refused = [bar.get_x() for bar in axes.containers[1] if bar.get_height()]
    assert refused and max(refused) < 5


def test_few_scores_have_a_bar_each(drawn: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"instruction": "a " * n, "output": "x"} for n in (1, 2, 2, 4)]
    recipe = Pipeline.from_yaml('{"steps": [{"length": {"min": 4, "on": "instruction"}}]}')
    run = recipe.run(rows, run=tmp_path / "run", store=tmp_path / "store")
    write_pictures(run.folder, tmp_path / "out")
    (axes,) = drawn["scores_length.png"].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]
    passed, stopped = map(heights, axes.containers)
    assert (passed, stopped) == ([0, 0, 1], [1, 2, 0])
    # The threshold stands before the bar of the score that passes.
    assert axes.lines[0].get_xdata()[0] == 2


def test_names_are_no_formulas_and_no_controls(drawn: dict[str, Any], tmp_path: Path) -> None:
    recipe = Pipeline.from_yaml(json.dumps({"steps": ["exact"]}))
    run = recipe.run(
        [{"instruction": "a", "output": "x"}] * 3, run=tmp_path / "run", store=tmp_path / "store"
    )
    report = run.folder / "report.json"
    told = json.loads(report.read_text())
    told["steps"][0]["reasons"] = {"costs $x^{ and $y, \u202egnp \x1b[31m 机器": 2}
    report.write_text(json.dumps(told))
    write_pictures(run.folder, tmp_path / "out")
    (axes,) = drawn["reasons.png"].axes
    (label,) = [label.get_text() for label in axes.get_yticklabels()]
    assert r"\$x^{ and \$y" in label and r"\u202e" in label and r"\x1b" in label
    # A formula that cannot be read would end the drawing.
    painted(drawn["reasons.png"], tmp_path / "reasons.png")
    assert (tmp_path / "reasons.png").is_file()


def test_many_reasons_end_in_one_bar(drawn: dict[str, Any], tmp_path: Path) -> None:
    run = made(tmp_path, STEPS)
    report = run.folder / "report.json"
    told = json.loads(report.read_text())
    told["steps"][0]["reasons"] = {f"reason {n}": 1 + n for n in range(300)}
    report.write_text(json.dumps(told))
    write_pictures(run.folder, tmp_path / "out")
    (axes,) = drawn["reasons.png"].axes
    words = [label.get_text() for label in axes.get_yticklabels()]
    assert len(words) == 20 and words[-1].endswith("other reasons")
    every = sum(bar.get_width() for each in axes.containers for bar in each)
    assert every == sum(range(301)) + sum(told["steps"][1]["reasons"].values()) + told["failed"]


def test_a_run_without_drops_has_a_funnel(tmp_path: Path) -> None:
    rows = [{"instruction": "a", "output": "x"}]
    run = Pipeline.from_yaml('{"steps": ["exact"]}').run(
        rows, run=tmp_path / "run", store=tmp_path / "store"
    )
    assert [p.name for p in write_pictures(run.folder, tmp_path / "out")] == ["funnel.png"]
    run = Pipeline([]).run(rows, run=tmp_path / "none", store=tmp_path / "store")
    with pytest.raises(UsageError, match="nothing to draw: its recipe has no steps"):
        write_pictures(run.folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_without_matplotlib_the_command_that_installs_it_is_named(
    run: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> object:
        return None if name == "matplotlib" else True

    monkeypatch.setattr(package_data, "find_spec", absent)
    with pytest.raises(MissingExtra, match=r"--png needs matplotlib.*\[figures\]"):
        write_pictures(run.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
