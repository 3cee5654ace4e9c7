"""A dry run: what a run would read, do, ask, cost and take, and whether it would be refused.

It opens models as a run does, beside a store of its own that is thrown away, so that what a run
refuses is refused here: a taken folder, a key that is not there, a model without a price. Nothing
is sent to a server. Models that compute here are timed by one request of the sample.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.ask import Ask, Request
from curate.engine.accounts import Accounts, budget_data
from curate.engine.estimate import Estimate, estimate
from curate.engine.options import DEFAULT_STORE, RunOptions
from curate.engine.reading import Reading, RowSample
from curate.engine.segment import asks
from curate.models.model import ModelInfo, parse_spec
from curate.read import Inputs
from curate.requests.session import RowTask
from curate.runs.folder import RunFolder
from curate.runs.spending import folder_spent
from curate.step import Grow
from curate.store.files import check_place

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe
    from curate.requests.driver import Driver

# Of servers nothing is known before they are asked: a usual pause, and a usual pace of a reply.
SERVER_DELAY = 1.0
SERVER_PACE = 50.0
_SERVED = "openai"
_RECORDED = ("scripted", "record")


def plan_run(
    recipe: Recipe, opened: Inputs, options: RunOptions, folder: RunFolder, purpose: dict[str, Any]
) -> dict[str, Any]:
    """Return what would be done; where models are asked, all rows are read for an estimate.

    Raises:
        UsageError: a run would be refused.
    """
    folder.check(purpose, replace=options.replace)
    asking = any(asks(step) or isinstance(step, Grow) for step in recipe.steps)
    summary = {
        "dry_run": True,
        "inputs": opened.fingerprint(),
        "kinds": sorted(opened.kinds()),
        "steps": [{"label": s.title, "name": s.name, "asks": asks(s)} for s in recipe.steps],
    }
    if not asking:
        return summary
    check_place(options.store or DEFAULT_STORE)
    with ExitStack() as stack:
        aside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curate-dry-run-")))
        apart = dataclasses.replace(options, store=aside / "store", max_requests=None)
        own = RunFolder(aside / "run")
        own.state.mkdir(parents=True)
        driver = Accounts.open(recipe, apart, own, True, stack).driver
        assert driver is not None
        reading, sample = Reading(opened, options.limit), RowSample(recipe)
        with ThreadPoolExecutor(options.workers or os.cpu_count()) as pool:
            for state in reading.states(pool, 2):
                sample.add(state)
        store, count = options.store or DEFAULT_STORE, reading.readable
        found = Estimate() if sample.rows is None else estimate(recipe, sample.rows, store, count)
        for name, example in found.examples.items():
            driver.spending.bound(example, driver.models[name].info)
        times = _times(recipe, found.by_model(count), found.examples, driver)
    budget = budget_data(options.max_requests, options.max_cost, folder_spent(folder, store))
    return {**summary, "estimate": found.scaled(count), "budget": budget, "time": times}


def _times(
    recipe: Recipe,
    asked: dict[str, tuple[float, float]],
    examples: dict[str, Request],
    driver: Driver,
) -> dict[str, Any]:
    """Return about how many seconds each model takes for what it is asked, and by what token."""
    times = {}
    for name, (number, tokens) in asked.items():
        spec = parse_spec({**(recipe.models or {}), **(recipe.encoders or {})}[name], name=name)
        info = driver.models[name].info
        if not number or spec.prefix in _RECORDED or info.discount is not None:
            # What is recorded takes no time, and a batch job as long as its provider likes.
            continue
        if spec.prefix == _SERVED:
            times[name] = _served(info, number, tokens)
        elif name in examples:
            seconds = _measured(examples[name], driver)
            about = f"one request took {seconds:.2g} s here, and others follow one by one"
            times[name] = {"seconds": round(number * seconds, 1), "basis": about}
    return times


def _served(info: ModelInfo, requests: float, tokens: float) -> dict[str, Any]:
    """Return the time of a server's replies at a usual pace, within the rates that are allowed."""
    seconds = (requests * SERVER_DELAY + tokens / SERVER_PACE) / info.max_concurrency
    if info.requests_per_minute:
        seconds = max(seconds, 60 * requests / info.requests_per_minute)
    about = (
        f"assumed: {SERVER_DELAY:g} s and {SERVER_PACE:g} tokens/s a reply, "
        f"{info.max_concurrency} at once"
    )
    return {"seconds": round(seconds, 1), "basis": about}


def _measured(example: Request, driver: Driver) -> float:
    """Return the seconds that one request takes once the model is loaded."""

    def asking(salt: str, request: Request) -> RowTask:
        def start() -> Iterator[Request]:
            yield request

        return RowTask(start, salt)

    # The first one loads the model.
    short = dataclasses.replace(example, max_tokens=1) if isinstance(example, Ask) else example
    driver.run([asking("load", short)])
    began = time.perf_counter()
    driver.run([asking("measure", example)])
    return time.perf_counter() - began
