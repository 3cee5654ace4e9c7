"""Other words for the same task: as often as planned, answers untouched."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Reply
from curate.row import Message
from curate.step import Failed, Made
from curate.steps.generate.attributes import Attributes
from curate.steps.generate.vary import Vary

CELLS = {
    "style": {"texts": {"terse": "Be brief.", "kind": "Be kind."}, "weights": {"terse": 3}},
    "opening": {"categories": {"Quick one:": 1, "For my homework:": 1}},
    "wording": {
        "texts": {"bare": "{instruction}", "polite": "Could you help? {instruction} Thank you!"},
        "weights": {"bare": 4},
    },
}


def test_counts_per_wording_are_as_planned_and_answers_stay(tmp_path: Path):
    rows = [{"messages": [{"role": "user", "content": f"Task {{x}} {n}"},
                          {"role": "assistant", "content": f"Answer {n}"}]}
            for n in range(100)]  # fmt: skip
    step = Vary(system="style", preamble="opening", wording="wording")
    pipeline = Pipeline([Attributes(cells=CELLS), step])
    done = pipeline.run(rows, run=tmp_path / "run", store=tmp_path / "store")
    kept = list(done.kept)
    assert len(kept) == 100 == done.summary["used"]
    turns = [[turn.content for turn in row.messages] for row in kept]
    assert Counter(system for system, *_ in turns) == {"Be brief.": 75, "Be kind.": 25}
    assert Counter(text.split("\n\n")[0] for _, text, _ in turns) == {
        "Quick one:": 50,
        "For my homework:": 50,
    }
    polite = [text for _, text, _ in turns if text.endswith("Thank you!")]
    assert len(polite) == 20
    assert "Could you help? Task {x} " in polite[0]
    assert [answer for *_, answer in turns] == [f"Answer {n}" for n in range(100)]
    columns = Counter(json.loads(row.extra or "{}")["wording"] for row in kept)
    figures = done.summary["figures"]["attributes"]
    assert columns == {"bare": 80, "polite": 20}
    assert figures["wording=bare"] == 80
    assert [len(row.parents) for row in kept] == [1] * 100


def driven(step: Vary, row: Any, *said: str | Reply) -> tuple[Any, Any]:
    work = step.make(row)
    asked = next(work)
    try:
        work.send([Reply(text=one) if isinstance(one, str) else one for one in said])
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("it asks again")


def noted(row: Any, cells: list[dict[str, str]]) -> Any:
    return row._replace(notes=json.dumps({"attributes": {"group": 0, "cells": cells}}))


def test_a_model_says_it_in_the_manner_planned_and_fails_alone(conversation):
    row = noted(conversation("Name a metal.", "Iron."), [{"how": "as a child"}, {"how": "curtly"}])
    step = Vary(wording="how", model="m")
    made, asked = driven(step, row, "What is a shiny thing called?", " ")
    assert ["as a child" in asked[0].messages[0].content, "curtly" in asked[1].messages[0].content]
    assert isinstance(made[0], Made)
    assert [turn.content for turn in made[0].record.fields["messages"]] == [
        "What is a shiny thing called?",
        "Iron.",
    ]
    assert isinstance(made[1], Failed)


def test_a_row_with_a_system_prompt_is_not_changed_unasked(conversation):
    row = noted(conversation("Name it.", "Iron.", system="Be odd."), [{"style": "Be brief."}])
    with pytest.raises(ValueError, match="replace: true"):
        next(Vary(system="style").make(row))
    with pytest.raises(StopIteration) as end:
        next(Vary(system="style", replace=True).make(row))
    turns = end.value.value[0].record.fields["messages"]
    assert turns[0] == Message("system", "Be brief.")
    assert len(turns) == 3


def test_what_is_missing_is_named(conversation):
    row = conversation("Name it.", "Iron.")
    with pytest.raises(ValueError, match="no plan of a step 'attributes'"):
        next(Vary(system="style").make(row))
    with pytest.raises(ValueError, match="the plan has no 'style'; it has way"):
        next(Vary(system="style").make(noted(row, [{"way": "x"}])))
    with pytest.raises(StopIteration) as end:
        next(Vary(wording="way").make(noted(row, [{"way": "no place"}])))
    assert "holds no {instruction}" in str(end.value.value[0].error)
    with pytest.raises(ValueError, match="must name an attribute"):
        Vary().check()


def test_reasoning_and_control_characters_are_no_wording(conversation):
    row = noted(conversation("Name it.", "Iron."), [{"how": "a"}, {"how": "b"}, {"how": "c"}])
    said = ("<think>\nhm\n</think>\n\nSay it.", "Say \x1b[2J", "ha " * 100)
    made, _ = driven(Vary(wording="how", model="m"), row, *said)
    assert made[0].record.fields["messages"][0].content == "Say it."
    assert [type(one) for one in made[1:]] == [Failed, Failed]


def test_a_column_of_the_row_is_not_replaced(conversation):
    row = noted(conversation("Name it.", "Iron."), [{"how": "curtly"}])
    step = Vary(wording="how", model="m")
    with pytest.raises(ValueError, match="a column 'how' already"):
        next(step.make(row._replace(extra='{"how": "mine"}')))
    made, _ = driven(step, row._replace(extra='{"how": "curtly"}'), "Name!")
    assert isinstance(made[0], Made)
