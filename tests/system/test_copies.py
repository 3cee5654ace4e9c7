"""Copies of what lies elsewhere are private, and go with the process however it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from curate.system.copies import folder_of_copies, is_copy

CHILD = """
import sys, threading
from curate.cli.failures import leave
from curate.system.copies import folder_of_copies
(folder_of_copies("run") / "rows").write_text("x")
if sys.argv[1] == "at once":
    leave(3)
sys.exit(3)
"""


@pytest.mark.parametrize("how", ["at once", "usually"])
def test_they_are_deleted_at_the_end(tmp_path: Path, how: str) -> None:
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", CHILD, how]
    assert subprocess.run(command, check=False, env=environment, timeout=60).returncode == 3
    assert not list(tmp_path.iterdir())


def test_nobody_else_reads_them_and_they_are_known(tmp_path: Path) -> None:
    folder = folder_of_copies("run")
    assert folder.stat().st_mode & 0o077 == 0
    assert is_copy(folder / "one") and is_copy(str(folder / "one.store"))
    assert not is_copy(tmp_path) and not is_copy(f"{folder}-2")
