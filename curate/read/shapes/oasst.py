"""OpenAssistant trees: a prompt, the replies to it, the replies to those (Köpf et al. 2023).

A tree reads as one `prompt` row that carries the tree in `extra`; `conversations` and `rankings`
make rows of other kinds from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from curate.read.shapes.fields import extra_columns, extra_of, kind_of, only_turn, text_of
from curate.row import Candidate, Message, Record, Row

KIND = "prompt"
_ROLES = {"prompter": "user", "assistant": "assistant"}
_TREE = "prompt"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a message tree."""
    return "message_tree_id" in data and isinstance(data.get(_TREE), Mapping)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the tree's first message as a prompt; every column, the tree included, is extra."""
    tree = data.get(_TREE)
    if not isinstance(tree, Mapping):
        raise ValueError(f"column '{_TREE}' must be a message, found {kind_of(tree)}")
    for node in _nodes(tree):
        _check(node)
    prompt = (Message("user", text_of(tree, "text")),)
    return Record(KIND, {"prompt": prompt}, extra_of(data, ()))


def _nodes(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(_replies(node))


def _replies(node: Mapping[str, Any]) -> list[Any]:
    return node.get("replies") or []


def _check(node: Any) -> None:
    if not isinstance(node, Mapping):
        raise ValueError(f"a reply must be a message, found {kind_of(node)}")
    if node.get("role") not in _ROLES:
        raise ValueError(
            f"a message's role must be prompter or assistant: {node.get('role')!r:.40}"
        )
    text_of(node, "text")
    if not isinstance(_replies(node), list):
        raise ValueError(f"column 'replies' must be a list, found {kind_of(node['replies'])}")


def from_row(row: Row) -> dict[str, Any]:
    """Return the tree; a rewritten prompt takes its place in it."""
    extra = extra_columns(row)
    if not isinstance(extra.get(_TREE), dict):
        raise ValueError("it carries no tree; only rows read from one have this shape")
    extra[_TREE] = {**extra[_TREE], "text": only_turn(row.prompt, "user")}
    return extra


# -- rows made from a tree ------------------------------------------------------------------------


def tree_of(extra: str | None) -> Mapping[str, Any] | None:
    """Return the tree in a row's `extra`, or `None` where the row was not read from one."""
    data = json.loads(extra) if extra and '"message_tree_id"' in extra else {}
    tree = data.get(_TREE)
    return tree if "message_tree_id" in data and isinstance(tree, Mapping) else None


def conversations(extra: str | None) -> list[Record]:
    """Return every path from the root to a last assistant's message as an `sft` record.

    Paths come in the tree's order; deleted messages end the path before them.
    """
    tree = tree_of(extra)
    paths: list[list[Mapping[str, Any]]] = [[tree]] if tree and not tree.get("deleted") else []
    out = []
    while paths:
        path = paths.pop()
        replies = [reply for reply in _replies(path[-1]) if not reply.get("deleted")]
        answered = any(_replies(reply) and _answers(reply) for reply in replies)
        if path[-1]["role"] == "assistant" and not answered:
            out.append(_record("sft", {"messages": _messages(path)}, extra, path[-1]))
        paths.extend([*path, reply] for reply in reversed(replies))
    return out


def _answers(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the assistant's messages that answer a prompter's."""
    return [r for r in _replies(node) if r["role"] == "assistant" and not r.get("deleted")]


def rankings(extra: str | None) -> list[Record]:
    """Return a `ranked` record for every message with two or more ranked answers.

    People ranked from 0, the best; a candidate's score is minus its rank, so that more is better.
    """
    tree = tree_of(extra)
    paths: list[list[Mapping[str, Any]]] = [[tree]] if tree and not tree.get("deleted") else []
    out = []
    while paths:
        path = paths.pop()
        ranked = [a for a in _answers(path[-1]) if isinstance(a.get("rank"), int)]
        if path[-1]["role"] == "prompter" and len(ranked) > 1:
            fields = {"prompt": _messages(path), "candidates": tuple(map(_candidate, ranked))}
            out.append(_record("ranked", fields, extra, path[-1]))
        replies = [reply for reply in _replies(path[-1]) if not reply.get("deleted")]
        paths.extend([*path, reply] for reply in reversed(replies))
    return out


def _candidate(node: Mapping[str, Any]) -> Candidate:
    model = node.get("model_name") if node.get("synthetic") else None
    answer = (Message("assistant", node["text"]),)
    return Candidate(answer, -float(node["rank"]), model if isinstance(model, str) else None)


def _messages(path: list[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(_ROLES[node["role"]], node["text"]) for node in path)


def _record(
    kind: str, fields: dict[str, Any], extra: str | None, last: Mapping[str, Any]
) -> Record:
    """Return a record that names its tree and last message instead of carrying the tree on."""
    named = {"message_tree_id": json.loads(extra or "{}").get("message_tree_id")}
    named |= {key: last[key] for key in ("message_id", "lang") if key in last}
    return Record(kind, fields, extra_of(named, ()))
