"""Ctrl-C while a model in this process loads or writes: an end without a traceback, then more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curate.models import local
from tests.models.test_local import INSTALLED
from tests.models.tiny import save_tiny

CHILD = [sys.executable, str(Path(__file__).with_name("interrupt_child.py"))]
ROOT = Path(__file__).resolve().parents[2]
COUNT = 12
# Far longer than the tests wait: a command that went on to the end of its batch would fail them.
SLOW = {"CURATE_TEST_TOKEN_SECONDS": "0.2"}
STUCK = {"CURATE_TEST_LOAD_SECONDS": "600"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("writer"), "LlamaForCausalLM", 1024)


def recipe(folder: Path, model: str, stop: str) -> list[str]:
    """Write rows and a recipe in `folder`, and return the command that runs it."""
    rows = [{"prompt": f"{'word ' * number}{number}?"} for number in range(COUNT)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(
        "inputs: rows.jsonl\n"
        f"models: {{writer: {{model: '{model}', temperature: 1.0, stop: ['{stop}'], threads: 1}}}}"
        "\nsteps: [respond: {models: [writer], max_tokens: 400}]\n"
    )
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
    ) as child:
        assert child.stdout is not None
        while (line := child.stdout.readline()) and line != f"{word}\n":
            pass
        child.send_signal(signal.SIGINT)
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
    said = interrupted_at("writing", command, folder, SLOW)
    assert said.splitlines()[-1] == "interrupted; the same command continues"
    assert "Traceback" not in said
    assert not (folder / "run" / "report.json").exists()
    requests = finished(command, folder)
    # What was written before the interrupt is not written again, though its batch never ended.
    assert 0 < requests["replayed"] < COUNT
    assert requests["sent"] == COUNT + COUNT - requests["replayed"]


@pytest.mark.slow
def test_an_interrupted_batch_keeps_the_replies_that_were_done(tiny: Path, tmp_path: Path) -> None:
    check_an_interrupted_batch(recipe(tmp_path, f"hf:{tiny}", "e"), tmp_path)


@pytest.mark.slow
def test_weights_that_are_being_read_hold_nobody_up(tiny: Path, tmp_path: Path) -> None:
    command = recipe(tmp_path, f"hf:{tiny}", "e")
    said = interrupted_at("loading", command, tmp_path, STUCK)
    assert said.splitlines()[-1] == "interrupted; the same command continues"
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not INSTALLED, reason="the embedded model: run `make local`")
def test_the_embedded_model_is_interrupted_alike(tmp_path: Path) -> None:
    local.model_folder()
    check_an_interrupted_batch(recipe(tmp_path, "local", "."), tmp_path)
