"""What may end a training before its time, told with what to do next; checkpoints survive it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from curate.errors import CurateError, DiskFull, StoppedShort
from curate.system.posix import no_room
from curate.train.job import Job, RankerJob
from curate.train.memory_estimate import Memory, gigabytes

# What torch and safetensors say of a full disk, and torch of memory; neither has errors of its own.
_FULL = ("No space left", "os error 28", "PytorchStreamWriter failed", "iostream error")
_SPENT = ("out of memory", "can't allocate memory", "not enough memory")


class NotFinite(Exception):
    """The loss, or a gradient of it, is not a number any more."""


@contextlib.contextmanager
def told_apart(job: Job | RankerJob, memory: Memory | None) -> Iterator[None]:
    """Turn what training raises into an error that says what happened and what helps.

    Raises:
        StoppedShort: the loss or a gradient was not a number, or the disk or memory is full.
    """
    folder = job.out / "checkpoints"
    try:
        yield
    except CurateError:
        raise
    except Exception as error:
        kept = last_checkpoint(folder)
        stays = (
            f"{kept} stays, and the same command continues from it"
            if kept
            else ("there is no checkpoint yet")
        )
        if isinstance(error, NotFinite):
            raise StoppedShort(
                f"{error}; no weight was changed by it. Lower learning_rate (it is "
                f"{job.settings.learning_rate:g}), add warmup, or look at the rows of that step; "
                f"{stays}"
            ) from error
        if no_room(error) or any(text in str(error) for text in _FULL):
            raise DiskFull(
                f"no room left on the disk of {job.out}: free some, or save less often (`every`), "
                f"or train {job.lighter}; {stays}"
            ) from error
        if isinstance(error, MemoryError) or any(text in str(error) for text in _SPENT):
            largest = f"; the largest part should be {memory.largest}" if memory else ""
            estimated = f" (estimated: {gigabytes(memory.total)}{largest})" if memory else ""
            raise StoppedShort(
                f"out of memory{estimated}: make batch_size smaller (and accumulate larger), "
                f"shorten max_length, or train {job.lighter}; {stays}"
            ) from error
        raise


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last whole checkpoint in `folder`, and remove those that were broken off.

    The state is written last, so a checkpoint without it is none.
    """
    found = []
    for path in folder.glob("checkpoint-*"):
        state = path / "trainer_state.json"
        # A full disk leaves a part of it, which does not end as JSON does.
        if state.is_file() and state.read_bytes().rstrip().endswith(b"}"):
            found.append(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
