"""xLAM: a `query`, the `tools` offered and the calls that answer it, `answers`, as JSON texts.

Salesforce's xlam-function-calling-60k (APIGen, Liu et al. 2024, arXiv 2406.18518). Its tools list
arguments with Python's names for types; they become JSON Schema, in which an argument is required
that is neither `optional` nor has a default. No call at all means that no tool fits: the
conversation is then a question, with `expect` none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import (
    dumps,
    extra_of,
    kind_of,
    listed,
    mark,
    text_of,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

_COLUMNS = ("query", "tools", "answers")
_TYPES = {
    **dict.fromkeys(("str", "string"), "string"),
    **dict.fromkeys(("int", "integer"), "integer"),
    **dict.fromkeys(("float", "number", "complex"), "number"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    **dict.fromkeys(("dict", "object"), "object"),
    **dict.fromkeys(("list", "set", "tuple", "array"), "array"),
}
_GENERIC = re.compile(r"(\w+)\s*\[(.*)\]", re.DOTALL)
_SIGNS = re.compile(r"[\[\],]")


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a query, tools and answers."""
    lists = [listed(data.get(name)) for name in ("tools", "answers")]
    return isinstance(data.get("query"), str) and all(isinstance(one, list) for one in lists)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the query and the calls that answer it as a conversation, the tools as JSON Schema."""
    query = text_of(data, "query")
    tools, answers = (listed(data.get(name)) for name in ("tools", "answers"))
    for name, value in (("tools", tools), ("answers", answers)):
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            raise ValueError(f"column '{name}' must list objects, found {kind_of(data.get(name))}")
    calls = []
    for number, call in enumerate(answers, 1):
        name, arguments = call.get("name"), call.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            raise ValueError(f"answers[{number - 1}] must have a name, and arguments as an object")
        function = {"name": name, "arguments": dumps(arguments)}
        calls.append({"id": f"call_{number}", "type": "function", "function": function})
    turns = [Message("user", query)]
    if calls:
        turns.append(Message("assistant", "", dumps({"content": None, "tool_calls": calls})))
    columns = {name: value for name, value in data.items() if name not in _COLUMNS}
    if "expect" in columns:
        raise ValueError("column 'expect' has a name that this shape gives; rename it")
    columns["tools"] = [tool_of(tool) for tool in tools]
    if not calls:
        columns["expect"] = "none"
    was = {name: data[name] for name in ("tools", "answers")}
    return Record("sft", {"messages": tuple(turns)}, extra_of(columns, (), read_as=was))


def from_row(row: Row) -> dict[str, Any]:
    """Return query, tools and answers as JSON texts; tools and answers as they were read."""
    turns = row.messages
    if not turns or turns[0].role != "user" or len(turns) > 2 or turns[0].parts is not None:
        raise ValueError("xLAM holds a question and the calls that answer it, and nothing more")
    answers = []
    if len(turns) == 2:
        known = json.loads(turns[1].parts or "{}")
        if turns[1].content or set(known) - {"content", "tool_calls"}:
            raise ValueError("an answer in xLAM is tool calls alone")
        for call in known.get("tool_calls") or ():
            arguments = call["function"]["arguments"]
            found = json.loads(arguments) if isinstance(arguments, str) else arguments
            answers.append({"name": call["function"]["name"], "arguments": found})
    given = with_extra({}, row)
    tools, expect = given.pop("tools", None), given.pop("expect", None)
    if expect not in (None, "call", "none") or (expect == "none" and answers):
        raise ValueError(f"its column 'expect' says {expect!r:.20}, and the calls say otherwise")
    was = mark(row, "read_as")
    was = was if isinstance(was, dict) else {}
    read = {name: listed(was.get(name)) for name in ("tools", "answers")}
    same_tools = isinstance(read["tools"], list) and [tool_of(t) for t in read["tools"]] == tools
    out = {
        "query": turns[0].content,
        "tools": was["tools"] if same_tools else dumps([t.get("function", t) for t in tools or ()]),
        "answers": was["answers"] if read["answers"] == answers else dumps(answers),
    }
    twice = next((name for name in out if name in given), None)
    if twice is not None:
        raise ValueError(f"its extra column '{twice}' would be lost: the shape has one as well")
    return out | given


def tool_of(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool in OpenAI's form, its arguments as JSON Schema."""
    function = tool.get("function") if isinstance(tool.get("function"), Mapping) else tool
    assert isinstance(function, Mapping)
    parameters = function.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise ValueError(f"the parameters of a tool must be an object, found {kind_of(parameters)}")
    if not isinstance(parameters.get("properties"), Mapping):
        properties, required = {}, []
        for name, given in parameters.items():
            if not isinstance(given, Mapping):
                raise ValueError(f"the argument '{name}' of a tool must be an object")
            rest = {key: value for key, value in given.items() if key != "type"}
            type_ = str(given.get("type", "")).strip()
            properties[name] = {**_schema(type_), **rest}
            if "optional" not in type_.lower() and "default" not in given:
                required.append(name)
        parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {**function, "parameters": dict(parameters)}}


def _schema(type_: str) -> dict[str, Any]:
    """Return the schema of a type as Python writes it: `List[int]`, `str, optional`."""
    first = _parts(type_)[0].strip()
    generic = _GENERIC.fullmatch(first)
    name = (generic[1] if generic else first).lower()
    if name in ("optional", "union") and generic:
        members = [_schema(part.strip()) for part in _parts(generic[2]) if part.strip()]
        found = [member for member in members if member]
        return found[0] if len(found) == 1 else {"anyOf": found} if found else {}
    if name not in _TYPES:
        # `Any`, `Callable` and names of classes: whatever is given may be right.
        return {}
    out: dict[str, Any] = {"type": _TYPES[name]}
    if generic and name in ("list", "set") and (items := _schema(generic[2].strip())):
        out["items"] = items
    return out


def _parts(type_: str) -> list[str]:
    """Return what commas part, but for those within brackets."""
    parts, begin, depth = list[str](), 0, 0
    for sign in _SIGNS.finditer(type_):
        depth += {"[": 1, "]": -1}.get(sign[0], 0)
        if sign[0] == "," and depth <= 0:
            parts.append(type_[begin : sign.start()])
            begin = sign.end()
    return [*parts, type_[begin:]]


SHAPES = (
    Shape(
        "xlam",
        "sft",
        __doc__ or "",
        (_COLUMNS,),
        detect,
        to_record,
        from_row,
    ),
)
