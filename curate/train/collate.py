"""Examples as batches: padded on the right, every label as the mask found it.

A batch of answers lies flat, one sequence after the other; `group` says which prompt each has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from curate.models.inprocess.chat import IGNORED
from curate.row import seed_of
from curate.train.examples import Example

Batch = dict[str, Tensor]
Row = Mapping[str, Any]


def dataset_of(
    examples: Sequence[Example],
    *,
    flat: bool,
    weighted: bool = False,
    mask_past: float = 0.0,
    neighbours: bool = False,
) -> Dataset:
    """Return examples as a table: `flat` with one sequence a row, else with a list of answers.

    Of a flat row, the share of past tokens to be hidden is drawn from 0 to `mask_past`. With
    `neighbours` each row also has its prompt with the answer of the row before it.
    """
    if flat:
        columns: dict[str, Any] = {
            "input_ids": [e.answers[0].ids for e in examples],
            "labels": [e.answers[0].labels for e in examples],
        }
        if weighted:
            columns["weight"] = [e.weight for e in examples]
        if mask_past:
            draws = [random.Random(seed_of("mask_past", e.row)).random() for e in examples]
            columns["mask_past"] = [draw * mask_past for draw in draws]
        return Dataset.from_dict(columns)
    return Dataset.from_dict(
        {
            "ids": [[a.ids for a in e.answers] for e in examples],
            "labels": [[a.labels for a in e.answers] for e in examples],
            "scores": [list(e.scores) for e in examples],
            "wanted": [bool(e.label) for e in examples],
            # A label that nobody gave is that chosen is better.
            "p_chosen": [1.0 if e.p_chosen is None else e.p_chosen for e in examples],
            "margin": [e.margin or 0.0 for e in examples],
            **(crossed(examples) if neighbours else {}),
        }
    )


def crossed(examples: Sequence[Example]) -> dict[str, Any]:
    """Return columns of KTO's KL term: each prompt with the answer of the example before it."""
    found: dict[str, Any] = {"kl_ids": [], "kl_labels": []}
    for number, example in enumerate(examples):
        own, other = example.answers[0], examples[number - 1].answers[0]
        start, begin = own.prompt_length, other.prompt_length
        found["kl_ids"].append(own.ids[:start] + other.ids[begin:])
        found["kl_labels"].append([IGNORED] * start + other.labels[begin:])
    return found


def dataset_of_steps(
    steps: Sequence[Sequence[Example]], *, flat: bool, weighted: bool = False
) -> Dataset:
    """Return steps as a table, a row for each with the examples that it learns."""
    whole = dataset_of([one for step in steps for one in step], flat=flat, weighted=weighted)
    rows, sliced, start = whole.to_list(), [], 0
    for step in steps:
        sliced.append({STEP_COLUMN: rows[start : start + len(step)]})
        start += len(step)
    return Dataset.from_list(sliced)


STEP_COLUMN = "examples"
ANSWER_COLUMNS = ["ids", "labels", "scores", "wanted", "p_chosen", "margin", "kl_ids", "kl_labels"]


def padded(ids: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], pad: int) -> Batch:
    """Return sequences and labels as tensors of one length."""
    length = max(map(len, ids))
    return {
        "input_ids": torch.tensor([[*row, *[pad] * (length - len(row))] for row in ids]),
        "attention_mask": torch.tensor([[1] * len(r) + [0] * (length - len(r)) for r in ids]),
        "labels": torch.tensor([[*row, *[IGNORED] * (length - len(row))] for row in labels]),
    }


@dataclass
class Stepwise:
    """Collate the examples of whole steps, as `inner` does those of a batch."""

    inner: Callable[[Sequence[Row]], Batch]

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return a batch."""
        return self.inner([example for row in rows for example in row[STEP_COLUMN]])


@dataclass
class Sequences:
    """Collate one sequence per example, with its weight.

    The tokens that a row hides from attention (Liu et al. 2023, arXiv 2302.02676) depend on the row
    alone, so that a run that was stopped and continued hides the same ones.
    """

    pad: int

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return a batch."""
        batch = padded([r["input_ids"] for r in rows], [r["labels"] for r in rows], self.pad)
        if "weight" in rows[0]:
            batch["weight"] = torch.tensor([float(row["weight"]) for row in rows])
        for place, row in enumerate(rows):
            if rate := row.get("mask_past"):
                draw = random.Random(seed_of(*row["input_ids"]))
                # The first token stays: every position needs one to attend to.
                hidden = [n for n in range(1, len(row["input_ids"])) if draw.random() < rate]
                batch["attention_mask"][place, hidden] = 0
        return batch


@dataclass
class Answers:
    """Collate several answers per example, best first; those of a pair as chosen, then rejected."""

    pad: int
    pairs: bool = False

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return a batch."""
        flat = [(g, k) for g, row in enumerate(rows) for k in range(len(row["ids"]))]
        if self.pairs:
            flat.sort(key=lambda place: place[1])
        batch = padded(
            [rows[g]["ids"][k] for g, k in flat], [rows[g]["labels"][k] for g, k in flat], self.pad
        )
        batch["group"] = torch.tensor([g for g, _ in flat])
        batch["score"] = torch.tensor([rows[g]["scores"][k] for g, k in flat])
        for name in ("p_chosen", "margin"):
            batch[name] = torch.tensor([float(row[name]) for row in rows])
        return batch


@dataclass
class Marked:
    """Collate KTO's answers, and each prompt with the answer of its neighbour."""

    pad: int

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Return a batch."""
        own = padded([row["ids"][0] for row in rows], [row["labels"][0] for row in rows], self.pad)
        other = padded(
            [row["kl_ids"] for row in rows], [row["kl_labels"] for row in rows], self.pad
        )
        batch = {}
        for prefix, part in (("", own), ("KL_", other)):
            batch[f"{prefix}input_ids"] = part["input_ids"]
            batch[f"{prefix}attention_mask"] = part["attention_mask"]
            batch[f"{prefix}completion_mask"] = (part["labels"] != IGNORED).long()
        batch["label"] = torch.tensor([bool(row["wanted"]) for row in rows])
        return batch
