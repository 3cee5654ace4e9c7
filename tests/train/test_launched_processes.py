"""Several processes train as one does with their batches together, and the first one writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from curate.errors import UsageError
from curate.system.launched_processes import is_first_process, process_count, require_one_process
from tests.house.places import ROOT
from tests.train import tiny

# A thread like those of a group: inside torch it lets go of Python's lock, and takes it again.
GROUP = """
import sys, threading
import torch
from curate.cli.entry import main

store = torch.distributed.HashStore()
torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
matrix = torch.ones(64, 64)

def work():
    while True:
        torch.mm(matrix, matrix)

threading.Thread(target=work, daemon=True).start()
sys.argv[1:] = ["run", "absent.yaml"]
main()
"""


def test_threads_of_a_group_do_not_abort_the_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROUP], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "absent.yaml" in done.stderr


def test_a_launcher_says_who_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    # Some clusters set it for one process.
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    assert process_count() == 1
    assert is_first_process()
    require_one_process("ppo")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert process_count() == 4
    assert not is_first_process()
    with pytest.raises(UsageError, match="ppo runs in one process, and 4 were started"):
        require_one_process("ppo")


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    tiny.folder(tmp_path / "model")
    rows: list[dict[str, Any]] = [
        {
            "messages": [
                {"role": "user", "content": f"q{n}?"},
                {"role": "assistant", "content": f"yes {n} " + "ab " * (n % 5)},
            ],
            "weight": 0.5 if n % 3 else 1.0,
        }
        for n in range(32)
    ]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = [sys.executable, "-m"]
    launched = [*own, "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    found, environment = {}, os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for name, starts, size in (("one", own, 4), ("two", [*launched], 2)):
        (tmp_path / "settings.yaml").write_text(
            f"max_steps: 4\nbatch_size: {size}\nevery: 2\nlearning_rate: 0.5\nwarmup: 0\n"
            "held_out: 0.2\nloss: {kl: 0.5}\n"
            "trl: {optim: sgd, max_grad_norm: 0.0, lr_scheduler_type: constant,\n"
            "  train_sampling_strategy: sequential}\n"
        )
        command = [
            *starts, "curate", "train", "sft", tmp_path / "talks.jsonl", "--model",
            tmp_path / "model", "--config", tmp_path / "settings.yaml", "-o", tmp_path / name,
        ]  # fmt: skip
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("sft: 4 steps") == 1
        assert done.stderr.count("of them learnt") == 1
        found[name] = load_file(tmp_path / name / "model.safetensors")
        assert (tmp_path / name / "report.json").is_file()
        checkpoints = {path.name for path in (tmp_path / name / "checkpoints").iterdir()}
        assert checkpoints == {"checkpoint-2", "checkpoint-4"}
    before = load_file(tmp_path / "model" / "model.safetensors")
    moved = {name: found["one"][name] - before[name] for name in before}
    assert max(change.abs().max().item() for change in moved.values()) > 0.01
    for name, change in moved.items():
        assert torch.allclose(found["two"][name] - before[name], change, atol=1e-4, rtol=1e-4), name
