"""Progress in a notebook is one line in its place; elsewhere there is none."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from curate.engine import notebook_progress as module
from curate.engine.notebook_progress import notebook_progress
from curate.engine.options import Progress
from curate.pipeline import Pipeline
from curate.steps import Length

ROWS = [{"instruction": f"question {n}", "output": "x"} for n in range(3)]


class Cell:
    """The output of a cell: what IPython's `display` shows, in the form of its messages."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw and display_id
        self.shown.append(data)
        return types.SimpleNamespace(update=self.update)

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A kernel of a notebook, as far as it is asked for its display."""
    found = Cell()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell = types.SimpleNamespace(kernel=object())
    vars(ipython)["get_ipython"] = lambda: shell
    vars(display)["display"] = found.display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return found


def test_a_line_is_written_in_its_place_and_gone_at_the_end(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(module, "time", clock)
    with notebook_progress() as listener:
        assert listener is not None
        for count in range(10):
            listener(Progress("judge", count, 10, 70))
            now[0] += 0.1
    texts = [data["text/plain"] for data in cell.shown]
    assert texts[0] == "reading" and texts[-1] == ""
    # Two of a second: each change is a message.
    assert len(texts) == 4 and all(text.startswith("judge | ") for text in texts[1:3])
    assert not any(set(text) & {"\r", "\x1b", "\n"} for text in texts)


def test_it_is_gone_after_an_error(cell: Cell) -> None:
    with pytest.raises(ValueError, match="stop"), notebook_progress():
        raise ValueError("stop")
    assert cell.shown[-1] == {"text/plain": ""}


def test_a_run_shows_it_unless_it_has_a_listener(cell: Cell, tmp_path: Path) -> None:
    pipeline = Pipeline([Length(min=1)])
    pipeline.run(ROWS, run=tmp_path / "a", store=tmp_path / "store")
    assert cell.shown[0] == {"text/plain": "reading"} and cell.shown[-1] == {"text/plain": ""}
    count = len(cell.shown)
    seen: list[Progress] = []
    pipeline.run(ROWS, run=tmp_path / "b", store=tmp_path / "store", progress=seen.append)
    assert seen and len(cell.shown) == count > 2


def test_elsewhere_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with notebook_progress() as listener:
        assert listener is None
    ipython = types.ModuleType("IPython")
    # IPython in a terminal has a shell, and no kernel.
    vars(ipython)["get_ipython"] = lambda: types.SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    with notebook_progress() as listener:
        assert listener is None
    Pipeline([Length(min=1)]).run(ROWS, run=tmp_path / "run", store=tmp_path / "store")
    assert capfd.readouterr() == ("", "")
