"""Ten tasks of users: the commands that `curate agent` names do them, and checkers can refuse."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.cli.agent_guide import guide, guide_text
from tests.house.places import ROOT
from tests.models.chaos import Server

from . import TASKS
from .place import Place, Task, Way, graded

every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


@contextlib.contextmanager
def begun(task: Task, folder: Path) -> Iterator[Place]:
    """Give the task's place, prepared; the folder is the working folder."""
    with Server(graded) as server, contextlib.chdir(folder):
        place = Place(folder, server)
        task.prepare(place)
        place.before = len(server.received)
        yield place


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_there_are_ten_tasks() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS) == 10


@every_task
def test_the_solution_is_accepted(task: Task, tmp_path: Path) -> None:
    with begun(task, tmp_path) as place:
        assert task.check(place), "the task is done before it begins"
        codes = task.solution.go(place)
        assert task.check(place) == []
        assert all(code == 0 for code in codes)


@every_task
def test_a_wrong_way_is_refused(task: Task, tmp_path: Path) -> None:
    with begun(task, tmp_path) as place:
        task.wrong.go(place) if isinstance(task.wrong, Way) else task.wrong(place)
        assert task.check(place)


@every_task
def test_the_guide_names_what_the_solution_uses(task: Task) -> None:
    text = guide_text(guide())
    for line in task.solution.commands:
        name = line.split()[1]
        assert f"`curate {name} " in text
        for flag in re.findall(r"(?<=\s)--?[a-z-]+(?=\s|$)", line):
            assert flag in text, (task.name, flag)
