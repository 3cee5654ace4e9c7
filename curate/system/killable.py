"""Functions that run in processes which can be killed: the only time-out that a library obeys.

A computation inside C code (a power of a power of nine) hears no exception and no signal handler of
Python. Here a pool of child processes calls one named function, a job at a time. The limit counts
processor seconds, so that a busy machine fails no job that an idle one finishes; the kernel ends
the child that passes it, which holds even where the parent is gone. A child that ended is replaced.
Some libraries evaluate what they read (SymPy's parser): a child confines itself, where it can, so
that a reply which is a program reaches no file, network or process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from curate.system.confined.launcher import confine_process
from curate.system.confined.program import python_paths, why_not_confined
from curate.system.posix import kill_after, limit_memory

# A child that waits for something (a disk, a lock) uses no processor time.
_WALL_SECONDS = 60.0
_START = "from curate.system.killable import _serve; _serve(*__import__('sys').argv[1:])"


class JobKilled(ValueError):
    """Say that a job passed its limit of time or memory, or ended its process in another way."""


class KillablePool:
    """Call one function in child processes, at most one for each core."""

    def __init__(self, function: str, *, seconds: float, memory_mb: int) -> None:
        """Name the `module:function` that takes and returns JSON data, and the limits of a job."""
        self._function, self._seconds, self._memory_mb = function, seconds, memory_mb
        self._idle: queue.LifoQueue[_Child] = queue.LifoQueue()
        self._places = threading.Semaphore(os.cpu_count() or 1)
        self._children: set[_Child] = set()
        atexit.register(self.close)

    def call(self, job: Any) -> Any:
        """Return what the function returns for `job`.

        Raises:
            JobKilled: the job passed its limits, or its process ended.
            ValueError: the function raised; the message is that of its exception.
        """
        with self._places:
            child = self._child()
            try:
                answer = child.answer(job, self._seconds)
                if "killed" in answer:
                    raise JobKilled(answer["killed"])
            except BaseException:
                self._drop(child)
                raise
            self._idle.put(child)
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["result"]

    def _child(self) -> _Child:
        """Return a child that lives: the system may have ended one that waited."""
        with contextlib.suppress(queue.Empty):
            while True:
                child = self._idle.get_nowait()
                if child.lives():
                    return child
                self._drop(child)
        child = _Child(self._function, self._seconds, self._memory_mb)
        self._children.add(child)
        return child

    def _drop(self, child: _Child) -> None:
        self._children.discard(child)
        child.end()

    def close(self) -> None:
        """End the children."""
        while self._children:
            self._children.pop().end()


@functools.cache
def killable_pool(function: str, seconds: float, memory_mb: int) -> KillablePool:
    """Return the pool of this process for a function and its limits."""
    return KillablePool(function, seconds=seconds, memory_mb=memory_mb)


class _Child:
    """One child process, and the pipes to it."""

    def __init__(self, function: str, seconds: float, memory_mb: int) -> None:
        # The same modules, and sets printed in one order.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _START, function, str(seconds), str(memory_mb)),
                "" if why_not_confined() is not None else "confined",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"},
            # Ctrl-C is for the parent, which then ends its children.
            start_new_session=True,
        )
        self._read = b""
        self._line(_WALL_SECONDS)

    def lives(self) -> bool:
        return self._process.poll() is None

    def answer(self, job: Any, seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._line(seconds + _WALL_SECONDS))
        except (BrokenPipeError, EOFError):
            ended = self._process.wait()
            if ended == -signal.SIGPROF:
                raise JobKilled(f"it took more than {seconds:g} s of processor time") from None
            raise JobKilled(f"its process ended with status {ended}") from None
        return answer

    def _line(self, seconds: float) -> bytes:
        assert self._process.stdout is not None
        handle, deadline = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._read:
            ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise JobKilled(f"it took more than {seconds:g} s by the clock")
            read = os.read(handle, 1 << 16)
            if not read:
                raise EOFError
            self._read += read
        line, _, self._read = self._read.partition(b"\n")
        return line

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _serve(function: str, seconds: str, memory_mb: str, confined: str) -> None:
    """Answer the jobs that come on standard input, a line of JSON each, until it ends."""
    # What a library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, _, name = function.partition(":")
    work = getattr(importlib.import_module(module), name)
    limit_memory(int(memory_mb))
    if confined:
        confine_process([*python_paths(), *sys.path])
    answers.write(b"ready\n")
    answers.flush()
    for line in sys.stdin.buffer:
        kill_after(float(seconds))
        try:
            answer = {"result": work(json.loads(line))}
        except MemoryError:
            # What filled it may still be there.
            answer = {"killed": f"it took more than {memory_mb} MB of memory"}
        except RecursionError:
            answer = {"error": "it is nested too deeply"}
        except Exception as error:  # whatever a library raises
            answer = {"error": " ".join(f"{type(error).__name__}: {error!s:.200}".split())}
        kill_after(0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
