"""Schemas come with the data: none of them takes for ever."""

from __future__ import annotations

import pytest

from curate.kernels.text.tool_schemas import Tool
from curate.system import bounded_patterns

TEXT = "a" * 80 + "b"


def doubling(parts: int):
    defs = {"a0": {"type": "integer"}}
    for n in range(parts):
        defs[f"a{n + 1}"] = {"allOf": [{"$ref": f"#/$defs/a{n}"}] * 2}
    return {"$defs": defs, "properties": {"x": {"$ref": f"#/$defs/a{parts}"}}}


def dynamically_doubling(parts: int):
    defs = {"a0": {"$dynamicAnchor": "a0"}}
    for n in range(parts):
        twice = [{"$dynamicRef": f"#a{n}"}] * 2
        defs[f"a{n + 1}"] = {"$dynamicAnchor": f"a{n + 1}", "allOf": twice}
    return {"$defs": defs, "properties": {"x": {"$dynamicRef": f"#a{parts}"}}}


@pytest.mark.parametrize(
    ("schema", "arguments", "said"),
    [
        ({"properties": {"x": {"pattern": "(a|aa)+$"}}}, {"x": TEXT}, "takes longer than"),
        ({"patternProperties": {"(a|aa)+$": {}}}, {TEXT: 1}, "takes longer than"),
        (doubling(40), {"x": 1}, "refers to other parts more than 10,000 times"),
        (dynamically_doubling(40), {"x": 1}, "refers to other parts more than 10,000 times"),
    ],
)
def test_a_schema_without_end_fails_its_row(schema, arguments, said, monkeypatch):
    monkeypatch.setattr(bounded_patterns, "SECONDS", 0.05)
    with pytest.raises(ValueError, match=said):
        Tool("f", schema).misfits(arguments)


def test_patterns_say_what_they_did():
    schema = {
        "properties": {"x": {"pattern": "^a+$"}},
        "patternProperties": {"^y_": {"type": "integer"}},
    }
    tool = Tool("f", schema)
    assert tool.misfits({"x": "aa", "y_1": 2}) == []
    assert [m.fault for m in tool.misfits({"x": "b"})] == ["wrong_value"]
    assert [m.fault for m in tool.misfits({"y_1": "no"})] == ["wrong_type"]
    assert [m.fault for m in tool.misfits({"z": 1})] == ["extra_argument"]
