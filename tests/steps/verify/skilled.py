"""Scripted models whose skill is known: how many of their answers to each prompt are right."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate import Pipeline
from curate.pipeline import Result
from curate.step import Step


def script(path: Path, replies: Mapping[str, Sequence[str]], **model: Any) -> dict[str, Any]:
    """Return a model that answers the prompts that hold each key with its replies, by sample."""
    lines = [{"when": {"contains": key}, "reply": list(own)} for key, own in replies.items()]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return {"model": f"scripted:{path}", "max_tokens": 64, **model}


def answers_of(right: int, of: int, gold: int = 7) -> list[str]:
    """Return `of` answers, `right` of them right, spread evenly among the others."""
    good = {round(place * of / right) for place in range(right)} if right else set()
    return [f"So it is {n}.\n#### {gold if n in good else gold + 1 + n}" for n in range(of)]


def run(steps: Sequence[Step], rows: Any, path: Path, model: Any, name: str = "run") -> Result:
    """Run steps that ask the model `m`; all runs below `path` share a store."""
    return Pipeline(list(steps), models={"m": model}).run(
        rows, run=path / name, store=path / "store", allow_failed=1
    )
