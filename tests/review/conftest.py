"""Rows to review, and a server of them in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline, Result


def made(folder: Path, records: list[Any], steps: list[Any] | None = None) -> Result:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(one) + "\n" for one in records))
    recipe = Pipeline.from_yaml(json.dumps({"inputs": str(source), "steps": steps or ["exact"]}))
    return recipe.run(run=folder / "run", store=folder / "store")


def sft(count: int) -> list[Any]:
    return [
        {"instruction": f"Say {k}", "output": "word " * (1 + k % 7) + str(k)} for k in range(count)
    ]


def pairs(count: int) -> list[Any]:
    return [
        {"prompt": f"Ask {k}", "chosen": f"good {k}", "rejected": f"bad {k}"} for k in range(count)
    ]


def ranked(scores: list[float | None], prompt: str = "p") -> dict[str, Any]:
    """Return a ranked record with an answer `a`, `b`, ... for each score."""
    answers = [
        {"messages": [{"role": "assistant", "content": letter}], "score": score}
        for letter, score in zip("abcdefghi", scores, strict=False)
    ]
    return {"prompt": prompt, "candidates": answers}


class Served:
    """A review in a process of its own: where it is, and how to end it."""

    def __init__(self, arguments: list[str], folder: Path, code: str = "") -> None:
        command = [sys.executable, "-m", "curate", "review", *arguments]
        if code:
            command = [sys.executable, "-c", code, *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        assert self.process.stdout
        for line in self.process.stdout:
            if found := re.search(r"(http://127\.0\.0\.1:(\d+))(/open\?token=\S+)", line):
                self.at, self.port, self.address = found[1], int(found[2]), found[1] + found[3]
                return
        raise AssertionError("the review has not begun")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=20)


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start a review of arguments of the command; it ends with the test."""
    started = []

    def start(*arguments: str, code: str = "") -> Served:
        started.append(Served(list(arguments), tmp_path, code))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        assert one.process.stdout
        one.process.stdout.close()
