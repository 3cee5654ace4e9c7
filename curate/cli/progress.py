"""Progress on stderr: a live line on a terminal, a plain line every few seconds otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from curate.engine.options import Progress

# A log that is read later needs few lines; a terminal wants to see that something moves.
PLAIN_SECONDS = 10.0
BAR = 10
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


class ProgressLine:
    """The progress of a run as one line; it remembers when the run and its phase began."""

    def __init__(self) -> None:
        self.began = self.phase_began = time.monotonic()
        self.phase = ""

    def text(self, progress: Progress) -> str:
        """Return phase, share, rows, requests, tokens, money and the time left in the phase."""
        now = time.monotonic()
        if progress.phase != self.phase:
            self.phase, self.phase_began = progress.phase, now
        parts = [progress.phase]
        done, total = progress.done, progress.total
        if progress.encoded < progress.texts:
            # Rows still to be read have texts, too.
            more = max(1.0, progress.expected_rows / max(1, progress.rows))
            done, total = progress.encoded, round(progress.texts * more)
            rate = done / max(now - self.phase_began, 1e-9)
            parts.append(f"{done:,} of {total:,} texts encoded ({rate:.1f}/s)")
        elif not total and progress.answered < progress.asking:
            # Nothing else is known while models are asked.
            done, total = progress.answered, progress.asking
            parts.append(f"{done:,} of {total:,} rows answered")
        if total:
            share = min(1.0, done / total)
            parts.append(f"{'█' * round(share * BAR):░<{BAR}} {share:.0%}")
        parts.append(f"{progress.rows:,} rows")
        if progress.sent or progress.replayed:
            rate = progress.sent / max(now - self.began, 1e-9)
            parts.append(f"{progress.sent:,} sent ({rate:.1f}/s), {progress.replayed:,} replayed")
            speed = progress.output_tokens / max(now - self.began, 1e-9)
            parts.append(
                f"{progress.input_tokens:,} + {progress.output_tokens:,} tokens ({speed:.1f}/s)"
            )
            parts.append(f"${progress.cost_usd:.4f}")
            if progress.busy:
                parts.append(f"{progress.busy:,} at once")
            parts += [f"{count:,} {cause}" for cause, count in sorted(progress.causes.items())]
        if progress.batches:
            ended, sent = map(sum, zip(*progress.batches.values(), strict=True))
            parts.append(
                f"batch jobs: {len(progress.batches):,} in progress, "
                f"{ended:,} of {sent:,} requests done"
            )
        parts.append(f"{clock(now - self.began)} elapsed")
        if 0 < done < total:
            left = (now - self.phase_began) * (total - done) / done
            parts.append(f"{clock(left)} left")
        return " | ".join(parts)


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
