"""What `curate preview` shows on a terminal: colours, columns and a pager, whatever rows hold."""

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.cli.text_layout import columns
from tests.house.places import ROOT

RED, GREEN, ROLE, BOLD, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[1m", "\x1b[0m"
# A pager that says how it was called, then what it reads; or leaves after the first byte.
PAGER = f"""#!{sys.executable}
import os, sys
print("PAGED", *sys.argv[1:], flush=True)
if "--early" in sys.argv:
    os.read(0, 1)
    sys.exit(1)
sys.stdout.write(sys.stdin.read())
"""
PREVIEW = ("-m", "curate.cli", "preview", "rows.jsonl", "length:min=3")
SHOW = ("-c", "from curate.cli.text_layout import show; show('\\n'.join('abcdef'))")
LETTERS = "a\nb\nc\nd\ne\nf\n"
OnTerminal = Callable[..., tuple[int, str]]


@pytest.fixture
def on_terminal(home: Path, environment: dict[str, str]) -> OnTerminal:
    """Run `python ARGUMENTS` on a terminal: its exit code and what the terminal shows."""
    (home / "bin").mkdir()
    for name in ("less", "reader"):
        (home / "bin" / name).write_text(PAGER)
        (home / "bin" / name).chmod(0o755)
    # What other tests, or whoever runs them, have said of a terminal.
    said = ("COLUMNS", "LINES", "NO_COLOR", "PAGER")
    usual = {k: v for k, v in environment.items() if k not in said}
    usual |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", "PATH": f"{home / 'bin'}:{usual['PATH']}"}

    def run(
        *arguments: str, lines: int = 100, piped: bool = False, **others: str
    ) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 100, 0, 0))
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, ours)
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, *arguments],
                    cwd=home,
                    env=usual | others,
                    stdin=theirs,
                    stdout=subprocess.PIPE if piped else theirs,
                    stderr=subprocess.PIPE,
                )
            )
            os.close(theirs)
            shown = b""
            # Linux ends what a terminal shows with an error, once nobody has it open.
            with contextlib.suppress(OSError):
                while piece := os.read(ours, 65536):
                    shown += piece
            printed, said = process.communicate()
        assert b"Traceback" not in said, said
        return process.returncode, (printed or shown).decode().replace("\r\n", "\n")

    return run


def test_colours_on_a_terminal_never_come_of_data(on_terminal: OnTerminal, home: Path) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J \u202egnp.exe \x9b31m \x00 \r"
    rows = [
        {"instruction": hostile, "output": "Here you are, as you wanted.\x1b[32m"},
        {"instruction": "\u65e5\u672c\u8a9e" * 30, "output": "e\u0301" * 60},
    ]
    with (home / "rows.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    code, shown = on_terminal(*PREVIEW, "-n", "6")
    assert (code, "PAGED" in shown) == (0, False)
    assert shown.startswith(f"{BOLD}== ")
    assert f"{ROLE}user:{PLAIN} Name a colour." in shown
    assert f"| {GREEN}length  passed (score 7){PLAIN}\n" in shown
    assert f"| {RED}length  dropped:{PLAIN} fewer than 3 words (score 1)\n" in shown
    assert "war \\x1b[31mred." in shown and "\\x1b]0;owned\\x07" in shown and "\\u202egnp" in shown
    # What is left without the five codes that are ours can drive nothing.
    for code in (RED, GREEN, ROLE, BOLD, PLAIN):
        shown = shown.replace(code, "")
    assert shown.replace("\n", "").isprintable()
    sides = [line.partition(" |")[0] for line in shown.split("\n") if " |" in line]
    assert len(sides) >= 18 and {columns(side) for side in sides} == {48}


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(on_terminal: OnTerminal, setting: dict[str, str]) -> None:
    code, shown = on_terminal(*PREVIEW, lines=8, **setting)
    assert (code, "\x1b" in shown, shown.startswith("PAGED -R\n")) == (0, False, True)
    assert "length  dropped: fewer than 3 words" in shown


def test_no_colours_and_no_pager_in_a_pipe(on_terminal: OnTerminal) -> None:
    code, printed = on_terminal(*PREVIEW, lines=8, piped=True)
    assert (code, "\x1b" in printed, "PAGED" in printed) == (0, False, False)
    assert "war \\x1b[31mred." in printed


def test_a_preview_longer_than_the_screen_is_paged_unless_told_otherwise(
    on_terminal: OnTerminal,
) -> None:
    code, shown = on_terminal(*PREVIEW, lines=8)
    assert (code, shown.startswith(f"PAGED -R\n{BOLD}== ")) == (0, True)
    assert on_terminal(*PREVIEW, "--no-pager", lines=8) == (0, shown.removeprefix("PAGED -R\n"))


def test_a_pager_is_called_for_what_does_not_fit(on_terminal: OnTerminal) -> None:
    assert on_terminal(*SHOW, lines=7) == (0, LETTERS)
    assert on_terminal(*SHOW, lines=6) == (0, f"PAGED -R\n{LETTERS}")
    assert on_terminal(*SHOW, lines=6, PAGER="less -S") == (0, f"PAGED -S -R\n{LETTERS}")
    assert on_terminal(*SHOW, lines=6, PAGER="reader -x 'a b'") == (0, f"PAGED -x a b\n{LETTERS}")
    for broken in ("nosuch-pager -x", "less 'a"):
        assert on_terminal(*SHOW, lines=6, PAGER=broken) == (0, LETTERS)


def test_a_pager_that_is_left_early_is_no_error(on_terminal: OnTerminal) -> None:
    much = "-c", "from curate.cli.text_layout import show; show('word\\n' * 500_000)"
    assert on_terminal(*much, PAGER="reader --early") == (0, "PAGED --early\n")
