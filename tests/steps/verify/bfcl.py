"""BFCL's rows as conversations: the question, the gold calls, a result for each, an answer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "bfcl"
FILES = ("simple_python", "multiple", "parallel")


def conversations(*, every_argument: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows that have gold calls, as OpenAI's messages and tools.

    Gold lists the values that an argument may have, an empty text among them where it may be left
    out; it is then given only with `every_argument`.
    """
    for name in FILES:
        gold = {row["id"]: row["ground_truth"] for row in _lines(f"possible_answer/BFCL_v4_{name}")}
        for row in _lines(f"BFCL_v4_{name}"):
            schemas = {tool["name"]: tool["parameters"] for tool in row["function"]}
            calls = []
            for call in gold[row["id"]]:
                for tool, allowed in call.items():
                    needed = schemas[tool].get("required", [])
                    given = {
                        argument: _first(values)
                        for argument, values in allowed.items()
                        if argument in needed or ("" not in values) or every_argument
                        if values != [""]
                    }
                    calls.append((tool, given))
            yield conversation(row["question"][0][0]["content"], calls, row["function"])


def irrelevant() -> Iterator[dict[str, Any]]:
    """Yield the rows that no tool fits, answered in words."""
    for row in _lines("BFCL_v4_irrelevance"):
        made = conversation(row["question"][0][0]["content"], [], row["function"])
        yield {**made, "expect": "none"}


def conversation(
    question: str, calls: list[tuple[str, Any]], tools: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return a record of shape `messages`."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": question}]
    if calls:
        listed = [
            {"id": f"c{n}", "type": "function", "function": {"name": t, "arguments": json.dumps(a)}}
            for n, (t, a) in enumerate(calls)
        ]
        turns.append({"role": "assistant", "content": None, "tool_calls": listed})
        turns += [
            {"role": "tool", "tool_call_id": f"c{n}", "content": "done"} for n in range(len(calls))
        ]
    turns.append({"role": "assistant", "content": "That is it."})
    return {"messages": turns, "tools": tools}


def _first(values: Any) -> Any:
    """Return the first value that is one: inside objects every value is a list of them again."""
    value = next(value for value in values if value != "")
    if isinstance(value, list):
        return [_inner(item) for item in value]
    return _inner(value)


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _first(own) for key, own in value.items() if own != [""]}
    return value


def _lines(name: str) -> Iterator[Any]:
    return map(json.loads, (DATA / f"{name}.json").read_text("utf-8").splitlines())
