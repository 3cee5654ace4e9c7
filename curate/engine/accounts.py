"""The store, the driver and the spending of one run, opened only when some step asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from curate.engine.options import DEFAULT_STORE, Progress, RunOptions
from curate.errors import RecipeError
from curate.runs.folder import RunFolder

if TYPE_CHECKING:
    from curate.models.model import Model
    from curate.recipe.recipe import Recipe
    from curate.requests.driver import Driver
    from curate.store.budget import Spent
    from curate.store.store import Store

SHOWN = (
    "sent", "replayed", "input_tokens", "output_tokens", "cost_usd", "causes", "asking", "answered",
    "busy", "batches", "texts", "encoded",
)  # fmt: skip


class Accounts:
    """What a run asks with and what it has spent; all of it absent when no step asks."""

    def __init__(self, store: Store | None = None, driver: Driver | None = None) -> None:
        self.store, self.driver = store, driver

    @classmethod
    def open(
        cls,
        recipe: Recipe,
        options: RunOptions,
        folder: RunFolder,
        asking: bool,
        stack: ExitStack,
        listener: Callable[[object], None] | None = None,
    ) -> Accounts:
        """Open the store and the models when `asking`; `stack` closes them.

        `listener` is called a few times a second while models are asked, from another thread.
        """
        if not asking:
            return cls()
        from curate.models.model import open_model
        from curate.requests.driver import Driver
        from curate.runs.spending import FolderSpending
        from curate.store.budget import Budget
        from curate.store.files import used
        from curate.store.store import Store, clear_leases

        store = stack.enter_context(Store.open(options.store or DEFAULT_STORE))
        stack.enter_context(used(store.folder, first=lambda: store.commit_now(clear_leases)))
        specs = {**(recipe.models or {}), **(recipe.encoders or {})}
        models: dict[str, Model] = {}
        on_nodes: ModelsOnNodes | None = None
        if options.engine == "ray":
            from curate.engine.ray.replicas import ModelsOnNodes

            on_nodes = ModelsOnNodes(specs, options.address, stack)
        for name, spec in specs.items():
            try:
                models[name] = on_nodes.open(name) if on_nodes else open_model(spec, name=name)
            except RecipeError as error:
                part = "models" if name in (recipe.models or {}) else "encoders"
                raise recipe.error((part, name), error.message, type_=type(error)) from error
        folder.note_store(store.folder)
        stores = FolderSpending(folder)
        # A model of this process has the price 0, and one whose price is not known may have any.
        costs = any(one.info.price is None or any(one.info.price) for one in models.values())
        elsewhere = stores.join(store, costs=costs, pay_again=options.pay_again)
        stack.callback(stores.note, store)
        spending = Budget(
            store,
            folder.run_id,
            max_cost=options.max_cost,
            max_requests=options.max_requests,
            elsewhere=elsewhere,
        )

        def listen(counts: object) -> None:
            stores.note(store, often=True)
            if listener is not None:
                listener(counts)

        driver = Driver(
            store,
            models,
            spending=spending,
            retry_failed=options.retry_failed,
            concurrency=options.concurrency,
            progress=listen,
        )
        stack.callback(driver.close)
        return cls(store, driver)

    def show(self, progress: Progress) -> None:
        """Copy what this process has sent and spent so far into `progress`."""
        if self.driver is None:
            return
        counts = self.driver.counts
        for name in SHOWN:
            setattr(progress, name, getattr(counts, name))

    def summary(self, labels: Sequence[str] = ()) -> dict[str, Any]:
        """Return the run folder's requests, tokens and cost, over all its executions.

        `this_time` is what this execution alone sent, took from the store, and spent. `spending`
        has the part of each step, those of `labels` first and in their order.
        """
        if self.driver is None:
            zero = dict.fromkeys(("sent", "replayed", "failed", "retried"), 0)
            return {"requests": zero, "tokens": {"input": 0, "output": 0}, "cost_usd": 0.0}
        totals, counts = self.driver.spending.tally(), self.driver.counts
        own = {name: getattr(counts, name) for name in ("sent", "replayed", "cost_usd")}
        return {
            **requests_data(totals),
            "budget": budget_data(
                self.driver.spending.max_requests, self.driver.spending.max_cost, totals
            ),
            "this_time": own,
            **({"spending": parts} if (parts := _by_step(totals, labels)) else {}),
        }


def _by_step(totals: Spent, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the parts of steps that have asked, as JSON data; together they are the totals.

    The step is `None` where it is not recorded.
    """
    from curate.store.budget import NO_STEP

    def place(label: str) -> tuple[bool, int, str]:
        # Steps that the recipe has no longer come after its own; what has no step is the last.
        return (label == NO_STEP, labels.index(label) if label in labels else len(labels), label)

    found = []
    for label in sorted(totals.steps, key=place):
        part = requests_data(totals.steps[label])
        if any(part["requests"].values()) or any(part["tokens"].values()) or part["cost_usd"]:
            found.append({"step": None if label == NO_STEP else label, **part})
    return found


def requests_data(spent: Spent) -> dict[str, Any]:
    """Return requests, tokens and cost as JSON data."""
    names = ("sent", "replayed", "failed", "retried")
    return {
        "requests": {name: getattr(spent, name) for name in names},
        "tokens": {"input": spent.input_tokens, "output": spent.output_tokens},
        "cost_usd": spent.cost_usd,
    }


def budget_data(max_requests: int | None, max_cost: float | None, spent: Spent) -> dict[str, Any]:
    """Return the ceilings of one execution beside what its folder has spent, as JSON data.

    `reserved_usd` is held for requests whose bill is not known, as after a kill.
    """
    return {
        "max_requests": max_requests,
        "max_cost": max_cost,
        "sent": spent.sent,
        "cost_usd": spent.cost_usd,
        "reserved_usd": spent.reserved_usd,
    }
