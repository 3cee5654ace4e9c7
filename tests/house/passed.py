"""Count the files of `curate` that a warm run passes: what a reader must open to follow one row.

Run it as a script to list them: `python -m tests.house.passed length|rubric|semantic`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.house.places import PACKAGE

ROWS = [
    {"instruction": f"Name {n} things that are {colour}.", "output": f"{n}: a {colour} one. " * n}
    for n, colour in enumerate(["red", "green", "blue", "black"] * 5, 1)
]


def _length(folder: Path) -> Callable[[str], Any]:
    from curate import Pipeline
    from curate.steps import Length

    pipeline = Pipeline([Length(min=3)])
    return lambda name: pipeline.run(ROWS, run=folder / name, store=folder / "store")


def _rubric(folder: Path) -> Callable[[str], Any]:
    from curate import Pipeline
    from curate.steps import Rubric

    replies = folder / "replies.jsonl"
    replies.write_text(
        json.dumps({"when": {}, "reply": "<score>4</score>"}) + "\n", encoding="utf-8"
    )
    pipeline = Pipeline(
        [Rubric(model="judge", at_least=3)], models={"judge": f"scripted:{replies}"}
    )
    return lambda name: pipeline.run(ROWS, run=folder / name, store=folder / name / "store")


def _semantic(folder: Path) -> Callable[[str], Any]:
    from curate import Pipeline
    from curate.steps import Semantic

    texts = {
        row["instruction"]: [float(n % 5 == k) for k in range(5)] for n, row in enumerate(ROWS)
    }
    lines = [{"when": {"contains": text}, "values": [vector]} for text, vector in texts.items()]
    replies = folder / "vectors.jsonl"
    replies.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    pipeline = Pipeline(
        [Semantic(similarity=0.9, on="instruction", encoder="e")],
        encoders={"e": f"scripted:{replies}"},
    )
    return lambda name: pipeline.run(ROWS, run=folder / name, store=folder / name / "store")


RUNS = {"length": _length, "rubric": _rubric, "semantic": _semantic}


def files_passed(kind: str) -> list[str]:
    """Return the files whose functions a second run of the recipe calls, in all its threads."""
    seen: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            seen.add(frame.f_code.co_filename)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = RUNS[kind](folder)
        (folder / "warm").mkdir()
        run("cold")
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            run("hot")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    root = str(PACKAGE.parent)
    inside = (path for path in seen if path.startswith(str(PACKAGE)))
    return sorted(path.removeprefix(root).lstrip("/") for path in inside)


if __name__ == "__main__":
    passed = files_passed(sys.argv[1])
    sys.stdout.write("\n".join([*passed, f"{len(passed)} files", ""]))
