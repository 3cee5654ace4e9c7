"""Pages that are read one after the other do not write different runs into one folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from curate.cli.commands.filter import stem

from .blocks import blocks
from .places import ROOT


def folders(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the run folder and the text of every command of a page that writes one."""
    for block in blocks(page):
        if block.language not in ("bash", "sh"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] != ["curate"] or words[1:2] not in (["run"], ["filter"]):
                continue
            # Whatever does not decide what a run is for may differ.
            command = re.sub(r" --(max-cost|allow-failed|save-as) \S+| --replace", "", line)
            given = {key: words[words.index(key) + 1] for key in ("-o", "--run") if key in words}
            if "--run" in given or (words[1] == "run" and "-o" in given):
                yield given.get("--run", given.get("-o", "")), " ".join(command.split())
            elif "-o" in given:
                yield f"runs/{stem(Path(given['-o']))}", " ".join(command.split())


def test_no_two_pages_write_other_runs_into_one_folder() -> None:
    first: dict[str, tuple[str, str]] = {}
    clashes = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for folder, command in folders(page):
            other, there = first.setdefault(folder, (page.name, command))
            if other != page.name and there != command:
                clashes.append(f"{folder}: {other}: {there} | {page.name}: {command}")
    assert len(first) > 15
    assert not clashes, "\n".join(clashes)
