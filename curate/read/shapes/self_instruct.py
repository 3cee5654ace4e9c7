"""Self-Instruct: an instruction with instances, each an input and its output (Wang et al. 2023).

Every instance makes a row. An instance may be a text: of an input and an output, or the output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from curate.read.shapes.alpaca import task_of, task_record
from curate.read.shapes.record_fields import kind_of, mark, with_mark
from curate.read.shapes.shape import Shape
from curate.row import Record, Row

_LIST = "instances"
_NAMED = re.compile(r"Input: (?P<input>.+?)\nOutput: (?P<output>.*)", re.DOTALL)


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has an instruction and a list of instances."""
    return "instruction" in data and isinstance(data.get(_LIST), list)


def instances(data: Any) -> list[Mapping[str, Any]]:
    """Return a record for each instance of a task."""
    found = data.get(_LIST) if isinstance(data, Mapping) else None
    if not isinstance(found, list) or len(found) < 2:
        return [data]
    return [{**data, _LIST: [instance]} for instance in found]


def to_record(data: Mapping[str, Any]) -> Record:
    """Return instruction and the only instance as a conversation of two turns."""
    found = data.get(_LIST)
    if not isinstance(found, list):
        raise ValueError(f"column '{_LIST}' must be a list, found {kind_of(found)}")
    if len(found) != 1 or not isinstance(found[0], Mapping | str):
        raise ValueError(f"column '{_LIST}' must hold objects or texts, found {kind_of(found)}")
    instance = found[0]
    if isinstance(instance, str):
        # A text names its input and output, or is the output.
        named = _NAMED.fullmatch(instance)
        instance = named.groupdict() if named else {"output": instance}
    clash = {"input", "output", _LIST} & {*data} - {_LIST} or {*instance} - {"input", "output"}
    if clash:
        raise ValueError(f"cannot tell what '{min(clash)}' means beside the instance's own")
    rest = {key: value for key, value in data.items() if key != _LIST}
    record = task_record({**rest, **instance}, "output")
    if isinstance(found[0], str):
        form = "text" if "input" not in instance else "input and output"
        return record._replace(extra=with_mark(record.extra, "instance_as", form))
    return record


def from_row(row: Row) -> dict[str, Any]:
    """Return two turns as an instruction with one instance."""
    task = task_of(row, "output")
    instance = {name: task.pop(name) for name in ("input", "output")}
    if _LIST in task:
        raise ValueError(f"its extra column '{_LIST}' would be lost: the shape has one as well")
    form = mark(row, "instance_as")
    if form == "text":
        return {**task, _LIST: [instance["output"]]}
    if form is not None:
        return {**task, _LIST: ["Input: {input}\nOutput: {output}".format_map(instance)]}
    return {**task, _LIST: [instance]}


SHAPES = (
    Shape(
        "self_instruct",
        "sft",
        __doc__ or "",
        (("instruction", _LIST),),
        detect,
        to_record,
        from_row,
        instances=instances,
    ),
)
