"""The fenced blocks of a page, and what is said about each of them.

A comment line directly above a block can take it out of the tests, if it gives a reason:

    <!-- not run: needs a key of the provider -->

or say that a block shows what the block before it prints:

    <!-- output -->
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
NOT_RUN = "not run: "


class Block(NamedTuple):
    """One fenced block, where it begins, and the comment above it."""

    language: str
    text: str
    line: int
    mark: str | None

    @property
    def reason(self) -> str | None:
        """Why the block is not run, if it says so."""
        if self.mark is None or not self.mark.startswith(NOT_RUN.rstrip()):
            return None
        reason = self.mark[len(NOT_RUN) :].strip()
        assert len(reason.split()) > 2, f"line {self.line}: say why the block is not run"
        return reason


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(m["language"], m["text"], text.count("\n", 0, m.start("language")) + 1, m["mark"])
        for m in FENCE.finditer(text)
    ]
