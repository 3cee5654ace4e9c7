"""`python -m curate` is the command line."""

import signal
import subprocess
import sys
import time


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "curate", "steps", "length"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("length (filter)")


def test_an_interrupt_before_the_command_prints_no_traceback() -> None:
    """Interrupted at moments spread over the start, while the interpreter imports."""
    for moment in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", LATE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "here\n"
        time.sleep(moment * 0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert "Traceback" not in error, error
        # While Python clears up behind the command, the signal itself ends it: 130 to a shell, too.
        ends = (0, 130, -signal.SIGINT)
        assert process.returncode in ends, (process.returncode, error)


# As `python -m curate --version`, told when our own code begins.
LATE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
from curate.cli.entry import main
original = signal.signal
def told(number, handler):
    original(number, handler)
    if handler is not signal.default_int_handler:
        print("here", flush=True)
signal.signal = told
sys.argv = ["curate", "--version"]
main()
"""
