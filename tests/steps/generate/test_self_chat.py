"""Dialogues: transcripts are read strictly and dropped by the name of the rule they break."""

from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message
from curate.step import Drop
from curate.steps.generate.self_chat import SelfChat, broken_rule, transcript

GOOD = "[Human] What is rust?\n[AI] Iron oxide.\nIt forms with water.\n[Human] Thanks!\n[AI] Sure."


def driven(step: SelfChat, row: Any, *texts: str | Reply) -> Any:
    """Return what `step` makes of `row` under a script of replies, and what it asked."""
    asking = step.make(row)
    asked = [next(asking)]
    for text in texts:
        try:
            asked.append(asking.send(Reply(text=text) if isinstance(text, str) else text))
        except StopIteration as end:
            return end.value, asked
    raise AssertionError("it asks for more than the script has")


def test_a_transcript_becomes_a_conversation_without_its_markers(conversation):
    row = conversation("Rust")
    record, asked = driven(SelfChat(model="m"), row, GOOD)
    assert record.kind == "sft"
    assert record.fields["messages"] == (
        Message("user", "What is rust?"),
        Message("assistant", "Iron oxide.\nIt forms with water."),
        Message("user", "Thanks!"),
        Message("assistant", "Sure."),
    )
    assert "Topic: Rust" in asked[0].messages[0].content
    assert asked[0].max_tokens == 2048


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD, None),
        ("Here it is:\n" + GOOD, "text before the first turn"),
        ("[AI] Hello.\n[Human] Hi.\n[AI] Yes?", "begins with the assistant"),
        ("[Human] Hi.\n[Human] Hi?\n[AI] Yes?", "roles do not alternate"),
        ("[Human]\n[Human] Hi?\n[AI] Yes?", "roles do not alternate"),
        ("[Human] [Human] Hi?\n[AI] Yes?", "a marker inside a turn"),
        ("[Human] Hi. [AI] Hello.\n[Human] So?\n[AI] So.", "a marker inside a turn"),
        ("[Human] Hi.\n[AI]\n[Human] Hello?\n[AI] Yes.", "an empty turn"),
        (GOOD + "\n[Human] One more?", "ends with the human"),
        ("[Human] Show it.\n[AI] So:\n```\n[Human] in code\n[AI] too\n```\nDone.", None),
        ("[Human] Show it.\n[AI] So:\n```\n[Human] never closed", None),
        ("[Human]: With a colon:\n[AI]: Yes:", None),
    ],
)
def test_transcripts_by_the_rule_that_they_break(text, reason):
    assert broken_rule(transcript(Reply(text=text))) == reason


def test_a_colon_belongs_to_the_marker_only_at_the_beginning():
    turns = transcript(Reply(text="[Human]: With a colon:\n[AI]: Yes:"))
    assert [turn.text for turn in turns] == ["With a colon:", "Yes:"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text=""),
        Reply(text="Once upon a time."),
        Reply(text="say [AI] or [Human]"),
        Reply(text=GOOD, finish_reason="length"),
    ],
)
def test_what_is_no_transcript_fails_with_its_reply(conversation, reply):
    with pytest.raises(UnusableReply):
        driven(SelfChat(model="m"), conversation("Rust"), reply)


def test_two_models_take_turns_until_the_human_ends(conversation):
    step = SelfChat(model="ai", user_model="human", persona="a curious child", exchanges=3)
    record, asked = driven(
        step, conversation("Rust"), "Why red?", "Iron.", "Why iron?", "Hm.", "[END]"
    )
    assert [a.model for a in asked] == ["human", "ai", "human", "ai", "human"]
    assert [(m.role, m.content) for m in record.fields["messages"]] == [
        ("user", "Why red?"),
        ("assistant", "Iron."),
        ("user", "Why iron?"),
        ("assistant", "Hm."),
    ]
    # Whoever plays the human is the assistant of its own chat.
    assert [(m.role, m.content) for m in asked[2].messages[1:]] == [
        ("assistant", "Why red?"),
        ("user", "Iron."),
    ]
    assert "a curious child" in asked[0].system
    assert [(m.role, m.content) for m in asked[3].messages] == [
        ("user", "Why red?"),
        ("assistant", "Iron."),
        ("user", "Why iron?"),
    ]


def test_a_human_who_writes_both_sides_is_dropped(conversation):
    step = SelfChat(model="ai", user_model="human")
    found, _ = driven(step, conversation("Rust"), "Why? [AI] Because.")
    assert found == Drop("a marker inside the human's message")
    found, _ = driven(step, conversation("Rust"), "[END]")
    assert found == Drop("the human ended the chat before it began")


def test_a_run_counts_made_dropped_and_failed(tmp_path):
    replies = tmp_path / "replies.jsonl"
    replies.write_text(
        '{"when": {"contains": "Topic: Rust"}, "reply": "[Human] Why?\\n[AI] Iron."}\n'
        '{"when": {"contains": "Topic: Rain"}, "reply": "[Human] Why?"}\n'
        '{"when": {}, "reply": "No."}\n',
        encoding="utf-8",
    )
    pipeline = Pipeline([SelfChat(model="m")], models={"m": f"scripted:{replies}"})
    rows = [{"prompt": topic} for topic in ("Rust", "Rain", "Snow")]
    result = pipeline.run(rows, run=tmp_path / "run", store=tmp_path / "store", allow_failed=1)
    step = result.summary["steps"][0]
    assert (step["made"], step["used"], step["dropped"], step["failed"]) == (1, 1, 1, 1)
    assert step["reasons"] == {"ends with the human": 1}
