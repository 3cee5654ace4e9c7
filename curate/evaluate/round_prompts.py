"""The prompts of a training in rounds: read once, each asked once, and some of them held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from curate.errors import UsageError
from curate.read.shapes.record_fields import TEMPLATE_COLUMNS, turns_of
from curate.row import Row, seed_of
from curate.train.data import extras, hold_out, prompt_key, prompt_turns, read_data
from curate.train.job import Job
from curate.train.preflight import Checked, check
from curate.train.settings import TrainingSettings, method_called
from curate.train.training import chat_of
from curate.train.weights import base_model

# A column of a prompt that says which row it was taken from.
TAKEN_FROM = "source_row"


class RoundPrompts(NamedTuple):
    """Prompts to learn from and held-out ones, how many were repeated, and what the check found."""

    learnt: list[Row]
    held_out: list[Row]
    repeated: int
    checked: Checked


def read_prompts(job: Job) -> RoundPrompts:
    """Return the prompts of a job's data, whatever kind its rows have.

    A prompt that is there twice is asked once, and one that is held out is not learnt from.

    Raises:
        UsageError: the data or the model cannot be read, or a row has tools.
    """
    asking, settings = method_called("rloo"), job.settings
    data = read_data(job.data, asking, job.shape)
    data = hold_out(data, settings.held_out, asking, settings.seed)
    held_out = {prompt_key(row): row for row in reversed(data.held_out)}
    learnt = {prompt_key(row): row for row in reversed(data.rows)}
    sides = [
        [row for key, row in reversed(learnt.items()) if key not in held_out],
        list(reversed(held_out.values())),
    ]
    for row in (*sides[0], *sides[1]):
        if found := [name for name in TEMPLATE_COLUMNS if extras(row).get(name)]:
            raise UsageError(
                f"row {row.id} has a column '{found[0]}', which a model that is sampled in rounds "
                "is not shown; train with grpo or rloo, which show it, or leave the column out"
            )
    repeated = len(data.rows) + len(data.held_out) - sum(map(len, sides))
    chat = chat_of(base_model(job.model), settings.template)
    checked = check(data._replace(rows=sides[0], held_out=sides[1]), chat, asking, settings)
    usable = {example.row for example in (*checked.examples, *checked.held_out)}
    kept = [[row for row in rows if row.id in usable] for rows in sides]
    return RoundPrompts(kept[0], kept[1], repeated, checked)


def of_round(prompts: Sequence[Row], settings: TrainingSettings, number: int) -> list[Row]:
    """Return the prompts of a round: all, or the next `generation.prompts` in shuffled order."""
    size = settings.generation.prompts
    if size is None or size >= len(prompts):
        return list(prompts)
    order = sorted(prompts, key=lambda row: seed_of("round", row.id, settings.seed))
    start = (number - 1) * size
    places = sorted((start + n) % len(order) for n in range(size))
    return [order[place] for place in places]


def prompt_line(row: Row) -> str:
    """Return a prompt as a line of JSON, with its columns and the row that it was taken from."""
    own = {"prompt": turns_of(prompt_turns(row)), TAKEN_FROM: row.id}
    # A column may be called so, too, as the first turn is in UltraChat.
    return json.dumps({**own, **extras(row), **own}, ensure_ascii=False) + "\n"
