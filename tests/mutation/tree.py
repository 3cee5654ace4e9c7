"""A copy of the tree in which code is changed and tests run; the checkout itself never is."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from curate.system.posix import FileLock
from tests.house.places import ROOT

# Imported once, as a run of tests is a fork of this process.
_LOADED = (
    "pytest", "hypothesis.strategies", "numpy", "pandas", "pyarrow", "pyarrow.compute",
    "pyarrow.parquet", "numba", "yaml", "typer", "aiohttp",
)  # fmt: skip
# Pytest would rather import Hypothesis itself; the others are for many processes and event loops.
_PYTEST = (
    "-x", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning",
    "-p", "no:anyio", "-p", "no:xdist", "-p", "no:xdist.looponfail",
)  # fmt: skip


class Outcome(NamedTuple):
    """How a run of tests ended: `failed` names the tests, `text` is what pytest said."""

    code: int
    failed: tuple[str, ...]
    text: str

    @property
    def noticed(self) -> bool:
        """Whether a test failed or never ended; pytest's other codes mean that none was run."""
        return self.code == 1 and bool(self.failed)


class Tree:
    """A copy of what git tracks, below `folder`, with the data of the checkout beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.root = self.folder / "tree"
        self._kernels = self.folder / "kernels"
        self._lock = FileLock(self.folder / "lock")

    def refresh(self) -> None:
        """Make the copy what the checkout is now, whatever a run before left in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._lock.take():
            sys.exit(f"another process changes the copy in {self.folder}: wait, or give --folder")
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        names = {name for name in os.fsdecode(listed.stdout).split("\0") if name}
        for name in sorted(names):
            source, copy = ROOT / name, self.root / name
            if source.is_file() and not _same(source, copy):
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)
        for copy in sorted(self.root.rglob("*.py")):
            if copy.relative_to(self.root).as_posix() not in names:
                copy.unlink()
        shared, beside = ROOT.parent / "shared", self.folder / "shared"
        if shared.is_dir() and not beside.exists():
            beside.symlink_to(shared.resolve())

    @contextlib.contextmanager
    def changed(self, name: str, text: str) -> Iterator[None]:
        """Change one file for as long as the block takes."""
        path = self.root / name
        whole = path.read_text(encoding="utf-8")
        self._forget(name)
        path.write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(whole, encoding="utf-8")
            self._forget(name)

    def test(self, tests: tuple[str, ...], marked: str, seconds: float) -> Outcome:
        """Run tests in the copy until one fails; a run that takes longer counts as failed."""
        os.environ["NUMBA_CACHE_DIR"] = str(self._kernels)
        for name in _LOADED:
            importlib.import_module(name)
        with tempfile.TemporaryFile() as said:
            if not (process := os.fork()):
                self._run(tests, marked, said.fileno())
            over = _wait(process, seconds)
            said.seek(0)
            text = said.read().decode("utf-8", "replace")
        if over is None:
            return Outcome(1, (f"(more than {seconds:.0f} s)",), text)
        lines = (line for line in text.splitlines() if line.startswith(("FAILED ", "ERROR ")))
        failed = tuple(line.split(" - ")[0].split(" ", 1)[1] for line in lines)
        # Of a test that ends the process nothing is told.
        killed = ("(the process ended)",) if os.WIFSIGNALED(over) else ()
        return Outcome(1 if killed else os.waitstatus_to_exitcode(over), failed or killed, text)

    def _run(self, tests: tuple[str, ...], marked: str, said: int) -> None:
        """Be the process that runs tests, and end."""
        code = 4
        try:
            os.setsid()
            os.dup2(said, 1)
            os.dup2(said, 2)
            # Where tests of this module run, these are pytest's own captures.
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.chdir(self.root)
            os.environ["PYTHONPATH"] = str(self.root)
            sys.path[:] = [str(self.root), *(p for p in sys.path if p not in ("", str(ROOT)))]
            for name in [n for n in sys.modules if n.partition(".")[0] in ("curate", "tests")]:
                del sys.modules[name]
            import pytest

            code = int(pytest.main([*_PYTEST, "-m", marked, *tests]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _forget(self, name: str) -> None:
        """Remove the compiled code of a file, which a change within a second would not outdate.

        Numba looks at the time of one file only, so that kernels which call one of it go, too.
        """
        path = self.root / name
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()
        if "njit" not in path.read_text(encoding="utf-8"):
            return
        module = name.removesuffix(".py").replace("/", ".")
        stems = {path.stem}
        for other in (self.root / "curate" / "kernels").rglob("*.py"):
            if f"from {module} import" in other.read_text(encoding="utf-8"):
                stems.add(other.stem)
        for stem in stems:
            for compiled in self._kernels.rglob(f"{stem}.*"):
                compiled.unlink()


def _wait(process: int, seconds: float) -> int | None:
    """Wait for a process and all it started; return its status, or end it after `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended or time.monotonic() > deadline:
            break
        time.sleep(pause)
        pause = min(0.2, pause * 1.5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    if ended:
        return status
    os.waitpid(process, 0)
    return None


def _same(source: Path, copy: Path) -> bool:
    if not copy.is_file():
        return False
    one, other = source.stat(), copy.stat()
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
