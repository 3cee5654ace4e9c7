"""Real rows as a consumer gets them, and how the part of it that reads a file is imported."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from curate.row import Candidate, Message, Row
from curate.write import write_rows
from tests.write.rows import row, table

EXAMPLES = Path(__file__).resolve().parents[3] / "pipelines" / "data"
COUNT = 24


def records(name: str) -> list[dict[str, Any]]:
    """Return the first records of a file of the example data."""
    with gzip.open(EXAMPLES / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line, _ in zip(file, range(COUNT), strict=False)]


def messages(turns: Iterable[dict[str, str]]) -> tuple[Message, ...]:
    return tuple(Message(turn["role"], turn["content"]) for turn in turns)


def real_rows(kind: str) -> list[Row]:
    """Return rows of a kind: conversations, or what the pairs of the example data make of it."""
    extra = '{"origin":"example"}'
    if kind == "sft":
        talks = [r["messages"] for r in records("chat") if r["messages"][-1]["role"] == "assistant"]
        fields: list[dict[str, Any]] = [{"messages": messages(talk)} for talk in talks]
        fields.append({"messages": (Message("system", "Be brief."), *messages(talks[0]))})
    else:
        fields = [
            {
                **{name: messages(record[name]) for name in ("prompt", "chosen", "rejected")},
                "margin": 0.5,
                "p_chosen": 0.25,
            }
            for record in records("pairs")
        ]
    if kind == "prompt":
        fields = [{"prompt": one["prompt"]} for one in fields]
    if kind == "ranked":
        fields = [
            {
                "prompt": one["prompt"],
                "candidates": (Candidate(one["chosen"], 1.0, "a"), Candidate(one["rejected"], 0.0)),
            }
            for one in fields
        ]
    if kind == "unpaired":
        fields = [
            {"prompt": one["prompt"], "completion": one[side], "label": side == "chosen"}
            for one in fields
            for side in ("chosen", "rejected")
        ]
    return [row(kind, number, extra, **one) for number, one in enumerate(fields)]


def exported(shape: str, kind: str, folder: Path, ending: str = "jsonl") -> Path:
    """Write real rows of a kind in a shape; return the file."""
    path = folder / f"{shape}.{ending}"
    write_rows([table(*real_rows(kind))], path, shape)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def part_of(package: str, module: str) -> ModuleType:
    """Import one module of an installed package without running the package's own `__init__`.

    LLaMA-Factory and Axolotl are applications: importing them whole wants audio, video and GPU
    packages, while the code that reads a data file wants none of them.
    """
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (make consumers)")
    names = module.split(".")
    for depth in range(1, len(names)):
        name = ".".join(names[:depth])
        if name not in sys.modules:
            found = importlib.util.find_spec(name)
            assert found is not None
            bare = importlib.util.module_from_spec(found)
            sys.modules[name] = bare
    return importlib.import_module(module)
