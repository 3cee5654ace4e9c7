"""A recipe on a cluster of two nodes gives the bytes that it gives on one machine."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from .conftest import TwoNodes, curate, lines, on, outlives_a_node, same, started, until

pytestmark = pytest.mark.slow

# Of a part's rows each takes a moment, and says so in a file: parts are under way for long enough
# that a node or the run can be killed meanwhile.
STEPS = """
import dataclasses, os, time
from pathlib import Path
from curate.step import Filter, Generate, Scored
from curate.row import Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slow(Filter):
    '''Take a moment for each row.'''

    begun: str = ''
    seconds: float = 0.0

    def score(self, row):
        text = row.text('whole')
        if 'broken 3' in text:
            raise ValueError('a three')
        with Path(self.begun).open('a') as file:
            file.write(f'{os.getpid()}\\n')
        time.sleep(self.seconds)
        return Scored(float(len(text)), {'letters': len(set(text))})

    def keep(self, score):
        return 'too short' if score is not None and score < 20 else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Twice(Generate):
    '''Make two rows of one.'''

    def make(self, row):
        return [Record(row.kind, row.fields), Record(row.kind, row.fields)]
"""
RECIPE = """
inputs: {rows: 'rows/*.jsonl'}
steps:
  - ./steps.py:Slow: {label: slow, begun: BEGUN, seconds: SECONDS}
  - ./steps.py:Twice: {label: twice}
  - exact
  - length: {min: 3, label: words}
  - near: {similarity: 0.8}
  - sample: {count: 150}
"""
FILES, ROWS = 12, 40


def write(folder: Path, seconds: float) -> Path:
    """Write a recipe over files of numbered rows, and return the file that says what was begun."""
    (folder / "rows").mkdir(parents=True)
    for file in range(FILES):
        lines = []
        for number in range(ROWS):
            name = f"{'broken' if number % 17 == 5 else 'row'} {number % 9} of file {file}"
            text = "" if number % 13 == 4 else f"This is the answer for {name}, at some length."
            row = {
                "messages": [
                    {"role": "user", "content": f"Say {name}"},
                    {"role": "assistant", "content": text},
                ],
                "mark": number,
            }
            lines.append(json.dumps(row))
        # What is not a row at all fails with its line.
        lines.insert(file, "{broken")
        path = folder / "rows" / f"{file:02}.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "steps.py").write_text(STEPS, encoding="utf-8")
    begun = folder / "begun"
    recipe = RECIPE.replace("BEGUN", str(begun)).replace("SECONDS", str(seconds))
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    return begun


def test_two_nodes_give_the_bytes_of_one_machine(cluster: TwoNodes, tmp_path: Path) -> None:
    begun = write(tmp_path, seconds=0.001)
    for name, more in (("here", []), ("there", on(cluster))):
        done = curate(tmp_path, "run", "recipe.yaml", "-o", name, "--allow-failed", "1", *more)
        assert done.returncode == 0, done.stderr
        if name == "here":
            begun.unlink()
    same(tmp_path, "here", "there")
    # Both nodes had a part in it.
    assert len(set(lines(begun))) > 1


def test_a_node_dies_with_its_folder(cluster: TwoNodes, tmp_path: Path) -> None:
    begun = write(tmp_path, seconds=0.04)
    run = ["run", "recipe.yaml", "--allow-failed", "1"]
    there = started(tmp_path, *run, "-o", "there", *on(cluster))
    outlives_a_node(
        cluster,
        there,
        lambda: len(set(lines(begun))) > 1 and len(lines(begun)) > 3 * ROWS,
        lambda: len(lines(begun)),
    )
    # Some rows were begun twice: the parts that the node had.
    assert len(lines(begun)) > FILES * ROWS * 16 / 17
    assert curate(tmp_path, *run, "-o", "here").returncode == 0
    same(tmp_path, "here", "there")


def test_the_run_dies_and_is_started_again(cluster: TwoNodes, tmp_path: Path) -> None:
    begun = write(tmp_path, seconds=0.03)
    run = ["run", "recipe.yaml", "--allow-failed", "1"]
    killed = started(tmp_path, *run, "-o", "there", *on(cluster))
    try:
        until(lambda: len(lines(begun)) > 3 * ROWS, killed)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    assert not (tmp_path / "there" / "report.json").exists()
    again = curate(tmp_path, *run, "-o", "there", *on(cluster))
    assert again.returncode == 0, again.stderr
    assert curate(tmp_path, *run, "-o", "here").returncode == 0
    same(tmp_path, "here", "there")
