"""Progress on stderr: a live line on a terminal, a plain line every few seconds otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from curate.engine.progress_line import ProgressLine, clock

if TYPE_CHECKING:
    from curate.engine.options import Progress

__all__ = ["PLAIN_SECONDS", "ProgressLine", "clock", "listening"]
# A log that is read later needs few lines; a terminal wants to see that something moves.
PLAIN_SECONDS = 10.0
Listener = Callable[["Progress"], None]


@contextmanager
def listening() -> Iterator[Listener]:
    """Give a listener for the engine that shows progress until the block ends."""
    if sys.stderr.isatty():
        with _live() as listener:
            yield listener
    else:
        line = ProgressLine()
        last = line.began

        def listener(progress: Progress) -> None:
            nonlocal last
            text, now = line.text(progress), time.monotonic()
            if now - last >= PLAIN_SECONDS:
                last = now
                typer.echo(text, err=True)

        yield listener


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    def text(line: str) -> Text:
        # A line that the terminal folded could not be drawn over.
        return Text(line, no_wrap=True, overflow="ellipsis")

    line = ProgressLine()
    # It turns while a long first part says nothing yet.
    spinner = Spinner("line", text("reading"))
    with Live(spinner, console=Console(stderr=True), transient=True, refresh_per_second=8):
        yield lambda progress: spinner.update(text=text(line.text(progress)))
