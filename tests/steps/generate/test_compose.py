"""Prompts filled from plans: what is asked, what is made, and what fails alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Reply
from curate.row import Message, Row
from curate.step import Failed
from curate.steps.generate.compose import Compose


@pytest.fixture
def row(make_row):
    def make(note: Any = None, **columns: Any) -> Row:
        turns = {"prompt": (Message("user", "Name {{ a }} metal."),)}
        found: Row = make_row("prompt", turns, extra=json.dumps(columns) if columns else None)
        return found._replace(notes=json.dumps({"attributes": note}) if note else None)

    return make


def driven(step: Compose, rows: list[Row], *said: str | Reply) -> tuple[Any, Any]:
    work = step.make(rows)
    try:
        asked = next(work)
    except StopIteration as end:
        return end.value, []
    try:
        work.send([Reply(text=one) if isinstance(one, str) else one for one in said])
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("it asks again")


NOTE = {
    "group": 3,
    "cells": [{"topic": "law", "style": "terse"}, {"topic": "art", "style": "full"}],
    "texts": [{"style": "In one line."}, {"style": "At length."}],
}


def test_cells_and_columns_fill_the_prompt_and_rows_are_never_templates(row):
    step = Compose(model="m", template="{{ topic }}|{{ style }}|{{ place }}|{{ instruction }}")
    made, asked = driven(step, [row(NOTE, place="here {{ b }}")], " One? ", "Two?")
    assert [ask.messages[0].content for ask in asked] == [
        "law|In one line.|here {{ b }}|Name {{ a }} metal.",
        "art|At length.|here {{ b }}|Name {{ a }} metal.",
    ]
    # Each of several rows is a sample of its own, even where their prompts are equal.
    assert [ask.sample for ask in asked] == [0, 1]
    assert [one.fields["prompt"][0].content for one in made] == ["One?", "Two?"]
    assert json.loads(made[0].extra) == {"place": "here {{ b }}", "topic": "law", "style": "terse"}


def test_a_bad_reply_fails_its_own_row(row):
    cut = Reply(text="Half of", finish_reason="length", key="k")
    made, _ = driven(Compose(model="m", template="{{ topic }}"), [row(NOTE)], cut, " ")
    assert all(isinstance(one, Failed) for one in made)
    assert made[0].reply == cut
    assert "cut off" in str(made[0].error)


def test_without_a_model_the_filled_prompt_is_the_instruction(row):
    made, asked = driven(Compose(template="About {{ topic }}."), [row(NOTE)])
    assert asked == []
    assert made[1].fields["prompt"][0].content == "About art."


def test_a_column_is_added_and_the_row_stays(row):
    step = Compose(model="m", prompt="persona", column="persona")
    (made,), (asked,) = driven(step, [row(origin="x")], "A potter who reads.")
    assert "Name {{ a }} metal." in asked.messages[0].content
    assert json.loads(made.extra) == {"origin": "x", "persona": "A potter who reads."}
    assert made.fields["prompt"][0].content == "Name {{ a }} metal."
    assert step.kinds_made(frozenset({"sft"})) == {"sft"}


def test_a_variable_that_nothing_fills_is_named(row):
    with pytest.raises(ValueError, match=r"no 'colour' for the prompt; there are: .*topic"):
        driven(Compose(template="{{ colour }}"), [row(NOTE)])


def test_rows_of_one_seed_are_a_group(row):
    step = Compose(template="x")
    assert step.key(row(NOTE)) == "3"
    assert step.key(row()) == row().id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "one of them"),
        ({"prompt": "persona", "template": "x"}, "one of them"),
        ({"template": "x", "column": "y"}, "model must name one"),
        ({"template": "{% if %}"}, "template is not valid"),
        ({"prompt": "nowhere"}, "there is no prompt"),
    ],
)
def test_what_cannot_be_filled_is_refused_before_the_run(fields, message):
    with pytest.raises(ValueError, match=message):
        step = Compose(**fields)
        step.check()
        step.prepare()


def test_a_changed_prompt_file_is_another_step(tmp_path: Path):
    own = tmp_path / "own.md"
    head = "---\nname: own\nversion: 1\nsource: me\nvariables: [topic]\n---\n"
    own.write_text(head + "About {{ topic }}")
    before = Compose(prompt=str(own)).fingerprint()
    own.write_text(head + "Of {{ topic }}")
    assert Compose(prompt=str(own)).fingerprint() != before


def test_reasoning_and_control_characters_are_no_instruction(row):
    step = Compose(model="m", template="{{ topic }}")
    made, _ = driven(step, [row(NOTE)], "<think>\nhm\n</think>\n\nWrite it.", "Write \x1b[2J")
    assert made[0].fields["prompt"][0].content == "Write it."
    assert isinstance(made[1], Failed)


def test_a_column_of_the_row_is_not_replaced(row):
    with pytest.raises(ValueError, match="a column 'topic' already"):
        driven(Compose(model="m", template="x"), [row(NOTE, topic="mine")])
    with pytest.raises(ValueError, match="a column 'persona' already"):
        driven(Compose(model="m", template="x", column="persona"), [row(persona="mine")])
    same = {**NOTE, "cells": NOTE["cells"][:1]}
    made, _ = driven(Compose(model="m", template="x"), [row(same, topic="law")], "One?")
    assert json.loads(made[0].extra) == {"topic": "law", "style": "terse"}
