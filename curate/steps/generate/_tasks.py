"""Tasks as Self-Instruct sees them: an instruction and, apart from it, its input."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from curate.row import Message, Record, Row
from curate.system import package_data

# The columns that keep apart what a user's turn joins, and the mark of classification.
TASK, INPUT, CLASSIFICATION = "task", "task_input", "is_classification"
# What the rows of shipped seeds have for a source: no run has read them.
SHIPPED = "shipped seeds"


class SeedTask(NamedTuple):
    """A task with its input and output, each empty where there is none."""

    task: str
    input: str = ""
    output: str = ""
    is_classification: bool = False


def task_of(row: Row) -> SeedTask:
    """Return a row's task; without columns that tell them apart the whole instruction is it."""
    columns: Mapping[str, Any] = json.loads(row.extra) if row.extra else {}
    marked = columns.get(CLASSIFICATION) is True
    response = row.response if row.kind == "sft" else ""
    if isinstance(columns.get(TASK), str):
        return SeedTask(columns[TASK], str(columns.get(INPUT) or ""), response, marked)
    return SeedTask(row.instruction, "", response, marked)


def conversation(task: SeedTask, extra: str | None = None) -> Record:
    """Return a task, its input and its output as a conversation; `extra` columns travel along."""
    columns = json.loads(extra) if extra else {}
    columns |= {TASK: task.task, INPUT: task.input}
    columns |= {CLASSIFICATION: True} if task.is_classification else {}
    user = "\n\n".join(filter(None, (task.task, task.input)))
    turns = (Message("user", user), Message("assistant", task.output))
    return Record("sft", {"messages": turns}, json.dumps(columns, ensure_ascii=False))


def seed_file() -> Path:
    """Return the file of the 175 tasks that people wrote for Self-Instruct (Apache-2.0)."""
    return package_data.folder("pipelines") / "data" / "seed_tasks.jsonl.gz"


@functools.cache
def shipped_seeds() -> tuple[Row, ...]:
    """Return the shipped seeds as rows, which are called as their authors called them."""
    with gzip.open(seed_file(), "rt", encoding="utf-8") as file:
        given = [json.loads(line) for line in file]
    seeds = [SeedTask(g[TASK], g[INPUT], g["output"], g[CLASSIFICATION]) for g in given]
    return tuple(
        Row(one["id"], (0, 0, number), made.kind, made.fields, SHIPPED, made.extra)
        for number, (one, made) in enumerate(zip(given, map(conversation, seeds), strict=True))
    )


def seed_digest() -> str:
    """Return a digest of the shipped seeds, which stands for them where steps are compared."""
    return hashlib.blake2b(seed_file().read_bytes(), digest_size=16).hexdigest()
