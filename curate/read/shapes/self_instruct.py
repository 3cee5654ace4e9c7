"""Self-Instruct: an instruction with instances, each an input and its output (Wang et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.alpaca import task_of, task_record
from curate.read.shapes.record_fields import kind_of
from curate.row import Record, Row

KIND = "sft"
_LIST = "instances"
SIGNATURE = (("instruction", _LIST),)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has an instruction and a list of instances."""
    return "instruction" in data and isinstance(data.get(_LIST), list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return instruction and the only instance as a conversation of two turns."""
    instances = data.get(_LIST)
    if not isinstance(instances, list):
        raise ValueError(f"column '{_LIST}' must be a list, found {kind_of(instances)}")
    if len(instances) != 1 or not isinstance(instances[0], Mapping):
        raise ValueError(f"column '{_LIST}' must hold one object, found {len(instances)} entries")
    clash = {"input", "output", _LIST} & {*data} - {_LIST} or {*instances[0]} - {"input", "output"}
    if clash:
        raise ValueError(f"cannot tell what '{min(clash)}' means beside the instance's own")
    rest = {key: value for key, value in data.items() if key != _LIST}
    return task_record({**rest, **instances[0]}, "output")


def from_row(row: Row) -> dict[str, Any]:
    """Return two turns as an instruction with one instance."""
    task = task_of(row, "output")
    instance = {name: task.pop(name) for name in ("input", "output")}
    if _LIST in task:
        raise ValueError(f"its extra column '{_LIST}' would be lost: the shape has one as well")
    return {**task, _LIST: [instance]}
