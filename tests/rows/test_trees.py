"""Message trees become conversations and rankings; what was deleted takes its branch with it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from curate.row import Message, Row
from curate.rows.trees import conversations, rankings, tree_in


def node(role: str, text: str, *replies: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"role": role, "text": text, "message_id": f"id {text}", "replies": [*replies]} | columns


def tree(root: dict[str, Any]) -> dict[str, Any]:
    return {"message_tree_id": "t", "tree_state": "ready", "prompt": root}


def turns(record: Any, name: str = "messages") -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in record.fields[name]]


BRANCHED = tree(
    node(
        "prompter",
        "q",
        node("assistant", "a", node("prompter", "more", node("assistant", "b"))),
        node("assistant", "c", node("prompter", "unanswered"), rank=1, lang="en"),
    )
)


def test_a_conversation_ends_with_the_last_answer_of_its_branch():
    first, second = conversations(BRANCHED)
    assert turns(first) == [("user", "q"), ("assistant", "a"), ("user", "more"), ("assistant", "b")]
    assert turns(second) == [("user", "q"), ("assistant", "c")]
    assert json.loads(second.extra) == {"message_tree_id": "t", "message_id": "id c", "lang": "en"}


def test_a_deleted_message_ends_the_path_before_it():
    gone = node("prompter", "gone", node("assistant", "unseen"), deleted=True)
    [record] = conversations(tree(node("prompter", "q", node("assistant", "a", gone))))
    assert turns(record) == [("user", "q"), ("assistant", "a")]
    assert conversations(tree(node("prompter", "q", node("assistant", "a"), deleted=True))) == []


def test_answers_are_ranked_where_two_or_more_have_a_rank():
    ranked = node(
        "prompter",
        "q",
        node("assistant", "worst", rank=2, synthetic=True, model_name="m"),
        node("assistant", "best", rank=0),
        node("assistant", "unranked"),
        node("assistant", "deleted", rank=1, deleted=True),
    )
    [record] = rankings(tree(ranked))
    assert turns(record, "prompt") == [("user", "q")]
    found = [(c.messages, c.score, c.model) for c in record.fields["candidates"]]
    assert found == [
        ((Message("assistant", "worst"),), -2.0, "m"),
        ((Message("assistant", "best"),), 0.0, None),
    ]
    assert rankings(BRANCHED) == []


def test_a_prompt_that_was_rewritten_does_not_come_back():
    row = Row("0" * 32, (0, 0, 0), "prompt", {"prompt": (Message("user", "[MASKED]"),)})
    found = tree_in(row._replace(extra=json.dumps(BRANCHED)))
    assert found is not None
    assert all(turns(record)[0] == ("user", "[MASKED]") for record in conversations(found))


def test_other_rows_hold_no_tree():
    sft = Row("0" * 32, (0, 0, 0), "sft", {"messages": (Message("user", "q"),)})
    assert tree_in(sft._replace(extra=json.dumps(BRANCHED))) is None
    bare = Row("0" * 32, (0, 0, 0), "prompt", {"prompt": (Message("user", "q"),)})
    assert tree_in(bare) is None
    assert tree_in(bare._replace(extra='{"message_tree_id":"named, but no tree"}')) is None


roles = st.sampled_from(["prompter", "assistant"])
roots = st.recursive(
    st.builds(lambda role, gone: node(role, "", deleted=gone), roles, st.booleans()),
    lambda inner: st.builds(
        lambda role, replies: node(role, "", *replies), roles, st.lists(inner, max_size=3)
    ),
    max_leaves=12,
)


@given(root=roots)
def test_every_answer_stands_in_a_conversation(root):
    """Numbering the messages, each living answer is found in one conversation or more."""
    answers = numbered(root)
    found = conversations(tree(root))
    seen = {text for record in found for role, text in turns(record) if role == "assistant"}
    assert seen == answers
    assert len({tuple(turns(record)) for record in found}) == len(found)
    assert all(turns(record)[-1][0] == "assistant" for record in found)


def numbered(root: dict[str, Any]) -> set[str]:
    """Give every message a text of its own; return those of answers below nothing deleted."""
    answers: set[str] = set()
    waiting, number = [(root, True)], 0
    while waiting:
        current, alive = waiting.pop()
        alive = alive and not current.get("deleted")
        current["text"], number = f"text {number}", number + 1
        if alive and current["role"] == "assistant":
            answers.add(current["text"])
        waiting.extend((reply, alive) for reply in current["replies"])
    return answers
