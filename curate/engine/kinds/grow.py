"""Grow a pool in closed rounds.

A round samples from the pool at its start, sends its requests together, and is written to the store
as a whole, failures included, before anything of it is accepted. A closed round is only read again:
that is what makes a killed run and an undisturbed one the same, and what keeps a growing pool from
being asked twice. The price is that a failed request of a closed round stays failed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.chunk import rows_of, table_of
from curate.engine.kinds.made import Making, made_items
from curate.engine.kinds.whole import could_not
from curate.engine.ledger import USED
from curate.engine.partition import describe_error, picked
from curate.engine.state import PartitionState, load
from curate.errors import CurateError
from curate.requests.session import RowTask
from curate.row import Candidate, Message, Record, Row, made_id, seed_of
from curate.step import Drop, Grow, Pool

if TYPE_CHECKING:
    from curate.requests.driver import Driver
    from curate.store.store import Store

_ROUND = "round"
# Rules that say when to stop, and which rows come in: no reply depends on them.
_ONLY_ENDING = ("target", "budget", "patience", "only")


class _Request(NamedTuple):
    """One request of a round: what it showed the model, and what came of it."""

    sample: tuple[str, ...]
    records: list[Record]
    error: str | None


class _Growth:
    """The state of one `Grow` step in one run."""

    def __init__(
        self, step: Grow, rows: list[Row], driver: Driver, run_seed: int, source: int
    ) -> None:
        self.step, self.run_seed, self.source = step, run_seed, source
        self.pool: Pool = step.pool(rows)
        self.making = Making(step.title, 0)
        self.chance, self.key = _keys(step, rows, driver, run_seed)

    @property
    def accepted(self) -> int:
        return len(self.making.rows)

    def accept(self, number: int, requests: Sequence[_Request]) -> int:
        """Let the pool judge a closed round, in the order asked; return how many joined."""
        before, target = self.accepted, self.step.target
        for index, request in enumerate(requests):
            if request.error is not None:
                self.making.fail(self._row((number, index, 0), Record("", {})), request.error)
            for item, record in enumerate(request.records):
                if record.parents is None:
                    record = record._replace(parents=request.sample)
                row = self._row((number, index, item), record)
                drop: Drop | None
                if target is not None and self.accepted >= target:
                    drop = Drop("the target was reached before it")
                else:
                    drop = self.pool.accept(record, row.id)
                    made_items(drop, self.step, ())
                self.making.add(row, drop)
        return self.accepted - before

    def _row(self, index: tuple[int, int, int], record: Record) -> Row:
        parents = record.parents or ()
        return Row(
            id=made_id([*parents, self.chance], self.step.title, index),
            seq=(self.source, *index),
            kind=record.kind,
            fields=record.fields,
            extra=record.extra,
            parents=parents,
            run_seed=self.run_seed,
        )


def _keys(step: Grow, rows: Sequence[Row], driver: Driver, run_seed: int) -> tuple[str, str]:
    """Return what chance is drawn from, and the key that a step's rounds are stored under.

    Chance depends on the step's fingerprint, its rules save those that only end it, what it reads
    from files, the seed, and the starting pool. The key holds all that decides a reply, and so the
    models, with their sampling defaults, as well.
    """
    fingerprint = {k: v for k, v in step.fingerprint().items() if k not in _ONLY_ENDING}
    rules = {name: getattr(step, name) for name in step.rules() if name not in _ONLY_ENDING}
    pool = [row.id for row in rows]
    chance = _hash([step.title, fingerprint, rules, step.data_digest(), run_seed, pool])
    asked = step.reads_models() or sorted(driver.models)
    models = [driver.models[name].info for name in asked if name in driver.models]
    identities = [[m.identity, m.embed_identity, dict(m.defaults)] for m in models]
    return chance, _hash([chance, identities])


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def grow(
    step: Grow,
    states: list[PartitionState],
    driver: Driver,
    store: Store,
    *,
    run_seed: int,
    source: int,
) -> str | None:
    """Run the rounds, decide on every part, and append a part for the rows that were grown.

    `source` is the first number of the grown rows' `seq`; it lies above every input's. Returns why
    the step's target was not reached, or `None`.
    """
    tables = [load(state.rows) for state in states]
    seen = [np.flatnonzero(picked(table, step.only)) for table in tables]
    starting = [
        list(rows_of(table.take(pa.array(own)) if step.only else table, run_seed))
        for table, own in zip(tables, seen, strict=True)
    ]
    rows = [row for own in starting for row in own]
    try:
        growth = _Growth(step, rows, driver, run_seed, source)
        short = _rounds(growth, driver, store)
    except (CurateError, OSError):
        raise
    except Exception as error:
        raise could_not(step, "grow", error) from error
    for state, table, own, part in zip(states, tables, seen, starting, strict=True):
        start = Making(step.title, table.num_rows)
        if not step.keep_pool:
            for index, row in zip(own.tolist(), part, strict=True):
                start.end(index, row, USED)
        state.decision = start.decision()
    decision = growth.making.decision()
    states.append(PartitionState(number=len(states), rows=table_of([]), decision=decision))
    return short


def _rounds(growth: _Growth, driver: Driver, store: Store) -> str | None:
    """Run rounds until target, budget or patience ends them; return why it fell short."""
    step, number, barren = growth.step, 0, 0
    while step.target is None or growth.accepted < step.target:
        if step.budget is not None and (number + 1) * step.round_size > step.budget:
            return None
        if barren >= step.patience:
            return (
                f"step '{step.title}': {step.patience} rounds in a row made nothing new; "
                f"{growth.accepted} of {step.target} rows were made and published. Change the "
                "step's rules, its starting pool or its target"
            )
        key = f"{growth.key}:{number}"
        text = store.value(_ROUND, key)
        if text is None:
            store.put_value(_ROUND, key, json.dumps(_ask(growth, number, driver)))
            # Two processes may close one round: the first durable one counts.
            text = store.value(_ROUND, key)
        requests = _read_round(text or "[]")
        barren = 0 if growth.accept(number, requests) else barren + 1
        number += 1
    return None


def _ask(growth: _Growth, number: int, driver: Driver) -> list[_Request]:
    """Send a round's requests and return what came of each."""
    step, label = growth.step, growth.step.title
    samples, jobs = [], []
    for index in range(step.round_size):
        dice = random.Random(seed_of(growth.chance, label, number, index))
        sample = tuple(growth.pool.sample(dice))
        # A released request begins again, with the same dice.
        start = functools.partial(
            lambda sample, seed: step.propose(sample, random.Random(seed)),
            sample,
            dice.getrandbits(64),
        )
        salt = f"{growth.key}:{number}:{index}"
        samples.append(tuple(row.id for row in sample))
        jobs.append(RowTask(start=start, salt=salt, shares=False))
    out = []
    for sample_ids, outcome in zip(samples, driver.run(jobs), strict=True):
        records: list[Any] = []
        error = None if outcome.error is None else describe_error(outcome.error)
        if error is None:
            try:
                records = made_items(outcome.value, step, ())
                for record in records:
                    if not isinstance(record, Record):
                        name = type(record).__name__
                        raise TypeError(f"'{label}' proposed a {name}, not a record")
            except (TypeError, ValueError) as wrong:
                records, error = [], describe_error(wrong)
        out.append(_Request(sample_ids, records, error))
    return out


def _read_round(text: str) -> list[_Request]:
    """Return a closed round's requests from JSON, which knows no named tuples."""
    out = []
    for sample, found, error in json.loads(text):
        records = []
        for kind, given, extra, parents in found:
            fields = dict(given)
            for name, value in given.items():
                if name == "candidates":
                    fields[name] = tuple(Candidate(_messages(m), *rest) for m, *rest in value)
                elif isinstance(value, list):
                    fields[name] = _messages(value)
            records.append(Record(kind, fields, extra, parents and tuple(parents)))
        out.append(_Request(tuple(sample), records, error))
    return out


def _messages(value: list[list[Any]]) -> tuple[Message, ...]:
    return tuple(Message(*turn) for turn in value)
