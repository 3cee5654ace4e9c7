"""What runs on a node for a model: one replica of it, after a look at whether it is the same model.

Nothing here knows of Ray. Faults are returned, not raised, so that they arrive as what they are.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import signal
from pathlib import Path
from typing import NamedTuple

from curate.ask import Reply, Request
from curate.engine.partition import describe_error
from curate.engine.ray.task import check_versions
from curate.errors import CurateError, PermanentFault, StoppedShort
from curate.models.model import Model, ModelInfo, ModelSpec, provider_of

# How long a process of the model may take to be gone once it is killed.
_GONE_SECONDS = 1.0


class ModelTask(NamedTuple):
    """A model on its way to a node: as the recipe has it, and what it must turn out to be there.

    A relative path in `spec` starts at `folder`.
    """

    spec: ModelSpec
    folder: Path
    info: ModelInfo
    versions: dict[str, str]


class Share(NamedTuple):
    """Of the CPUs of a node, the part of one of its `of` replicas without a GPU."""

    number: int
    of: int
    cpus: int


class Replica:
    """One copy of a model."""

    def __init__(self, task: ModelTask, share: Share | None) -> None:
        """Load nothing yet; a replica with a GPU has no share of CPUs."""
        self._task, self._share = task, share
        self._model: Model | None = None

    async def node(self) -> str:
        """Return the name of the node."""
        return platform.node()

    async def open(self) -> CurateError | None:
        """Open the model; weights are loaded with the first request.

        It returns what is wrong: this node has other versions or other weights, or lacks what the
        model needs.
        """
        node = platform.node()
        if self._share is not None:
            _keep_to(self._share)
        try:
            check_versions(self._task.versions)
            spec, folder, wanted = self._task.spec, self._task.folder, self._task.info
            provider = provider_of(spec.prefix)
            found = provider.describe(spec, folder)
            for which in ("identity", "embed_identity"):
                if (own := getattr(found, which)) != (other := getattr(wanted, which)):
                    return StoppedShort(
                        f"the node {node} has another model than the command: {own} instead of "
                        f"{other}; put the same folder at the same path on every node, and where "
                        "devices differ name 'device' and 'dtype' in the model's mapping, then run "
                        "the same command again"
                    )
            self._model = provider.open_spec(spec, folder)
        except StoppedShort as error:
            return error
        except Exception as error:  # A prefix of another distribution may fail in any way.
            told = str(error) if isinstance(error, CurateError) else describe_error(error)
            return StoppedShort(
                f"the node {node} cannot open the model {self._task.spec.prefix}:"
                f"{self._task.spec.name} ({told}); every node needs what the model needs"
            )
        return None

    async def answer(self, request: Request, key: str, attempt: int) -> Reply | Exception:
        """Return the reply, or the fault."""
        assert self._model is not None
        try:
            return await self._model.answer(request, key=key, attempt=attempt)
        except CurateError as error:
            return error
        except Exception as error:  # What a class of another distribution raised may not travel.
            return PermanentFault(f"the model could not compute a reply ({describe_error(error)})")

    async def close(self) -> None:
        """Let go of the model, and end the processes that it started."""
        if self._model is not None:
            await self._model.close()
        for process in multiprocessing.active_children():
            # vLLM's workers are children of its engine; one that still loads would go on with it.
            below = _descendants(process.pid)
            process.kill()
            for pid in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.join(_GONE_SECONDS)


def _descendants(pid: int | None) -> list[int]:
    """Return the processes below one, where the system says which they are (Linux)."""
    found = list[int]()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # It has just ended.
            for child in map(int, path.read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _keep_to(share: Share) -> None:
    """Keep this process to its share of the node's cores.

    Replicas whose threads meet on a core wait for each other. vLLM takes the same cores in every
    process that may use them. The count is also OpenMP's, which is read when torch is imported; a
    worker of Ray has 1 there.
    """
    threads = max(1, share.cpus // share.of)
    if share.of > 1 and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if size := min(threads, len(cores) // share.of):
            own = cores[share.number % share.of * size :][:size]
            for thread in Path("/proc/self/task").iterdir():
                with contextlib.suppress(OSError):  # It has just ended.
                    os.sched_setaffinity(int(thread.name), own)
            threads = size
    os.environ["OMP_NUM_THREADS"] = str(threads)
