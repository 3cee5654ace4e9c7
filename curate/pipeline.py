"""The Python face: a pipeline that runs, and the result that it leaves.

A `Pipeline` is a recipe that can be checked, changed and run; a `Result` reads the files of a run
folder when asked, so it costs nothing to hold and is the same object whether the run ended a second
or a month ago.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never, Self

from curate.errors import UsageError
from curate.read.finished_runs import description_of, note_of
from curate.recipe.function import Function
from curate.recipe.recipe import Recipe
from curate.runs.report import Failure, render, score_distributions
from curate.runs.rows import Rows
from curate.step import Step
from curate.system.credentials import is_address

if TYPE_CHECKING:
    from curate.engine.options import Progress, RunOptions
    from curate.publish import Pushed
    from curate.runs.explain import RowHistory
    from curate.runs.lookup import Examples


def _watched(
    progress: Callable[[Progress], None] | None,
) -> contextlib.AbstractContextManager[Callable[[Progress], None] | None]:
    """Give who listens to a run: in a notebook, where nobody else does, a line below the cell."""
    if progress is not None or "IPython" not in sys.modules:
        return contextlib.nullcontext(progress)
    from curate.engine.notebook_progress import notebook_progress

    return notebook_progress()


class Pipeline(Recipe):
    """A recipe that can be run: its steps, models, encoders, inputs, outputs and seed."""

    def check(self, kinds: Iterable[str] | None = None) -> None:
        """Raise `RecipeError` for whatever can be known to be wrong before anything is read.

        `kinds` are the record kinds that the inputs hold, where they are known.
        """
        from curate.recipe.check import check

        check(self.resolved(), kinds)

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """Return the pipeline with some values replaced, each named by its path.

        A path is `seed`, `steps.LABEL.FIELD` (or a step's number), `models.NAME.KEY` and so on.
        """
        from curate.recipe.overrides import with_settings

        return with_settings(self, settings)

    def run(
        self,
        inputs: Any = None,
        *,
        run: str | Path | None = None,
        store: str | Path | None = None,
        limit: int | None = None,
        max_cost: float | None = None,
        max_requests: int | None = None,
        dry_run: bool = False,
        workers: int | None = None,
        chunk_rows: int = 4096,
        concurrency: int | None = None,
        replace: bool = False,
        retry_failed: bool = False,
        pay_again: bool = False,
        allow_failed: float = 0.0,
        shape: str | None = None,
        output: str | Path | None = None,
        output_shape: str | None = None,
        engine: str = "local",
        address: str | None = None,
        progress: Callable[[Progress], None] | None = None,
        **unknown: Never,
    ) -> Result:
        """Run the recipe on `inputs` (its own, if none are given) and return the result.

        Args:
            inputs: A path, a list of dicts, a pandas DataFrame or a `datasets.Dataset`.
            run: The run folder; by default one below `runs/`, by the recipe's name or its content.
            store: The folder of stored replies (`.curate`).
            limit: Read the first rows only.
            max_cost: Never spend more US dollars in this run folder.
            max_requests: Never send more requests in this run folder.
            dry_run: Check everything and say what would be asked; `summary` of the result has it.
            workers: Threads or processes at most; all cores by default.
            chunk_rows: Rows that steps see at once; it changes no result.
            concurrency: Requests under way at once, at most; it changes no result.
            replace: Replace another run in the folder; its spending still counts.
            retry_failed: Ask again where a stored reply was unusable.
            pay_again: Pay again for what the run's store has lost; it is refused by default.
            allow_failed: The share of rows that may fail before `exit_code` is 1.
            shape: Read inputs in this shape; it is found out by default.
            output: A file for the kept rows, beside the run folder.
            output_shape: The shape of `output`; by default that of the inputs.
            engine: Where steps run: `local`, or `ray` for the nodes of a Ray cluster.
            address: The Ray cluster's HOST:PORT; by default that of `RAY_ADDRESS`, else one of this
                machine alone.
            progress: Called a few times a second with the state of the run; without it a notebook
                shows a line below the cell.
            unknown: Nothing: a name that is none of these is refused.

        Raises:
            UsageError: the recipe, the inputs or the options are wrong; nothing was spent.
            CeilingReached: the next request could pass a ceiling.
            StoppedShort: the disk is full, the store or a server failed, or a step cannot decide.
        """
        given = {k: v for k, v in locals().items() if k not in ("self", "inputs", "unknown")}
        from curate.engine.options import options_of, with_python_names

        with with_python_names(), _watched(progress) as listener:
            given["progress"] = listener
            return self._run(inputs, options_of({**given, **unknown}))

    def _run(self, inputs: Any, options: RunOptions, *, outputs: bool = True) -> Result:
        from curate.system.lazy_pandas import leave_pandas_for_later

        leave_pandas_for_later()
        from curate.engine.output.recipe_outputs import write_outputs
        from curate.engine.run import execute

        if isinstance(inputs, str | os.PathLike):
            # A path belongs to the recipe: `run.yaml` says what was read, and can be run again.
            named = dataclasses.replace(self, inputs=os.fspath(inputs))
            return named._run(None, options, outputs=outputs)
        finished = execute(self, inputs, options)
        if self.outputs and outputs and not options.dry_run:
            write_outputs(finished.folder, self, options.output_shape)
        result = Result(*finished, pipeline=self, inputs=inputs)
        if options.dry_run:
            return result
        for step in result.summary["steps"]:
            if step["name"] == Function.name and step["in"] and step["failed"] == step["in"]:
                first = next(f for f in result.failures() if f.step == step["label"])
                raise UsageError(
                    f"the function {step['label']} failed on every row that reached it "
                    f"({step['in']:,}), first with: {first.error}; {result.folder} holds the rows"
                )
        return result


class Result:
    """A finished run.

    `summary` is `report.json`; `exit_code` what the command line returns; `message` says why a run
    fell short, if it did.
    """

    def __init__(
        self,
        folder: Path,
        summary: Mapping[str, Any],
        exit_code: int = 0,
        message: str | None = None,
        *,
        pipeline: Pipeline | None = None,
        inputs: Any = None,
    ) -> None:
        self.folder, self.summary = folder, summary
        self.exit_code, self.message = exit_code, message
        self._pipeline, self._inputs = pipeline, inputs

    @classmethod
    def open(cls, folder: str | Path) -> Result:
        """Open the run in `folder`, or raise `UsageError` when there is no finished one.

        One that is published at an address is copied first, until this process ends.
        """
        path = Path(folder)
        if is_address(folder):
            from curate.publish.run_copy import local_run

            path = local_run(folder)
        report = path / "report.json"
        if not report.is_file():
            if (path / ".state").is_dir():
                raise UsageError(
                    f"{path} holds a run that has not finished (no report.json): the same command "
                    f"continues it, and `curate report {path}` shows what it has spent so far"
                )
            raise UsageError(f"{path} holds no run (no report.json); run its recipe first")
        return cls(path, note_of(report))

    @property
    def kept(self) -> Rows:
        """Rows that passed every step."""
        return Rows(self.folder / "kept")

    @property
    def used(self) -> Rows:
        """Rows that were replaced by the rows made from them."""
        return Rows(self.folder / "used")

    @property
    def dropped(self) -> Rows:
        """Rows that a rule refused."""
        return Rows(self.folder / "dropped")

    @property
    def failed(self) -> Rows:
        """Rows on which a step failed, and lines that could not be read."""
        return Rows(self.folder / "failed")

    def report(self, *, scores: bool = False) -> str:
        """Return the funnel as a text for people.

        With `scores`, it also has how each step's are spread, and what each step has spent.
        """
        from curate.runs.notebook import ReportText

        spread = score_distributions(self.folder, self.recipe["labels"]) if scores else ()
        return ReportText(render(self.summary, self.failures(), spread, by_step=scores))

    def failures(self) -> list[Failure]:
        """Return the errors of failed rows, the most frequent first; unreadable lines have none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from curate.runs.lookup import errors_with_replies

        if not self.summary["failed"]:
            return []
        names = ["step", "error"]
        tables = [pq.read_table(path, columns=names) for path in self.failed.files()]
        if not tables:
            return []
        grouped = pa.concat_tables(tables).group_by(names).aggregate([([], "count_all")])
        found = [Failure(g["step"], g["error"], g["count_all"]) for g in grouped.to_pylist()]
        steps = {failure.step for failure in found} - {"read"}
        replied = {step: errors_with_replies(self.folder, step) for step in steps}
        failures = [
            failure._replace(replied=failure.error in replied[failure.step])
            for failure in found
            if failure.step in steps
        ]
        return sorted(failures, key=lambda f: (-f.rows, f.step, f.error))

    def explain(self, row: str) -> RowHistory:
        """Return the history of the row whose id begins with `row`."""
        from curate.runs.explain import explain

        return explain(self.folder, row)

    def examples(self, most: int = 3, step: str | None = None) -> list[Examples]:
        """Return every reason for which rows were dropped or failed, with `most` rows of each.

        With a `step` (its label) only its own: the rows whose scores are closest to its rule, each
        with the kept row that it was compared with.
        """
        from curate.runs.lookup import examples

        return examples(self.folder, self.recipe["labels"], most, step)

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe, inputs and versions, as `run.yaml` holds them."""
        return description_of(self.folder)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that made this run."""
        if self._pipeline is None:
            import yaml

            from curate.recipe.step_file import check_unchanged

            # A run may be somebody else's, and its recipe names files that would be run.
            check_unchanged(self.recipe)
            self._pipeline = Pipeline.from_yaml(yaml.safe_dump(self.recipe["recipe"]))
        return self._pipeline

    def push_to_hub(
        self,
        name: str,
        *,
        public: bool = False,
        split: str | None = None,
        shape: str | None = None,
        title: str | None = None,
        dry_run: bool = False,
        folder: str | Path | None = None,
    ) -> Pushed:
        """Push the kept rows to the Hugging Face Hub as the dataset `name` (`ORG/NAME`).

        Args:
            name: The dataset; it is made where it is not there.
            public: Whether everybody may see it.
            split: Only the rows that the step `split` put on this side.
            shape: The shape of the records, e.g. `trl_dpo`; by default each kind's own.
            title: The title of its card; by default the recipe's name.
            dry_run: Check everything, make the card, and send nothing.
            folder: Write the dataset to this new folder instead, without asking the Hub.

        Returns:
            Where it is, how many rows it has, its card, and which paths were sent and deleted.

        Raises:
            UsageError: it cannot be written there; nothing was sent.
            StoppedShort: the Hub failed; the same call continues.
        """
        from curate.publish import push, write_dataset

        if folder is not None:
            return write_dataset(
                self.folder, name, Path(folder), split=split, shape=shape, title=title
            )
        return push(
            self.folder,
            name,
            public=public,
            split=split,
            shape=shape,
            title=title,
            dry_run=dry_run,
        )

    def rethreshold(self, **rules: Any) -> Result:
        """Run again with other rules, in a sibling folder, under the same ceilings.

        Each keyword is a step's label; its value is a mapping of rules, or one value where the step
        has one rule only (or one that is set). Stored replies answer what was asked before.
        """
        from curate.engine.options import RunOptions
        from curate.runs.folder import RunFolder
        from curate.system.copies import is_copy

        if is_copy(self.folder):
            raise UsageError(
                f"{self.folder} is a copy that goes with this process, and the new run would go "
                "with it; fetch the run first, curate export ADDRESS --as run -o RUN, and open that"
            )
        pipeline = self.pipeline.resolved()
        if self._inputs is None and pipeline.inputs is None:
            raise UsageError(
                f"{self.folder} was made of rows in memory; run the pipeline again with those rows"
            )
        labels = [step.title for step in pipeline.steps]
        for label in rules:
            if label not in labels:
                raise UsageError(f"no step is labelled '{label}'; this run has {', '.join(labels)}")
        steps = tuple(
            _with_rules(step, rules[step.title]) if step.title in rules else step
            for step in pipeline.steps
        )
        # In a folder beside this run's, which shares its spending.
        text = json.dumps(rules, sort_keys=True, default=str)
        name = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
        folder = RunFolder(self.folder.with_name(f"{self.folder.name}-{name}"))
        try:
            folder.share_spending(RunFolder(self.folder))
        except OSError as error:
            raise UsageError(
                f"{error.filename}: {error.strerror}; other rules make a run beside this one: copy "
                f"{self.folder} to a folder that you may write in, and open the copy"
            ) from error
        given = self.recipe.get("options", {})
        options = RunOptions(
            run=folder.path,
            limit=given.get("limit"),
            max_cost=given.get("max_cost"),
            max_requests=given.get("max_requests"),
            store=Path(given["store"]) if given.get("store") else None,
            shape=given.get("shape"),
        )
        changed = dataclasses.replace(pipeline, steps=steps)
        with _watched(None) as listener:
            options = dataclasses.replace(options, progress=listener)
            return changed._run(self._inputs, options, outputs=False)

    def _repr_html_(self) -> str:
        from curate.runs.notebook import lines_html, summary_html

        # A dry run has an estimate, and no counts.
        if "steps" not in self.summary or "kept" not in self.summary:
            return lines_html(json.dumps(self.summary, indent=1, ensure_ascii=False, default=str))
        return summary_html(self.summary, str(self.folder), self.message)

    def __repr__(self) -> str:
        """Return the folder and the counts."""
        counts = ", ".join(f"{self.summary.get(n)} {n}" for n in ("kept", "dropped", "failed"))
        return f"<Result {self.folder}: {counts}>"


def _with_rules(step: Step, change: Any) -> Step:
    """Return `step` with other rules; `None` as a rule drops nothing."""
    rules = step.rules()
    if not isinstance(change, Mapping):
        # `only` says which rows come in: it is never meant by a value alone.
        own = [name for name in rules if name != "only"]
        set_rules = [name for name in own if getattr(step, name) is not None]
        names = set_rules if len(set_rules) == 1 else own
        if len(names) != 1:
            raise UsageError(
                f"step '{step.title}' has several rules ({', '.join(rules)}); name the one you "
                f"mean: {step.title}={{'{(names or ['rule'])[0]}': {change!r}}}"
            )
        change = {names[0]: change}
    for name in change:
        if name not in rules:
            raise UsageError(
                f"'{name}' is not a rule of step '{step.title}'; its rules: "
                f"{', '.join(rules) or 'none'}; another field changes its scores: make a new run"
            )
    changed: Step = dataclasses.replace(step, **change)
    return changed
