"""OpenAssistant trees: a prompt, the replies to it, the replies to those (Köpf et al. 2023).

A tree reads as one `prompt` row that carries the tree in `extra`; the step `expand` makes
conversations or rankings of it. The messages of trees may also stand alone, a record each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import extra_columns, extra_of, kind_of, only_turn, text_of
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row
from curate.rows.trees import (
    MESSAGE_ID,
    PARENT_ID,
    ROLES,
    TREE,
    TREE_ID,
    is_tree,
    replies_to,
)

LOST = "the tree's other branches, their ranks and ids, of which such a row is one path or choice"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a message tree."""
    return is_tree(data)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the tree's first message as a prompt; every column, the tree included, is extra."""
    tree = data.get(TREE)
    if not isinstance(tree, Mapping):
        raise ValueError(f"column '{TREE}' must be a message, found {kind_of(tree)}")
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, Mapping):
            raise ValueError(f"a reply must be a message, found {kind_of(node)}")
        if text_of(node, "role") not in ROLES:
            raise ValueError(
                f"a message's role must be prompter or assistant: {node.get('role')!r:.40}"
            )
        text_of(node, "text")
        replies = replies_to(node)
        if not isinstance(replies, list):
            raise ValueError(f"column 'replies' must be a list, found {kind_of(node['replies'])}")
        waiting.extend(replies)
    prompt = (Message("user", text_of(tree, "text")),)
    return Record("prompt", {"prompt": prompt}, extra_of(data, ()))


def from_row(row: Row) -> dict[str, Any]:
    """Return the tree; a rewritten prompt takes its place in it."""
    extra = extra_columns(row)
    if not isinstance(extra.get(TREE), dict):
        raise ValueError("it carries no tree; only rows read from one have this shape")
    extra[TREE] = {**extra[TREE], "text": only_turn(row.prompt, "user")}
    return extra


def is_message(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is one message of a tree."""
    texts = (MESSAGE_ID, TREE_ID, "text")
    held = all(isinstance(data.get(name), str) for name in ("role", *texts))
    return held and data["role"] in ROLES


def messages_from_row(row: Row) -> list[dict[str, Any]]:
    """Return the messages of a row's tree, each before those that answer it."""
    extra = from_row(row)
    others = sorted(extra.keys() - {TREE, TREE_ID})
    if others:
        raise ValueError(f"its columns {', '.join(others)} are those of a tree, not of a message")
    out, waiting = [], [extra[TREE]]
    while waiting:
        node = waiting.pop()
        own = {name: value for name, value in node.items() if name != "replies"}
        out.append({**own, TREE_ID: extra[TREE_ID]})
        waiting += reversed(replies_to(node))
    return out


SHAPES = (
    Shape(
        "oasst",
        "prompt",
        __doc__ or "",
        ((TREE_ID, TREE),),
        detect,
        to_record,
        from_row,
        system=(),
        lost=LOST,
    ),
    Shape(
        "oasst_messages",
        "prompt",
        "OpenAssistant's messages, a record each; those of a tree become one row.",
        ((TREE_ID, MESSAGE_ID, PARENT_ID, "role", "text"),),
        is_message,
        to_record,
        messages_from_row,
        system=(),
        lost=LOST,
        grouped=True,
    ),
)
