"""What trainers and tools ask for beyond the shapes: one module per consumer, found by the tree.

A module has `FORMATS`: names (`CONSUMER_TASK`), each with the kind of rows that it holds and the
function that turns a row into a record. Extra columns go along where the consumer ignores them and
stay behind where it would refuse them; the module says which.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from curate.prompts.replies.thought_tags import WRITTEN_AS
from curate.read.shapes.alpaca import task_of
from curate.read.shapes.record_fields import listed, turns_of, with_extra
from curate.row import Message, Row


class Format(NamedTuple):
    """The kind of rows that a format holds, and how a row is written in it.

    Where a row is `several` records, `from_row` returns the list of them.
    """

    kind: str
    from_row: Callable[[Row], Any]
    several: bool = False


# How a dialect calls its speakers, how it wrote a call or a thought, and what MOSS has around a
# text.
_OWN = ("from", "value", "joined", "around", "beside", WRITTEN_AS)


def chat_of(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as chat data, without what shapes keep of a turn for their own way back."""
    return [{k: v for k, v in turn.items() if k not in _OWN} for turn in turns_of(messages)]


def tools_of(tools: Any) -> Any:
    """Return tool schemas as OpenAI writes them, from JSON text or bare functions, too."""
    found = listed(tools)
    if not isinstance(found, list) or not all(isinstance(tool, Mapping) for tool in found):
        return tools
    bare = [not isinstance(tool.get("function"), Mapping) and "name" in tool for tool in found]
    return [
        {"type": "function", "function": tool} if is_bare else tool
        for tool, is_bare in zip(found, bare, strict=True)
    ]


def with_chat_extra(data: dict[str, Any], row: Row) -> dict[str, Any]:
    """Return `data` with the row's extra columns behind it, tools in OpenAI's form."""
    out = with_extra(data, row)
    return out if out.get("tools") is None else {**out, "tools": tools_of(out["tools"])}


def judgement_of(row: Row) -> dict[str, float]:
    """Return what is known of a pair beside its texts: its margin, and `p_chosen`."""
    numbers = {name: row.fields.get(name) for name in ("margin", "p_chosen")}
    return {name: number for name, number in numbers.items() if number is not None}


def with_system_column(row: Row) -> dict[str, Any]:
    """Return a row in Alpaca's columns, its system prompt in the column `system`."""
    turns = row.messages
    if not turns or turns[0].role != "system" or turns[0].parts is not None:
        return task_of(row, "output")
    task = task_of(row._replace(fields={"messages": turns[1:]}), "output")
    return {**task, "system": turns[0].content}


def check_prompt(row: Row) -> None:
    """Raise `ValueError` for a pair without a prompt: its answers answer different questions."""
    if not row.prompt:
        raise ValueError("it has no prompt, because its two sides do not begin alike")


@functools.cache
def formats() -> dict[str, Format]:
    """Return every format by its name."""
    return {name: form for own in by_module().values() for name, form in own.items()}


def by_module() -> dict[ModuleType, dict[str, Format]]:
    """Return the formats of every consumer's module."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {module: dict(module.FORMATS) for module in modules}
