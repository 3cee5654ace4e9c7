"""What all tests share."""

from __future__ import annotations

import signal
from typing import Any

import pytest

# The environment of vLLM runs one file of tests, and has no Hypothesis.
try:
    from hypothesis import settings
except ImportError:
    pass
else:
    # Time decides no test: the machine may be slow, and an example may wait for compiled code.
    settings.register_profile("curate", deadline=None)
    settings.load_profile("curate")

# A background job, `nohup` and some CI ignore SIGINT, and children inherit that: those of the tests
# of interrupts would never be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the tests of a file to one process, or two would compile the kernels they share."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log) if config.getvalue("dist") == "load" else None
