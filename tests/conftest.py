"""What all tests share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# The environment of vLLM runs one file of tests, and has no Hypothesis.
try:
    from hypothesis import settings
except ImportError:
    gc.freeze()
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


def pytest_collection_finish() -> None:
    """Have the collector of cycles pass over what lives until the end: modules and all tests."""
    gc.collect()
    gc.freeze()


# Where CI runs, a missing browser is a failure, and no reason to skip.
BROWSER_REQUIRED = "CURATE_REQUIRE_BROWSER"
TOOLS_REQUIRED = "CURATE_REQUIRE_TOOLS"


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of programs of others that look at what a run writes (`make tools`)."""
    found = Path(__file__).resolve().parents[1] / ".venv-tools" / "bin"
    if not (found / "python").exists():
        if os.environ.get(TOOLS_REQUIRED):
            pytest.fail("there are no programs of others: make tools")
        pytest.skip("there are no programs of others (make tools)")
    return found


# No longer than a file: while playwright drives, its event loop runs in this thread, and the tests
# of other files could begin none.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get(BROWSER_REQUIRED):
            pytest.fail("there is no Chromium: apt-get install chromium")
        pytest.skip("there is no Chromium (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()
