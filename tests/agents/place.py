"""Where a task of an agent is done: its folder, a judge on loopback, and what both show afterwards.

A task is a statement in plain words, an input folder, and a checker that looks only at what lies on
disk and at what was asked of the server. How it was done is nobody's business.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from typer.testing import CliRunner

from curate.cli.main import app
from tests.models.chaos import Answer, Received, Server, chat

ENDINGS = ("kept", "used", "dropped", "failed")


@dataclass
class Place:
    """A folder with the data of a task, the server, and what is known of both at the start."""

    folder: Path
    server: Server
    known: dict[str, Any] = field(default_factory=dict)
    before: int = 0

    @property
    def asked(self) -> list[Received]:
        """What the server was asked since the task began."""
        return self.server.received[self.before :]

    def write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / name).write_text(text, encoding="utf-8")

    def lines(self, name: str) -> list[Any] | None:
        """Return the records of a file of JSON lines, `None` where there is none."""
        path = self.folder / name
        if not path.is_file():
            return None
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def runs(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the finished runs with their reports."""
        for path in sorted(self.folder.glob("runs/*/report.json")):
            yield path.parent, json.loads(path.read_text("utf-8"))

    def account(self, rows: int, kept: int) -> list[str]:
        """Return the complaint that no run accounts for so many rows read and kept, row by row."""
        for run, report in self.runs():
            ends = sum(report[name] for name in ENDINGS)
            ids = {row["id"] for name in ENDINGS for row in table(run / name)}
            whole = report["in"] + report["made"] == ends == len(ids)
            if report["in"] == rows and report["kept"] == kept and whole:
                return []
        return [f"no run accounts for {rows} rows read and {kept} kept"]

    def ledger(self, step: str, outcome: str = "dropped") -> list[dict[str, Any]]:
        """Return what a step did to rows, of all runs in which it has this name."""
        found = []
        for run, _ in self.runs():
            found += [e for e in table(run / "ledger" / step) if e["outcome"] == outcome]
        return found


def table(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of all Parquet files below a folder, ids as hexadecimal digits."""
    rows = []
    for path in sorted(folder.rglob("*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return [{k: v.hex() if isinstance(v, bytes) else v for k, v in row.items()} for row in rows]


def question(row: Mapping[str, Any]) -> str:
    """Return what a record asks first, in whichever shape it was written."""
    return str(row["messages"][0]["content"] if "messages" in row else row["instruction"])


def answer(row: Mapping[str, Any]) -> str:
    """Return what a record answers last."""
    return str(row["messages"][-1]["content"] if "messages" in row else row["output"])


def graded(request: Received) -> Answer:
    """Answer as a judge that reads the grade which stands in the text it is shown."""
    found = re.search(r"grade (\d+)", request.text)
    if found is None:
        return chat("I cannot tell.", delay=0)
    reply = {"rationale": "as it says", "score": int(found[1])}
    return chat(json.dumps(reply), tokens=(len(request.text) // 4, 12))


@dataclass(frozen=True)
class Way:
    """Files to write, and commands to run: `curate ...`, or with `> FILE` behind it."""

    commands: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)

    def go(self, place: Place) -> list[int]:
        """Do it in the folder, which is the working folder; return the exit codes."""
        for name, text in self.files.items():
            (place.folder / name).write_text(text.replace("URL", place.server.url), "utf-8")
        return [command(line.replace("URL", place.server.url)) for line in self.commands]


def command(line: str) -> int:
    """Run one command of `curate` in this process, and put its output where the line says."""
    words = shlex.split(line)
    target = words[-1] if ">" in words else None
    words = words[: words.index(">")] if target else words
    assert words[0] == "curate", line
    done = CliRunner().invoke(app, words[1:], prog_name="curate")
    if target:
        Path(target).write_text(done.stdout, encoding="utf-8")
    return done.exit_code


@dataclass(frozen=True)
class Task:
    """A task: `solution` must be accepted, `wrong` be refused, and so must be doing nothing."""

    name: str
    statement: str
    prepare: Callable[[Place], None]
    check: Callable[[Place], list[str]]
    solution: Way
    wrong: Way | Callable[[Place], None]

    def text(self, place: Place) -> str:
        """Return the statement as an agent reads it."""
        return " ".join(self.statement.split()).replace("URL", place.server.url)
