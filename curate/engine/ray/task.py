"""What runs on a node: one part through one segment, after a look at whether the node can do it.

Nothing here knows of Ray. A node that has another version of what decides bytes, or that reads
another file where a step names one, would give other rows without a word; so it refuses.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from curate.engine.ledger import StepTally
from curate.engine.partition import describe_error
from curate.engine.segment import Segment, run_segment
from curate.engine.state import PartitionState, Settings
from curate.errors import StoppedShort
from curate.step import Step
from curate.system.package_data import PACKAGE

# What writes the bytes of rows and of their files.
_PACKAGES = ("numpy", "pyarrow")
# The tasks that this process knows it can carry out.
_checked = set[str]()


class SegmentTask(NamedTuple):
    """A segment on its way to the nodes, with what each of them must have to carry it out.

    `name` is one that no other task has.
    """

    name: str
    segment: Segment
    settings: Settings
    versions: Mapping[str, str]
    digests: Mapping[str, str]


def carry_out(task: SegmentTask, state: PartitionState) -> PartitionState:
    """Return the part's state after the segment, its tables in memory, its times those of day.

    Raises:
        StoppedShort: this node is not like the one that sent the part.
    """
    if task.name not in _checked:
        check_node(task)
        _checked.add(task.name)
    out = run_segment(task.segment, state, task.settings)
    shift(out.tallies, time.time() - time.perf_counter())
    return out


def shift(tallies: Mapping[str, StepTally], seconds: float) -> None:
    """Move the times at which steps were at work: each machine counts from when it was started."""
    for tally in tallies.values():
        tally.spans = [(start + seconds, end + seconds) for start, end in tally.spans]


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions that decide bytes; that of `curate` is a digest of its code."""
    code = hashlib.blake2b(digest_size=8)
    for path in sorted(PACKAGE.rglob("*.py")):
        code.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "curate": code.hexdigest(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def digests_of(steps: Sequence[Step]) -> dict[str, str]:
    """Return digests of the files that steps read besides their rows, by their labels."""
    found = {}
    for step in steps:
        step.prepare()
        if (digest := step.data_digest()) is not None:
            found[step.title] = digest
    return found


def check_versions(wanted: Mapping[str, str]) -> None:
    """Raise `StoppedShort` where this node has other versions than the command's machine."""
    here = versions()
    names = [name for name in here if here[name] != wanted.get(name)]
    if names:
        told = ", ".join(f"{name} {here[name]} instead of {wanted.get(name)}" for name in names)
        raise StoppedShort(
            f"the node {platform.node()} has {told}; rows could differ: install the same versions "
            "on every node (the same commit of curate among them), then run the same command again"
        )


def check_node(task: SegmentTask) -> None:
    """Raise `StoppedShort` where this node could give other rows than the command's machine."""
    check_versions(task.versions)
    cut = [] if task.segment.cut is None else [task.segment.cut]
    try:
        found = digests_of([*task.segment.steps, *cut])
    except (OSError, ValueError) as error:
        raise StoppedShort(
            f"the node {platform.node()} cannot read a file that a step names "
            f"({describe_error(error)}); put it where every node sees it at the same path, and run "
            "the same command again"
        ) from error
    changed = [name for name, digest in task.digests.items() if found.get(name) != digest]
    if changed:
        raise StoppedShort(
            f"the node {platform.node()} has other data for the step '{changed[0]}'; put the same "
            "file at the same path on every node and run the same command again"
        )
