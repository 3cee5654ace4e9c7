"""TRL's own trainers take every row that is exported for them, without a warning."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.places import ROOT
from tests.write.formats.consumers import exported, lines

TASKS = {
    "sft": ("trl_sft", "sft"),
    "dpo": ("trl_dpo", "preference"),
    "reward": ("trl_reward", "preference"),
    "kto": ("trl_kto", "unpaired"),
}
TRAIN = Path(__file__).with_name("train_tiny.py")


@pytest.mark.slow
def test_the_trainers_take_every_row(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="trl is not installed (make consumers)")
    paths = {task: exported(*names, tmp_path) for task, names in TASKS.items()}
    done = subprocess.run(
        [sys.executable, TRAIN, tmp_path, *(f"{task}={path}" for task, path in paths.items())],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"task"')]
    assert {one["task"]: one["rows"] for one in printed} == {
        task: len(lines(path)) for task, path in paths.items()
    }
    assert all(math.isfinite(one["loss"]) and one["loss"] > 0 for one in printed)


@pytest.mark.slow
def test_prompts_are_what_online_trainers_ask_for(tmp_path: Path) -> None:
    data_utils = pytest.importorskip("trl.data_utils", reason="trl is not installed")
    for record in lines(exported("trl_prompt", "prompt", tmp_path)):
        assert data_utils.is_conversational(record)
        assert record["prompt"][-1]["role"] == "user"
