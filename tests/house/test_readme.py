"""The pages tell the truth: their blocks are run, and what they show is printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.blocks import Block, blocks
from tests.house.places import ROOT

DOCS = sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs" / "how-to").glob("*.md"))
# Blocks of `sh` are only shown: they need a key, a server or an hour.
PAGES = [
    p for p in (ROOT / "README.md", *DOCS) if p.is_file() and "```bash\n" in p.read_text("utf-8")
]
# What differs from run to run: times, memory, rates; the funnel ends its lines with seconds.
MEASURED = re.compile(r"\d[\d,.]*\s*(?:s|ms|MB|GB|rows/s)\b|(?<=\s)\d+\.\d\d$")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def copy_of_the_project(folder: Path) -> Path:
    """Copy what a reader has after cloning and installing, without the environment."""
    copy = folder / "curate"
    for name in ("pipelines", "prompts"):
        shutil.copytree(ROOT / name, copy / name)
    return copy


def run_block(block: Block, folder: Path) -> str:
    """Run a block as a reader would paste it, and return what it prints."""
    binaries = Path(sys.executable).parent
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    # Lines are folded to the terminal; pages are written for one of 100 columns.
    environment = {**os.environ, "PATH": path, "COLUMNS": "100"}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    if block.language == "python":
        command = [sys.executable, "-c", block.text]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"line {block.line}: {block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def plain(text: str) -> list[str]:
    """Return a text's lines without what differs from run to run."""
    lines = (re.sub(r"\s+", " ", MEASURED.sub("#", line)).strip() for line in text.splitlines())
    return [line for line in lines if line]


def missing_lines(shown: str, printed: str) -> list[str]:
    """Return the lines that a page shows and the command did not print, `...` standing for any."""
    have = set(plain(printed))
    return [line for line in plain(shown) if line != "..." and line not in have]


def make_targets(block: Block) -> list[str]:
    return re.findall(r"^make ([a-z-]+)", block.text, re.M)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_blocks_run_and_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    folder, printed, ran = copy_of_the_project(tmp_path), "", 0
    for block in blocks(page):
        if block.mark == "output":
            assert missing_lines(block.text, printed) == [], f"line {block.line}"
        elif block.language in ("bash", "python") and not block.reason:
            if make_targets(block):
                continue
            printed, ran = run_block(block, folder), ran + 1
    assert ran > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_make_blocks_name_targets(page: Path) -> None:
    named = {name for block in blocks(page) for name in make_targets(block)}
    assert named <= targets()


def test_the_readme_shows_exactly_the_two_commands() -> None:
    shown = [name for block in blocks(ROOT / "README.md") for name in make_targets(block)]
    assert shown == ["demo", "test"]


def test_a_wrong_page_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\necho 3 rows in 1.2 s\n```\n\n<!-- output -->\n```text\n4 rows in 9.9 s\n```\n\n"
        "<!-- not run: needs a paid key -->\n```bash\nfalse\n```\n\n```bash\nfalse\n```\n"
    )
    first, output, skipped, broken = blocks(page)
    assert run_block(first, tmp_path) == "3 rows in 1.2 s\n"
    assert missing_lines(output.text, "3 rows in 1.2 s\n") == ["4 rows in #"]
    assert missing_lines("3 rows in 7 s\n...\n", "3 rows in 1.2 s\n") == []
    assert skipped.reason == "needs a paid key"
    assert broken.line == 15
    with pytest.raises(AssertionError, match="line 15"):
        run_block(broken, tmp_path)


def test_a_block_left_out_without_a_reason_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: -->\n```bash\nfalse\n```\n")
    with pytest.raises(AssertionError, match="say why"):
        assert blocks(page)[0].reason
