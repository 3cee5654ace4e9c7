"""The suite passes in a background job, under `nohup` and in a CI that ignores SIGINT."""

import os
import subprocess
import sys

import pytest

from tests.house.places import ROOT

# They start children that inherit what the suite does with the signal, and interrupt them.
INTERRUPTING = (
    "tests/cli/test_failures.py::test_130_when_interrupted",
    "tests/requests/test_driver.py::test_interrupt_ends_soon_and_keeps_what_had_arrived",
    "tests/test_main_module.py::test_an_interrupt_before_the_command_prints_no_traceback",
)


@pytest.mark.slow
def test_interrupts_arrive_where_the_suite_was_told_to_ignore_them() -> None:
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh",
         sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *INTERRUPTING],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"\n{len(INTERRUPTING)} passed in " in done.stdout, done.stdout
