"""Hostile programs do no harm, and each is stopped by what was meant to stop it."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curate.system.confined import launcher, program
from curate.system.confined.program import ProgramEnd, ProgramLimits, run_confined, why_not_confined
from tests.confinement import confined
from tests.house.places import ROOT

pytestmark = confined()
SMALL = ProgramLimits(seconds=1.0, memory_mb=256, file_mb=2, folder_mb=8)


def run(source: str) -> ProgramEnd:
    return run_confined(source, SMALL)


def last_line(ended: ProgramEnd) -> str:
    return (ended.errors.strip().splitlines() or [""])[-1]


def test_this_machine_confines() -> None:
    assert why_not_confined() is None


def test_where_all_is_tested_these_tests_are_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.confinement.WHY_NOT", "no Landlock")
    monkeypatch.delenv("CURATE_MUST_CONFINE", raising=False)
    assert confined().args == (True,)
    monkeypatch.setenv("CURATE_MUST_CONFINE", "1")
    assert confined().args == (False,)
    assert "export CURATE_MUST_CONFINE=1" in (ROOT / ".ci" / "run").read_text()


def test_a_harmless_program_runs_with_what_it_needs() -> None:
    source = (
        "import os, sys, tempfile, threading, asyncio, json, random, datetime, decimal\n"
        "with tempfile.TemporaryFile() as file: file.write(b'x')\n"
        "open('own.txt', 'w').write('own')\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "print(sys.stdin.read(), {'a', 'b', 'c'}, open('own.txt').read(), os.getcwd())\n"
    )
    one, other = (run_confined(source, SMALL, given=b"given") for _ in range(2))
    assert (one.status, one.errors, one.passed_limit) == (0, "", None)
    assert one.output.startswith("thread\ngiven {")
    # The order of sets is the same in every run, and so is what is shown of the folder.
    assert one == other


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\nwhile True: os.fork()", "BlockingIOError: [Errno 11]"),
        ("import subprocess; subprocess.run(['/bin/ls'])", "BlockingIOError: [Errno 11]"),
        ("import os; os.posix_spawn('/bin/ls', ['ls'], {})", "[Errno 11]"),
        ("x = bytearray(10**10)", "MemoryError"),
        ("import mmap; mmap.mmap(-1, 10**10)", "OSError: [Errno 12]"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "OSError: [Errno 100]"),
        ("import socket; socket.socket(socket.AF_UNIX)", "OSError: [Errno 100]"),
        ("import urllib.request as u; u.urlopen('http://127.0.0.1/')", "urlopen error [Errno"),
        ("open('/etc/passwd')", "PermissionError: [Errno 13]"),
        ("open('/proc/self/environ')", "PermissionError: [Errno 13]"),
        ("import os; os.listdir('/')", "PermissionError: [Errno 13]"),
        ("import os; os.listdir('/tmp')", "PermissionError: [Errno 13]"),
        ("import os; os.symlink('/etc/passwd', 'link'); open('link')", "PermissionError"),
        ("open('/tmp/curate-outside', 'w')", "PermissionError: [Errno 13]"),
        ("open('../curate-outside', 'w')", "PermissionError: [Errno 13]"),
        ("import os; os.write(0, b'x')", "OSError: [Errno 9]"),
        ("import os; os.mkdir('/tmp/curate-outside')", "PermissionError: [Errno 13]"),
        ("import os; os.rename('/tmp', '/tmp2')", "[Errno"),
        ("import os; os.chmod('/tmp', 0o777)", "PermissionError: [Errno 13]"),
        ("import os; os.utime('/tmp')", "PermissionError: [Errno 13]"),
        ("import os; os.truncate('/etc/hostname', 0)", "PermissionError: [Errno 13]"),
        ("import os; os.kill(os.getppid(), 9)", "ProcessLookupError: [Errno 3]"),
        ("import os; os.kill(-1, 9)", "ProcessLookupError: [Errno 3]"),
        ("import os; os.killpg(os.getpgid(os.getppid()), 9)", "ProcessLookupError: [Errno 3]"),
        ("import os; os.pidfd_open(os.getppid())", "ProcessLookupError: [Errno 3]"),
        ("import os; os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)", "ProcessLookupError"),
        ("import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1))", "ValueError: not allowed"),
        ("import resource as r, os; r.prlimit(os.getppid(), r.RLIMIT_CPU, (1, 1))", "[Errno 3]"),
        ("import os; os.memfd_create('x')", "OSError: [Errno 12]"),
        ("import os; os.chroot('.')", "PermissionError: [Errno 13]"),
        ("open('big', 'w').write('x' * 10**7)", "OSError: [Errno 27] File too large"),
    ],
)
def test_a_hostile_program_is_refused(source: str, said: str) -> None:
    ended = run(source)
    assert ended.status != 0
    assert said in last_line(ended)
    assert not Path("/tmp/curate-outside").exists()


def test_threads_are_bounded_by_memory() -> None:
    source = (
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    )
    assert "can't start new thread" in run(source).errors


def test_an_endless_loop_ends_even_if_it_stops_its_clock() -> None:
    began = time.monotonic()
    for source in (
        "while True: pass",
        "import signal\nfor n in (24, 27): signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
    ):
        assert run(source).passed_limit == "time"
    assert time.monotonic() - began < 60


def test_a_program_that_waits_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_PATIENCE", 0.5)
    assert (
        run_confined("import time; time.sleep(99)", ProgramLimits(0.1, 256)).passed_limit == "time"
    )


def test_endless_output_is_too_much() -> None:
    assert run("while True: print('x' * 1000)").passed_limit == "output"


def test_many_files_are_too_much() -> None:
    source = "for n in range(10**6): open(f'f{n}', 'w').write('x' * 10**6)"
    assert run(source).passed_limit == "files"


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run("import os; os.makedirs('a/b'); open('a/b/c', 'w').write('x'); os.symlink('/etc', 'l')")
    assert list(tmp_path.iterdir()) == []
    assert Path("/etc").is_dir()


def test_an_exec_stays_confined() -> None:
    ended = run("import os; os.execv('/bin/sh', ['sh', '-c', 'echo in; cat < /etc/passwd'])")
    assert ended.output == "in\n"
    assert "Permission denied" in ended.errors


def test_secrets_of_the_environment_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert "sk-secret" not in run("import os; print(dict(os.environ))").output


def test_root_has_no_capabilities_left() -> None:
    source = (
        "import ctypes, os\n"
        "data = ctypes.create_string_buffer(24)\n"
        "header = ctypes.create_string_buffer(b'\\x22\\x05\\x08\\x20' + bytes(4), 8)\n"
        "number = {'x86_64': 125, 'aarch64': 90}[os.uname().machine]\n"
        "ctypes.CDLL(None).syscall(number, header, data); print(any(data.raw))"
    )
    assert run(source).output == "False\n"


def test_programs_run_side_by_side() -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: run(f"print({n})").output, range(8)))
    assert found == [f"{n}\n" for n in range(8)]


def test_a_program_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "from curate.system.confined.program import ProgramLimits, run_confined\n"
        "run_confined('import time; time.sleep(60)', ProgramLimits(30, 256))\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    wait = threading.Event()
    mark = f"{tmp_path}/curate-confined-".encode()
    for _ in range(100):
        wait.wait(0.05)
        if alive(mark):
            break
    assert alive(mark)
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not alive(mark):
            return
        wait.wait(0.05)
    raise AssertionError("the program lives on")


def alive(mark: bytes) -> list[int]:
    """Return the processes with `mark` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_where_a_part_is_refused_no_program_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (
        Path(launcher.__file__)
        .read_text()
        .replace("_CREATE_RULESET, _ADD_RULE", "_X, _ADD_RULE", 1)
    )
    assert "_X" in broken
    (tmp_path / "launcher.py").write_text(broken)
    table = Path(launcher.__file__).with_name("syscalls.json").read_text()
    (tmp_path / "syscalls.json").write_text(table)
    monkeypatch.setattr(program, "_LAUNCHER", tmp_path / "launcher.py")
    with pytest.raises(RuntimeError, match="_CREATE_RULESET"):
        run("print('started')")
    program.why_not_confined.cache_clear()
    try:
        assert "could not be confined" in str(why_not_confined())
    finally:
        program.why_not_confined.cache_clear()


def test_other_systems_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for patch, said in (
        ((program.sys, "platform", "darwin"), "on Linux only"),
        ((program.platform, "machine", lambda: "riscv64"), "this is riscv64"),
        ((launcher, "landlock_version", lambda: 0), "the kernel offers no Landlock"),
    ):
        program.why_not_confined.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(*patch)  # type: ignore[arg-type]
            assert said in str(why_not_confined())
    program.why_not_confined.cache_clear()


def test_the_table_of_calls_is_whole() -> None:
    table = json.loads(Path(launcher.__file__).with_name("syscalls.json").read_text())
    calls = [
        (name, numbers)
        for key, group in table.items()
        if key != "about"
        for name, numbers in group.items()
    ]
    for place in (0, 1):
        numbers = [own[place] for _, own in calls if own[place] is not None]
        assert len(set(numbers)) == len(numbers)
    assert len({name for name, _ in calls}) == len(calls) > 90
