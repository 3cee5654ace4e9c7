"""Message trees as OpenAssistant published them, and the rows that can be made of one.

A tree travels as JSON in the `extra` of the `prompt` row that was read from it (Köpf et al. 2023,
arXiv 2304.07327). It stands below both the reader, which checks every message, and the step
`expand`, which makes conversations or rankings of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from curate.row import Candidate, Message, Record, Row

TREE = "prompt"
TREE_ID = "message_tree_id"
MESSAGE_ID = "message_id"
PARENT_ID = "parent_id"
ROLES = {"prompter": "user", "assistant": "assistant"}
# What a made row keeps of the message it ends with.
_NAMED = (MESSAGE_ID, "lang")

Node = Mapping[str, Any]


def is_tree(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a message tree."""
    return TREE_ID in data and isinstance(data.get(TREE), Mapping)


def tree_in(row: Row) -> Mapping[str, Any] | None:
    """Return the record of the tree that a row was read from, or `None`."""
    # Most rows hold none, and their JSON need not be read.
    if row.kind != "prompt" or f'"{TREE_ID}"' not in (row.extra or ""):
        return None
    data = json.loads(row.extra or "")
    if not is_tree(data):
        return None
    # What an earlier step masked in the prompt must not come back from the tree.
    return {**data, TREE: {**data[TREE], "text": row.instruction}}


def replies_to(node: Node) -> list[Any]:
    """Return the messages that answer `node`."""
    return node.get("replies") or []


def conversations(data: Mapping[str, Any]) -> list[Record]:
    """Return every path from the root to a last assistant's message as an `sft` record.

    Paths come in the tree's order; deleted messages end the path before them.
    """
    out = []
    for path in _paths(data[TREE]):
        # Where a later answer follows, the conversation is told there.
        following = (reply for reply in replies_to(path[-1]) if not reply.get("deleted"))
        if path[-1]["role"] == "assistant" and not any(map(_answers, following)):
            out.append(_record(data, "sft", {"messages": _messages(path)}, path[-1]))
    return out


def rankings(data: Mapping[str, Any]) -> list[Record]:
    """Return a `ranked` record for every message with two or more ranked answers.

    People ranked from 0, the best; a candidate's score is minus its rank, so that more is better.
    """
    out = []
    for path in _paths(data[TREE]):
        candidates = []
        for answer in _answers(path[-1]):
            rank = answer.get("rank")
            if isinstance(rank, int) and not isinstance(rank, bool):
                model = answer.get("model_name") if answer.get("synthetic") else None
                turns = (Message("assistant", answer["text"]),)
                named = model if isinstance(model, str) else None
                candidates.append(Candidate(turns, -float(rank), named))
        if path[-1]["role"] == "prompter" and len(candidates) > 1:
            fields = {"prompt": _messages(path), "candidates": tuple(candidates)}
            out.append(_record(data, "ranked", fields, path[-1]))
    return out


def _paths(root: Node) -> Iterator[list[Node]]:
    """Yield the path to every message that was not deleted, nor stands below one that was."""
    waiting = [[root]]
    while waiting:
        path = waiting.pop()
        if not path[-1].get("deleted"):
            yield path
            waiting.extend([*path, reply] for reply in reversed(replies_to(path[-1])))


def _answers(node: Node) -> list[Node]:
    """Return the assistant's messages among the replies to `node`."""
    return [r for r in replies_to(node) if r["role"] == "assistant" and not r.get("deleted")]


def _messages(path: list[Node]) -> tuple[Message, ...]:
    return tuple(Message(ROLES[node["role"]], node["text"]) for node in path)


def _record(data: Mapping[str, Any], kind: str, fields: dict[str, Any], last: Node) -> Record:
    """Return a record that names its tree and last message instead of carrying the tree on."""
    named = {TREE_ID: data[TREE_ID]} | {key: last[key] for key in _NAMED if key in last}
    return Record(kind, fields, json.dumps(named, ensure_ascii=False, separators=(",", ":")))
