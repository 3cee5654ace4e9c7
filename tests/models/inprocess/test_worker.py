"""The end of a program whose model still computes: its exit code is its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

# The model is closed while its weights are "read": for a while after that, torch's operations let
# go of Python's lock and take it again, as real loading does.
PROGRAM = """
import asyncio, sys, time
import torch
from curate.ask import Ask
from curate.cli.entry import main
from curate.models.inprocess.worker import Worker, still_computing

matrix = torch.ones(64, 64)

def load():
    end = time.monotonic() + 3
    while time.monotonic() < end:
        torch.mm(matrix, matrix)
    raise ValueError("nothing was loaded")

async def use():
    worker = Worker(load, 1, "a model")
    waiting = asyncio.create_task(worker.answer(Ask.text("x"), "k", 0))
    await asyncio.sleep(0.1)
    waiting.cancel()
    assert not await worker.close()

asyncio.run(use())
assert still_computing()
"""
# What follows is how the program ends.
ENDS = {
    "command line": ("sys.argv[1:] = ['run', 'absent.yaml']; main()", 2),
    "another program": ("sys.exit(7)", 7),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_exit_code_is_kept(how: str, tmp_path: Path) -> None:
    end, code = ENDS[how]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + end], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "terminate called" not in done.stderr
