"""Instances: which prompt is asked, what replies hold, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.prompts import prompt as prompts
from curate.row import Message, Record, Row
from curate.step import Drop
from curate.steps.generate.instances import CONFLICT, CUT, Instances

PAPER = Instances(model="m", preset="paper")
MODERN = Instances(model="m", repairs=0)


def driven(work: Any, reply: str | Reply) -> tuple[Any, Any]:
    """Return what a step makes of one reply, and what it asked."""
    asked = next(work)
    try:
        work.send(Reply(text=reply) if isinstance(reply, str) else reply)
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("it asks again")


@pytest.fixture
def task(make_row):
    def make(text: str = "Convert the measurement.", labels: bool = False) -> Row:
        row: Row = make_row("prompt", {"prompt": (Message("user", text),)})
        return row._replace(scores={"classification_task": float(labels)})

    return make


def pairs(products: Any) -> list[tuple[str, str]]:
    return [
        tuple(turn.content for turn in one.fields["messages"])
        for one in products
        if isinstance(one, Record)
    ]


def reasons(products: Any) -> list[str | None]:
    return [one.reason if isinstance(one, Drop) else None for one in products]


def test_input_first_is_the_papers_request(task):
    reply = "Input: 5 km in miles\nOutput: 3.11 miles\nExample 2\nInput: 1 m\nOutput: 3.3 feet"
    products, asked = driven(PAPER.make(task()), reply)
    assert pairs(products) == [
        ("Convert the measurement.\n\n5 km in miles", "3.11 miles"),
        ("Convert the measurement.\n\n1 m", "3.3 feet"),
    ]
    columns = json.loads(products[0].extra)
    assert columns == {"task": "Convert the measurement.", "task_input": "5 km in miles"}
    assert asked.prompt.endswith("Task: Convert the measurement.\nExample 1")
    assert (asked.temperature, asked.presence_penalty, asked.max_tokens) == (0.0, 1.5, 350)
    assert asked.stop == ("Example 6", "Task:")


def test_output_first_asks_for_labels_and_marks_the_rows(task):
    reply = " positive\nSentence: What a day.\nClass label: negative\nSentence: Oh no."
    products, asked = driven(PAPER.make(task("Classify it.", True)), reply)
    assert pairs(products) == [
        ("Classify it.\n\nSentence: What a day.", "positive"),
        ("Classify it.\n\nSentence: Oh no.", "negative"),
    ]
    assert json.loads(products[0].extra)["is_classification"] is True
    assert asked.prompt.endswith("Task: Classify it.\nClass label:")
    assert asked.max_tokens == 300


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Output: Iron.", [None]),
        ("Input: x\nOutput:", ["no output"]),
        ("Input: x\nOutput: x", ["input and output are equal"]),
        ("Input: x\nOutput: these:", ["ends with a colon"]),
        ("Input: x\nOutput: a\x00b", ["control characters"]),
        ("Input: x\nOutput: " + "ha " * 10_000 + "end", ["repeats itself"]),
        ("Output: a\nExample 2\nOutput: a", [None, "equal to another instance"]),
        # What a model writes on behind an output belongs to nothing.
        ("Input: x\nOutput: y\nInput: z\nOutput: w", [None]),
    ],
)
def test_each_rule_refuses_by_its_name(task, reply, found):
    products, _ = driven(PAPER.make(task()), reply)
    assert reasons(products) == found


def test_two_outputs_for_one_input_drop_the_task_and_no_input_does_not(task):
    products, _ = driven(PAPER.make(task()), "Input: x\nOutput: 1\nExample 2\nInput: x\nOutput: 2")
    assert products == [Drop(CONFLICT, detail={"input": "x"})]
    products, _ = driven(PAPER.make(task()), "Output: 1\nExample 2\nOutput: 2")
    assert reasons(products) == [None, None]


@pytest.mark.parametrize("last", ["Input: z\nOutput: half of", "Input: ha"])
def test_a_cut_reply_has_lost_its_last_instance_alone(task, last):
    text = f"Input: x\nOutput: y\nExample 2\n{last}"
    products, _ = driven(PAPER.make(task()), Reply(text=text, finish_reason="length"))
    assert reasons(products) == [None, CUT]


def test_more_than_asked_for_are_drawn_from_by_the_rows_seed(task):
    said = {"instances": [{"input": f"{n}", "output": "so"} for n in range(9)]}
    products, _ = driven(MODERN.make(task()), json.dumps(said))
    again, _ = driven(MODERN.make(task()), json.dumps(said))
    assert products == again
    assert reasons(products).count("more than 5 instances") == 4
    assert len(pairs(products)) == 5


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        (PAPER, ""),
        (PAPER, "I'm sorry, I cannot do that."),
        (PAPER, "the " * 10_000),
        (PAPER, Reply(text="Output: a", finish_reason="content_filter")),
        (MODERN, ""),
        (MODERN, "I'm sorry, I cannot do that."),
        (MODERN, '{"instances": [{"input": "x", "output": 3}]}'),
        (MODERN, '{"instances": [{"input": "x"'),
        (MODERN, '{"instances": []}'),
    ],
)
def test_what_cannot_be_read_fails(task, step, reply):
    with pytest.raises(UnusableReply):
        driven(step.make(task()), reply)


def test_a_row_without_the_score_is_told_what_to_do(make_row):
    row = make_row("prompt", {"prompt": (Message("user", "Name it."),)})
    with pytest.raises(ValueError, match="by: null"):
        next(PAPER.make(row))
    _, asked = driven(Instances(model="m", by=None, preset="paper").make(row), "Output: x")
    assert "Example 1" in asked.prompt


def test_the_recipes_command_leaves_room_for_five_instances():
    text = prompts.find("instances").parents[1].joinpath("pipelines/self_instruct.yaml").read_text()
    header = text.partition("\nname:")[0]
    assert "steps.instances.preset=modern" in header
    assert "steps.instances.max_tokens=2048" in header
