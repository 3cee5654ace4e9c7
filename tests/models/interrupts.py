"""Press Ctrl-C while a model in this process loads or writes, and run the same command again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

CHILD = [sys.executable, str(Path(__file__).with_name("interrupt_child.py"))]
ROOT = Path(__file__).resolve().parents[2]
COUNT = 12
# Far longer than the tests wait: a command that went on to the end of its batch would fail them.
SLOW = {"CURATE_TEST_TOKEN_SECONDS": "0.2"}
STUCK = {"CURATE_TEST_LOAD_SECONDS": "600"}


def recipe(folder: Path, max_tokens: int, **model: Any) -> list[str]:
    """Write rows and a recipe that asks `model` in `folder`; return the command that runs it."""
    rows = [{"prompt": f"{'word ' * number}{number}?"} for number in range(COUNT)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    step = {"respond": {"models": ["writer"], "max_tokens": max_tokens}}
    whole = {"inputs": "rows.jsonl", "models": {"writer": model}, "steps": [step]}
    (folder / "recipe.yaml").write_text(json.dumps(whole))  # JSON is YAML.
    return [*CHILD, "run", "recipe.yaml", "-o", "run", "--allow-failed", "1"]


def interrupted_at(word: str, command: list[str], folder: Path, slow: dict[str, str]) -> str:
    """Run `command`, interrupt it when it says `word`, and return what it said on stderr."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **slow, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        while (line := child.stdout.readline()) and line != f"{word}\n":
            pass
        os.killpg(child.pid, signal.SIGINT)  # As a terminal does: to all of its processes.
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    return said


def finished(command: list[str], folder: Path) -> dict[str, int]:
    """Run `command` to its end and return how many requests were sent, and how many replayed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "run" / "report.json").read_text())
    assert summary["in"] + summary["made"] == sum(
        summary[name] for name in ("kept", "used", "dropped", "failed")
    )
    return dict(summary["requests"])


def check_an_interrupted_batch(command: list[str], folder: Path) -> None:
    """Interrupt a batch of which some is done, then let the same command finish."""
    said = interrupted_at("writing", command, folder, SLOW)
    assert "interrupted; the same command continues" in said
    assert "Traceback" not in said
    assert not (folder / "run" / "report.json").exists()
    requests = finished(command, folder)
    # What was written before the interrupt is not written again, though its batch never ended.
    assert 0 < requests["replayed"] < COUNT
    assert requests["sent"] == COUNT + COUNT - requests["replayed"]
