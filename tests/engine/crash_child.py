"""Run a recipe of contract steps and die at a chosen instant: `crash_child.py FOLDER PLAN`.

PLAN is JSON: `{"recipe": ..., "rows": N, "phase": ..., "call": N, "after": bool}`; the process
kills itself (SIGKILL, nothing is cleaned up) before or after the N-th call of the phase. Phase
null runs to the end. A recipe is one of those below, or `twin:NAME`, whose YAML and rows lie in
the folder.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from curate.errors import CurateError
from tests.engine.contract_steps import (
    Couples,
    Fragile,
    Judge,
    Many,
    Modulo,
    Novel,
    TwoReplies,
    numbered,
)
from tests.engine.trial_steps import BestAnswer, Samples, Shots

RECIPES: dict[str, Callable[[], list[Any]]] = {
    "asking": lambda: [
        Fragile(),
        Judge(at_least=2.0),
        Modulo(divisor=150),
        TwoReplies(keep_parent=True),
        Many(),
        Couples(groups=50),
    ],
    "trial": lambda: [
        Samples(samples=2, bad="second 1"),
        BestAnswer(size=2),
        Shots(group_size=3),
    ],
    "growing": lambda: [Novel(target=40, round_size=4, patience=9), Fragile()],
}


def die_at(phase: str, call: int, after: bool) -> None:
    """Arrange to be killed before or after the `call`-th call of `phase`."""
    import curate.engine.output.run_files
    import curate.engine.reading
    import curate.runs.folder
    import curate.store.replies
    import curate.store.store

    owner: Any
    owner, name = {
        "reading": (curate.engine.reading, "read_part"),
        "store commit": (curate.store.replies, "save_replies"),
        "round": (curate.store.store.Store, "put_value"),
        "writing": (curate.engine.output.run_files, "write_table"),
        "rename": (pathlib.Path, "rename"),
        "replace": (os, "replace"),
    }[phase]
    original, calls = getattr(owner, name), 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        out = original(*args, **kwargs)
        if calls == call and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return out

    setattr(owner, name, deadly)


def main() -> int:
    """Run the plan."""
    from curate import Pipeline

    folder, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    # Errors name the scripted file as the recipe does: relative, so that folders compare.
    os.chdir(folder)
    if plan.get("phase"):
        die_at(plan["phase"], plan["call"], plan["after"])
    models = {
        name: {"model": f"scripted:{name}.jsonl", "identity": name, "log": str(folder / "sent.log")}
        for name in ("judge", "writer")
    }
    if plan["recipe"].startswith("twin:"):
        pipeline, rows = Pipeline.from_yaml("recipe.yaml"), None
    else:
        pipeline = Pipeline(RECIPES[plan["recipe"]](), models=models)
        rows = numbered(plan["rows"])
    try:
        result = pipeline.run(rows, run=folder / "run", store=folder / "store", concurrency=8)
    except CurateError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
