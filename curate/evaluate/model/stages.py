"""The runs of one evaluation: each a pipeline in a folder of its own, all under one spending.

What one run hands to the next is a file between them, so that everything can be looked at, and the
same command goes on after a stop without asking anything twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.pipeline import Pipeline, Result
from curate.row import Row
from curate.runs.folder import RunFolder
from curate.step import Step
from curate.system.posix import write_atomically

# Groups that are measured apart, and the columns that name them.
GROUPS = {"category": ("category", "dataset", "task"), "language": ("language", "lang")}
# What runs a pipeline: `Pipeline.run` with a user's options, or the command line with its flags.
Runner = Callable[..., Result]


class Stages:
    """The runs of an evaluation in one folder; `results` are those that ended, in order."""

    def __init__(self, folder: Path, models: Mapping[str, Any], run: Runner) -> None:
        """Keep the runs below `folder`; steps know `models` by these names."""
        self.folder, self.models = folder, dict(models)
        self._run = run
        self.results: list[Result] = []

    def run(self, name: str, steps: Sequence[Step], inputs: Any, **options: Any) -> Result:
        """Run `steps` over `inputs` (paths) in the folder `name`.

        Spending counts together with that of all other runs of the evaluation.
        """
        folder = self.folder / name
        RunFolder(folder).share_spending(RunFolder(self.folder / ".spending"))
        named = {model for step in steps for model in step.reads_models()}
        models = {key: spec for key, spec in self.models.items() if key in named}
        pipeline = Pipeline(list(steps), models=models or None, inputs=inputs)
        result = self._run(pipeline, run=folder, **options)
        self.results.append(result)
        return result

    def write(self, name: str, records: Iterable[Mapping[str, Any]]) -> str:
        """Write what the next run reads; return the path.

        Raises:
            UsageError: there is nothing to write, as all rows before failed.
        """
        lines = [json.dumps(one, ensure_ascii=False) for one in records]
        if not lines:
            raise UsageError(
                f"{self.folder} has nothing for '{name}': no row came out of the run before; "
                f"`curate explain {self.results[-1].folder}` shows why"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.jsonl"
        write_atomically(path, "\n".join(lines) + "\n")
        return str(path)


def column(row: Row, *names: str) -> str:
    """Return what stands in the first of these columns that has anything, `-` for nothing."""
    columns = json.loads(row.extra or "{}")
    found = (columns[name] for name in names if columns.get(name) not in (None, "", [], {}))
    return str(next(found, "-"))
