"""Run a Python program without network, files, other processes and time that it was not given.

A program gets a folder of its own as the only place that it may write to, and may read Python and
the system's libraries. It starts no process (threads it may), opens no socket and reaches no other
process. What it uses is limited: address space, processor time, the clock, the size of a file and
of the folder, and what it prints. The kernel enforces all of that (Landlock, seccomp, resource
limits) for any user and in containers; where it cannot, no program is run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, NamedTuple

from curate.system.confined import launcher

_LAUNCHER = Path(launcher.__file__)
_PRINTED = 1 << 20
_TICK = 0.05
_PATIENCE = 10.0
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin",
    "PYTHONHASHSEED": "0",
    # Libraries that start a thread for each core would fill the address space.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}
# What a program must not reach, tried by one that is confined before any other is run.
_PROBE = """
import os, socket
reached = ["done"]
for name, reach in (
    ("network", socket.socket),
    ("processes", os.fork),
    ("files", lambda: os.listdir("/")),
    ("other processes", lambda: os.kill(os.getppid(), 0)),
):
    try:
        reach()
        reached.append(name.replace(" ", "_"))
    except OSError:
        pass
print(*reached)
"""
_MACHINES = ("x86_64", "aarch64")


class ProgramLimits(NamedTuple):
    """What a program may use: seconds of processor time, MB (10^6 bytes) of memory and of files."""

    seconds: float = 10.0
    memory_mb: int = 512
    file_mb: int = 16
    folder_mb: int = 64


class ProgramEnd(NamedTuple):
    """How a program ended: its exit status, what it printed, and the limit it passed, if any."""

    status: int
    output: str
    errors: str
    passed_limit: str | None


@functools.cache
def why_not_confined() -> str | None:
    """Return why this machine cannot confine a program; `None`: it can, as one program showed."""
    if sys.platform != "linux":
        return f"programs can be confined on Linux only, and this is {platform.system()}"
    if platform.machine() not in _MACHINES:
        return (
            f"programs can be confined on {', '.join(_MACHINES)}, and this is {platform.machine()}"
        )
    if launcher.landlock_version() < 1:
        return (
            "the kernel offers no Landlock (Linux 5.13 or later, with `landlock` in its LSM list)"
        )
    try:
        ended = run_confined(_PROBE, ProgramLimits(seconds=5))
    except (OSError, RuntimeError) as error:
        return f"a program could not be confined: {error}"
    if ended.output.startswith("done"):
        reached = ended.output.split()[1:]
        return f"a confined program could reach {', '.join(reached)}" if reached else None
    said = (ended.errors.strip().splitlines() or [f"status {ended.status}"])[-1]
    return f"a confined program could not run: {said[:200]}"


def run_confined(
    source: str, limits: ProgramLimits, *, given: bytes = b"", script: Path | None = None
) -> ProgramEnd:
    """Run the Python text `source` (or `script`, a file of this package) with `given` as its input.

    Raises:
        RuntimeError: the machine refused a part of the confinement; the program was not started.
    """
    folder = tempfile.mkdtemp(prefix="curate-confined-")
    try:
        program = script or Path(folder, "program.py")
        if script is None:
            program.write_text(source, encoding="utf-8", errors="surrogatepass")
        with _readable(given) as input_file:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), _told(folder, program, limits)],
                stdin=input_file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                start_new_session=True,
            )
            with process:
                try:
                    ended = _watched(process, folder, limits)
                    # Its name differs from run to run, and what is told must not.
                    out, err = (text.replace(folder, "FOLDER") for text in ended[1:3])
                    ended = ended._replace(output=out, errors=err)
                finally:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if ended.status == launcher.NOT_CONFINED and not ended.output:
        raise RuntimeError(ended.errors.strip()[:300])
    return ended


def _readable(given: bytes) -> BinaryIO:
    """Return a file that holds `given`, which nobody can write to or find."""
    with tempfile.NamedTemporaryFile(prefix="curate-input-") as file:
        file.write(given)
        file.flush()
        return open(file.name, "rb")


def python_paths() -> list[str]:
    """Return what a Python program must be able to read: Python's folders and the system's."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.realpath(sys.base_prefix)}
    system = ["/usr", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/localtime"]
    return [*sorted(prefixes), *system, "/dev/zero", "/dev/urandom", "/dev/random"]


def _told(folder: str, program: Path, limits: ProgramLimits) -> str:
    """Return what the launcher is told."""
    readable = [*python_paths(), str(program)]
    return json.dumps(
        {
            "parent": os.getpid(),
            "folder": folder,
            "readable": readable,
            # Not -I, with which the order of sets would change from run to run.
            "argv": [sys.executable, "-P", "-s", "-B", str(program)],
            "environment": {**_ENVIRONMENT, "HOME": folder, "TMPDIR": folder},
            **limits._asdict(),
        }
    )


def _watched(process: subprocess.Popen[bytes], folder: str, limits: ProgramLimits) -> ProgramEnd:
    """Collect what a process prints until it ends, or until it has passed a limit."""
    assert process.stdout is not None
    assert process.stderr is not None
    printed: dict[int, bytearray] = {process.stdout.fileno(): bytearray()}
    printed[process.stderr.fileno()] = bytearray()
    opened = list(printed)
    # A program that only waits uses no processor time.
    deadline, passed = time.monotonic() + 3 * limits.seconds + _PATIENCE, None
    while opened and passed is None:
        for handle in select.select(opened, [], [], _TICK)[0]:
            read = os.read(handle, 1 << 16)
            if not read:
                opened.remove(handle)
            printed[handle] += read
        if max(map(len, printed.values())) > _PRINTED:
            passed = "output"
        elif time.monotonic() > deadline:
            passed = "time"
        elif _bytes_in(folder) > limits.folder_mb * 10**6:
            passed = "files"
        elif process.poll() is not None and not select.select(opened, [], [], 0)[0]:
            break
    if passed is not None:
        process.kill()
    status = process.wait()
    if status in (-signal.SIGPROF, -signal.SIGXCPU, -signal.SIGKILL) and passed is None:
        passed = "time"
    if status == -signal.SIGXFSZ:
        passed = "files"
    out, err = (bytes(text).decode("utf-8", "replace") for text in printed.values())
    return ProgramEnd(status, out, err, passed)


def _bytes_in(folder: str) -> int:
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
    return total
