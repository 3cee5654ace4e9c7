"""The progress of a run as one line, for whoever shows it: a terminal, a log, a notebook."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.engine.options import Progress

BAR = 10


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
