"""Tags: typed replies, labels that travel, counts in the report, own taxonomies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Choose, Reply
from curate.errors import UnusableReply
from curate.prompts import prompt as prompts
from curate.row import Row
from curate.steps.score.tag import OURS, Tag, file_of, labels_of

GOOD = {
    "difficulty": {"intent": "i", "knowledge": "k", "difficulty": "easy"},
    "quality": {"explanation": "e", "quality": "good"},
    "category": {"category": "math", "other_categories": ["reasoning"]},
    "safety": {"safety": "safe", "hazard": "none"},
    "use_case": {"use_case": "open qa", "prompt_kind": "plain"},
}
MINE = """---
name: mine
version: 1
source: me
variables: [conversation, mark]
optional: [options]
schema:
  type: object
  properties:
    tone: {type: string, enum: [warm, cold]}
  required: [tone]
---
{{ mark }}: {{ conversation }}
{% if options is none %}{"tone": "warm or cold"}{% else %}{{ options | join(", ") }}{% endif %}
"""


def driven(step: Tag, row: Row, *told: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return what a row is tagged with under these replies, and what was asked."""
    asking, asked, answer = step.sketch(row), [], None
    replies = iter(told)
    while True:
        try:
            wanted = asking.send(answer)
        except StopIteration as end:
            return json.loads(end.value["tags"]), asked
        many = isinstance(wanted, list)
        asked += wanted if many else [wanted]
        found = [next(replies) for _ in (wanted if many else [wanted])]
        found = [Reply(text=one) if isinstance(one, str) else one for one in found]
        answer = found if many else found[0]


def test_every_taxonomy_of_ours_is_asked_and_read(conversation: Any) -> None:
    row = conversation("What is 2 + 2?", "4")
    found, asked = driven(Tag(model="m", tags=OURS), row, *(json.dumps(GOOD[n]) for n in OURS))
    assert found == {name: value for one in GOOD.values() for name, value in one.items()}
    assert len(asked) == len(OURS)
    texts = [ask.messages[0].content for ask in asked]
    assert all("What is 2 + 2?" in text and "JSON object" in text for text in texts)
    assert [n for n, text in zip(OURS, texts, strict=True) if "[answer" in text] == ["safety"]


def test_instructgpts_use_cases_and_kinds_of_prompt() -> None:
    labels = labels_of(prompts.load(file_of("use_case")))
    assert len(labels["use_case"]) == 10, "InstructGPT, table 1"
    assert labels["prompt_kind"] == ("plain", "few-shot", "user-based")
    assert len(labels_of(prompts.load(file_of("category")))["category"]) == 12


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is good.",
        '{"explanation": "e"}',
        '{"explanation": "e", "quality": "great"}',
        '{"explanation": "e", "quality": "good"} {"explanation": "e", "quality": "poor"}',
        '{"explanation": "e", "quality": "good"',
        '{"explanation": "e", "quality": ["good"]}',
        '{"explanation": "e", "quality": "good", "extra": 1}',
        "I'm sorry, but I cannot assist with that.",
        "good " * 10_000,
        '{"explanation": "\x00", "quality": "good"}',
    ],
)
def test_a_reply_that_is_no_such_object_fails(conversation: Any, text: str) -> None:
    with pytest.raises(UnusableReply):
        driven(Tag(model="m", tags=("quality",), repairs=0), conversation("Hi", "Ho"), text)


def test_a_bad_reply_is_asked_for_again(conversation: Any) -> None:
    step = Tag(model="m", tags=("quality",))
    found, asked = driven(step, conversation("Hi", "Ho"), "good", json.dumps(GOOD["quality"]))
    assert found["quality"] == "good" and len(asked) == 2
    assert "cannot be used" in asked[1].messages[-1].content


