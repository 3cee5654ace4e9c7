"""Give up every right that a program of unknown origin must not have, then become that program.

Run as a script of its own (`python -I -S launcher.py JSON`), so that nothing here happens between a
fork and an exec of a process with threads. The order matters: limits, capabilities, files
(Landlock), system calls (seccomp), and each is inherited over the exec and cannot be taken back. No
user namespace is needed, which containers and some distributions refuse.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# How the launcher ends where it could not confine; a program that ends so was never started.
NOT_CONFINED = 99
# prctl(2), capset(2), landlock(7), seccomp(2): numbers of options and calls, which are the same on
# both processors but for the last two.
_PDEATHSIG, _SECCOMP, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 22, 24, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_MACHINES = {"x86_64": (0, 0xC000003E, 126), "aarch64": (1, 0xC00000B7, 91)}
# Landlock's rights on files, by the version of its interface that brought them.
_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
# Instructions of the filter: load a word of the call, compare, and, return.
_LOAD, _EQUALS, _SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x10000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def landlock_version() -> int:
    """Return the version of Landlock that the kernel offers; 0: none."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def limit(told: dict[str, Any]) -> None:
    """Set the limits on memory, processor time, files and threads."""
    memory, size = told["memory_mb"] * 10**6, told["file_mb"] * 10**6
    seconds = math.ceil(told["seconds"])
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, size),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE if hasattr(resource, "RLIMIT_MSGQUEUE") else None, 0),
    ):
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (wanted, wanted))
    # Parts of a second; a program may stop this clock, but not the limit above.
    signal.setitimer(signal.ITIMER_PROF, told["seconds"])


def drop_privileges() -> None:
    """Give up all capabilities, which a run by root has, and the way to get any back."""
    _call("prctl", _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    if os.geteuid() == 0:
        for number in range(64):
            # The last ones are unknown to the kernel.
            _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)
    header = struct.pack("=Ii", 0x20080522, 0)
    capset = _MACHINES[platform.machine()][2]
    _call("capset", _libc.syscall(capset, header, bytes(24)))


def restrict_files(readable: Iterable[str], folder: str | None = None) -> None:
    """Leave `readable` paths for reading and running, and `folder` for reading and writing."""
    version = landlock_version()
    rights = 0
    for number, added in _RIGHTS.items():
        rights |= added if number <= version else 0
    # From version 4 TCP ports, from 6 signals and abstract sockets.
    attributes = struct.pack("=QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _call("landlock", _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    reading = _EXECUTE | _READ_FILE | _READ_DIR
    granted = {**dict.fromkeys(readable, reading), "/dev/null": _READ_FILE | _WRITE_FILE}
    if folder is not None:
        granted[folder] = rights & ~_EXECUTE
    for path, allowed in granted.items():
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)  # type: ignore[attr-defined,unused-ignore]
        except FileNotFoundError:
            continue
        allowed &= rights if os.path.isdir(path) else rights & _OF_FILES
        beneath = struct.pack("=Qi", allowed, handle)
        _call("landlock", _libc.syscall(_ADD_RULE, rules, 1, beneath, 0))
        os.close(handle)
    _call("landlock", _libc.syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)


def call_filter() -> bytes:
    """Return the filter of system calls, as the kernel reads it."""
    place, architecture, _ = _MACHINES[platform.machine()]
    refused = json.loads(Path(__file__).with_name("syscalls.json").read_text(encoding="utf-8"))
    code = [
        (_LOAD, 0, 0, 4),
        (_EQUALS, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if architecture == _MACHINES["x86_64"][1]:
        # The calls of x32, which have numbers of their own.
        code += [(_SET, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    for group, calls in refused.items():
        if group == "about":
            continue
        error = getattr(errno, group.split()[0])
        for name, numbers in calls.items():
            if numbers[place] is not None:
                code += _refusal(name, numbers[place], error)
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def refuse_calls(code: bytes) -> None:
    """Install a filter of system calls."""
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    _call("seccomp", _libc.prctl(_SECCOMP, 2, program, 0, 0))


def confine_process(readable: Iterable[str]) -> None:
    """Take from this process all but reading `readable`; its limits and its memory stay."""
    code = call_filter()
    drop_privileges()
    restrict_files(readable)
    refuse_calls(code)


def _refusal(name: str, number: int, error: int) -> list[tuple[int, int, int, int]]:
    """Return the instructions that refuse one call; those of a thread or to oneself may pass."""
    refuse, allow = (_RETURN, 0, 0, _REFUSE | error), (_RETURN, 0, 0, _ALLOW)
    if name == "clone":
        test = [(_LOAD, 0, 0, 16), (_SET, 0, 1, _CLONE_THREAD), allow, refuse]
    elif name in ("kill", "tgkill"):
        # The exec keeps the number of the process.
        test = [(_LOAD, 0, 0, 16), (_EQUALS, 0, 1, os.getpid()), allow, refuse]
    elif name in ("prlimit64", "sched_setaffinity"):
        test = [(_LOAD, 0, 0, 16), (_EQUALS, 0, 1, 0), allow, refuse]
    else:
        test = [refuse]
    return [(_EQUALS, 0, len(test), number), *test]


def _call(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def main() -> None:
    """Read what is allowed, give up the rest, and run the program."""
    told = json.loads(sys.argv[1])
    try:
        _call("prctl", _libc.prctl(_PDEATHSIG, 9, 0, 0, 0))
        if os.getppid() != told["parent"]:
            # It ended before the kernel was told to end this process with it.
            os._exit(NOT_CONFINED)
        os.umask(0o077)
        os.chdir(told["folder"])
        filter_ = call_filter()
        limit(told)
        drop_privileges()
        restrict_files(told["readable"], told["folder"])
        refuse_calls(filter_)
        os.execve(told["argv"][0], told["argv"], told["environment"])
    except BaseException as error:  # whatever it is, the program must not start
        os.write(2, f"{type(error).__name__}: {error}".encode())
        os._exit(NOT_CONFINED)


if __name__ == "__main__":
    main()
