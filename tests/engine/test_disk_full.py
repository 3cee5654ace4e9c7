"""A full disk ends in exit 4 with a clear error; the same command completes once there is room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import fingerprint
from .contract_steps import judge_script, write_script, writer_script

CHILD = Path(__file__).with_name("crash_child.py")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of `size` on `folder`, or skip where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    plan = json.dumps({"recipe": "asking", "rows": 150})
    command = [sys.executable, str(CHILD), str(folder), plan]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def prepare(folder: Path) -> None:
    write_script(folder / "judge.jsonl", judge_script(150))
    write_script(folder / "writer.jsonl", writer_script(150))


@pytest.mark.slow
@pytest.mark.parametrize("spare_kb", [20, 200, 4300, 4500, 4800])
def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(spare_kb: int, tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    calm.mkdir()
    prepare(calm)
    assert run(calm).returncode == 1
    want = fingerprint(calm / "run")
    with small_disk(tmp_path / "small", "16m") as small:
        prepare(small)
        used = sum(path.stat().st_size for path in small.iterdir())
        # A file that takes all but `spare_kb`: freed later, it is the room that the user makes.
        (small / "full").write_bytes(b"\0" * ((16 << 20) - used - (spare_kb << 10) - (64 << 10)))
        stopped = run(small)
        assert stopped.returncode == 4, stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert "run the same command again" in stopped.stderr or "room" in stopped.stderr
        assert not (small / "run" / "report.json").exists()
        (small / "full").unlink()
        done = run(small)
        assert done.returncode == 1, done.stderr
        assert fingerprint(small / "run") == want