def test_labels_can_be_chosen_by_letters(conversation: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text(MINE)
    step = Tag(model="m", tags=(str(tmp_path / "mine.md"), "use_case"), choose=True)
    step.prepare()
    replies = [Reply(values=(-2.0, -0.5)), Reply(text="B"), Reply(values=(-1.0, -3.0, -0.2))]
    found, asked = driven(step, conversation("Hi", "Ho"), *replies)
    assert (found["tone"], found["use_case"], found["prompt_kind"]) == (
        "cold", "open qa", "user-based",
    )  # fmt: skip
    assert found["tone_chances"] == {"warm": 0.135335, "cold": 0.606531}
    assert "use_case_chances" not in found, "a server without log-probabilities gives a verdict"
    assert all(isinstance(ask, Choose) for ask in asked)
    assert [len(ask.options) for ask in asked] == [2, 10, 3]
    assert asked[0].messages[0].content.endswith("user: Hi\n\nassistant: Ho\nA. warm, B. cold")
    assert "C. user-based" in asked[2].messages[0].content


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        ("", {"keep_only": ("mood=warm",)}, "names 'mood'; the tags have tone"),
        ("", {"keep_only": ("tone=hot",)}, r"names \['hot'\] of tone, which has warm, cold"),
        ("", {"score_by": "mood"}, "score_by is 'mood'"),
        ("enum: [warm, cold]", {}, "must require a field with an `enum`"),
        ("{type: string, enum: [warm, cold]}", {}, "enum"),
        ("optional: [options]", {"choose": True}, "is not defined|options"),
    ],
)
def test_a_taxonomy_that_cannot_be_used_is_refused(
    tmp_path: Path, change: str, fields: dict[str, Any], message: str
) -> None:
    text = MINE.replace(change, "maxLength: 9") if change.startswith("enum") else MINE
    text = text.replace(change, "{type: string}") if change.startswith("{") else text
    if change.startswith("optional"):
        text = text.replace(change + "\n", "").replace("{% if options is none %}", "")
        text = text.replace('{% else %}{{ options | join(", ") }}{% endif %}', "")
    (tmp_path / "mine.md").write_text(text)
    with pytest.raises(ValueError, match=message):
        Tag(model="m", tags=(str(tmp_path / "mine.md"),), **fields).prepare()


def test_a_free_text_may_not_have_the_name_of_anothers_labels(tmp_path: Path) -> None:
    free = "    tone: {type: string, enum: [warm, cold]}\n    quality: {type: string}"
    text = MINE.replace("    tone: {type: string, enum: [warm, cold]}", free)
    (tmp_path / "mine.md").write_text(text)
    with pytest.raises(ValueError, match=r"two taxonomies have a field \['quality'\]"):
        Tag(model="m", tags=("quality", str(tmp_path / "mine.md"))).prepare()


def test_fields_of_two_taxonomies_must_differ(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text(MINE.replace("tone", "quality"))
    with pytest.raises(ValueError, match=r"two taxonomies have a field \['quality'\]"):
        Tag(model="m", tags=("quality", str(tmp_path / "mine.md"))).prepare()
    with pytest.raises(ValueError, match="FIELD=LABEL"):
        Tag(model="m", keep_only=("good",)).check()
    with pytest.raises(ValueError, match="each once"):
        Tag(model="m", tags=("quality", "quality")).check()


def test_labels_travel_and_are_counted_in_the_report(tmp_path: Path) -> None:
    labels = ["excellent", "good", "poor", "good", "nonsense"]
    data, replies = tmp_path / "rows.jsonl", tmp_path / "replies.jsonl"
    rows = [{"instruction": f"Question {n}?", "output": "A."} for n in range(len(labels))]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [
        {
            "when": {"contains": f"Question {n}?"},
            "reply": json.dumps({"explanation": "e", "quality": label}),
        }
        for n, label in enumerate(labels)
    ]
    replies.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def run(name: str, **fields: Any) -> Any:
        step = Tag(model="m", tags=("quality",), repairs=0, **fields)
        return Pipeline([step], models={"m": f"scripted:{replies}"}).run(
            str(data), run=tmp_path / name, store=tmp_path / "store", allow_failed=1.0
        )

    result = run("all")
    assert (result.summary["kept"], result.summary["failed"]) == (4, 1)
    assert result.summary["figures"]["tag"] == {
        "quality: very poor": 0, "quality: poor": 1, "quality: average": 0,
        "quality: good": 2, "quality: excellent": 1,
    }  # fmt: skip
    assert [row.scores["tag"] for row in result.kept] == [5.0, 4.0, 2.0, 4.0]
    assert json.loads(next(iter(result.kept)).notes)["tag"] == {"quality": "excellent"}
    # The rule is not part of what is asked: another one is free.
    strict = run("strict", keep_only=("quality=good", "quality=excellent"))
    assert strict.summary["requests"]["sent"] == 0
    assert (strict.summary["kept"], strict.summary["dropped"]) == (3, 1)
    assert strict.summary["steps"][0]["reasons"] == {"quality is not good or excellent": 1}
