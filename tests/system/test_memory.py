"""How much memory a process may use: that of its machine, its container or its job."""

from __future__ import annotations

import os
from pathlib import Path

from curate.system.posix import control_group_limits, usable_memory


def test_the_memory_of_a_container_or_a_job_is_what_may_be_used(tmp_path: Path) -> None:
    groups, mounted = tmp_path / "cgroup", tmp_path / "mounted"

    def limit(path: str, text: str) -> None:
        (mounted / path).parent.mkdir(parents=True, exist_ok=True)
        (mounted / path).write_text(text)

    groups.write_text("0::/slurm/job_7/step_0\n")
    limit("slurm/job_7/step_0/memory.max", "max\n")
    limit("slurm/job_7/memory.max", "8000000\n")
    limit("slurm/memory.max", "9000000\n")
    assert sorted(control_group_limits(groups, mounted)) == [8_000_000, 9_000_000]
    # Version 1: a hierarchy for each controller. The path is that of the machine, and not here.
    groups.write_text("4:cpuset:/docker/a\n3:memory:/docker/a\n1:name=systemd:/docker/a\n")
    limit("memory/memory.limit_in_bytes", "5000000\n")
    assert control_group_limits(groups, mounted) == [5_000_000]
    assert control_group_limits(tmp_path / "not Linux", mounted) == []
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < (usable_memory() or 0) <= machine
