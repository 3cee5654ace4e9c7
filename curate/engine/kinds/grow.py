"""Grow a pool in closed rounds.

A round samples from the pool at its start, sends its requests together, and is written to the store
as a whole, failures included, before anything of it is accepted. A closed round is only read again:
that is what makes a killed run and an undisturbed one the same, and what keeps a growing pool from
being asked twice. The price is that a failed request of a closed round stays failed.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from curate.ask import Reply
from curate.chunk import rows_of, table_of
from curate.engine.kinds.made import (
    Child,
    Making,
    children,
    failure_text,
    made_items,
    record_of,
)
from curate.engine.ledger import USED, plain
from curate.engine.partition import could_not, describe_error, picked
from curate.engine.state import PartitionState, load
from curate.errors import CurateError
from curate.requests.session import RowTask
from curate.row import Candidate, Message, Record, Row, made_id, seed_of
from curate.step import Drop, Failed, Grow, Made, Pool, Scored

if TYPE_CHECKING:
    from curate.models.model import ModelInfo
    from curate.requests.driver import Driver
    from curate.store.store import Store

_ROUND = "round"
# Rules that say when to stop, and which rows come in: no reply depends on them.
_ONLY_ENDING = ("target", "budget", "patience", "only")
# Nor on these fields: of a model its identity counts, whatever the recipe calls it.
_DECIDE_NOTHING = ("model", "models", "encoder", "keep_pool")


class _Request(NamedTuple):
    """One request of a round: what it showed the model, and what came of it.

    `asked` are the keys of all that it asked. Where it failed, `error` says why, and `reply` is the
    last one that it was given.
    """

    sample: tuple[str, ...]
    items: Sequence[Child]
    asked: tuple[str, ...] = ()
    error: str | None = None
    reply: Reply | None = None


class _Keys(NamedTuple):
    """What all chance of a growth begins with, and the key under which its rounds are stored."""

    chance: str
    rounds: str


def _keys(
    step: Grow,
    rows: Sequence[Row],
    models: Mapping[str, ModelInfo],
    run_seed: int,
    store: Store | None,
) -> _Keys:
    """Return the keys of a growth from `rows`; those of earlier versions where they have rounds.

    Chance depends on the step's fingerprint, its rules save those that only end it, what it reads
    from files, the seed, and the starting pool. The key of the rounds holds all that decides a
    reply, and so the models, with their sampling defaults, as well.
    """
    own = step.fingerprint()
    rules = {name: getattr(step, name) for name in step.rules() if name not in _ONLY_ENDING}
    asked = [models[n] for n in step.reads_models() or sorted(models) if n in models]
    identities = [[m.identity, m.embed_identity, dict(m.defaults)] for m in asked]
    # Earlier versions also counted what decides nothing, and where a prompt file lay.
    counted = {f.name: getattr(step, f.name) for f in dataclasses.fields(step)}
    before = {**{k: v for k, v in counted.items() if k not in step.rules()}, **own}
    now = {k: v for k, v in own.items() if k not in _DECIDE_NOTHING}
    found = []
    for every in (now, before):
        fingerprint = {k: v for k, v in every.items() if k not in _ONLY_ENDING}
        ids = [row.id for row in rows]
        chance = _hash([step.title, fingerprint, rules, step.data_digest(), run_seed, ids])
        found.append(_Keys(chance, _hash([chance, identities])))
        if store is not None and store.value(_ROUND, f"{found[-1].rounds}:0") is not None:
            return found[-1]
    return found[0]


class _Growth:
    """The state of one `Grow` step in one run."""

    def __init__(
        self,
        step: Grow,
        rows: Sequence[Row],
        keys: _Keys,
        run_seed: int,
        source: int,
    ) -> None:
        self.step, self.run_seed, self.source = step, run_seed, source
        # A pool may show what is not a row of the run (shipped seeds), and so no parent.
        self.known = {row.id for row in rows}
        self.pool: Pool = step.pool(rows)
        self.making = Making(step.title, 0)
        self.chance, self.key = keys

    @property
    def accepted(self) -> int:
        return len(self.making.rows)

    def enough(self, number: int) -> bool:
        """Return whether target or budget ends the growth before round `number`."""
        step = self.step
        spent = step.budget is not None and (number + 1) * step.round_size > step.budget
        return spent or (step.target is not None and self.accepted >= step.target)

    def accept(self, number: int, requests: Sequence[_Request]) -> int:
        """Let the pool judge a closed round, in the order asked; return how many joined."""
        before = self.accepted
        for index, request in enumerate(requests):
            shown = tuple(row_id for row_id in request.sample if row_id in self.known)
            if request.error is not None:
                row = self._row((number, index, 0), Record("", {}, None, shown))
                self.making.add(row, Failed(request.error, None, request.reply), request.asked)
            for place, item in enumerate(request.items):
                record = record_of(item)
                if record.parents is None:
                    record = record._replace(parents=shown)
                row = self._row((number, index, place), record)
                self.making.add(row, self._judged(item, record, row.id), request.asked)
        self.known.update(row.id for row in self.making.rows[before:])
        return self.accepted - before

    def _judged(self, item: Child, record: Record, row_id: str) -> Child:
        """Return a candidate as the pool takes it; what was refused or failed stays so."""
        if isinstance(item, Drop | Failed):
            return item
        target = self.step.target
        if target is not None and self.accepted >= target:
            return Drop("the target was reached before it")
        verdict: Any = self.pool.accept(record, row_id)
        if isinstance(verdict, Scored):
            given = item.detail if isinstance(item, Made) else None
            verdict = Made(record, verdict.value, {**(given or {}), **(verdict.detail or {})})
        made_items(verdict, self.step, ())
        return item if verdict is None else verdict

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
        models = {name: model.info for name, model in driver.models.items()}
        keys = _keys(step, rows, models, run_seed, store)
        growth = _Growth(step, rows, keys, run_seed, source)
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
    while not growth.enough(number):
        if barren >= step.patience:
            return (
                f"step '{step.title}': {step.patience} rounds in a row made nothing new; "
                f"{growth.accepted} of {step.target} rows were made and published. Change the "
                "step's rules, its starting pool or its target"
            )
        key = f"{growth.key}:{number}"
        text = store.value(_ROUND, key)
        if text is None:
            store.put_value(_ROUND, key, _write_round(_ask(growth, number, driver)))
            # Two processes may close one round: the first durable one counts.
            text = store.value(_ROUND, key)
        requests = _read_round(text or "[]")
        barren = 0 if growth.accept(number, requests) else barren + 1
        number += 1
    return None


def rounds_to_come(
    step: Grow,
    rows: Sequence[Row],
    models: Mapping[str, ModelInfo],
    run_seed: int,
    store: Store | None,
) -> tuple[list[RowTask], float]:
    """Return the requests of the next round that is not closed, and about how many rounds come.

    Closed rounds say how many rows a round brings; before the first one, the step does. Rounds end
    with the budget, where that comes first.
    """
    keys = _keys(step, rows, models, run_seed, store)
    growth, number = _Growth(step, rows, keys, run_seed, 0), 0
    while store is not None and not growth.enough(number):
        text = store.value(_ROUND, f"{growth.key}:{number}")
        if text is None:
            break
        growth.accept(number, _read_round(text))
        number += 1
    if growth.enough(number):
        return [], 0.0
    brought = growth.accepted / number if number else step.round_size * step.brings()
    left = [step.patience]
    if brought and step.target is not None:
        left = [math.ceil((step.target - growth.accepted) / brought)]
    if step.budget is not None:
        left.append(step.budget // step.round_size - number)
    return [task for _, task in round_tasks(growth, number)], min(left)


def _ask(growth: _Growth, number: int, driver: Driver) -> list[_Request]:
    """Send a round's requests and return what came of each."""
    step = growth.step
    samples, jobs = zip(*round_tasks(growth, number), strict=True)
    out = []
    for sample, outcome in zip(samples, driver.run(jobs), strict=True):
        items: list[Child] = []
        error = None if outcome.error is None else describe_error(outcome.error)
        if error is None:
            try:
                made = made_items(outcome.value, step, ())
                items = children(made)
                if len(items) < len(made):
                    raise TypeError(
                        f"'{step.title}' proposed what is not a row; a record, Made, Failed, or a "
                        "drop with its record is allowed"
                    )
            except (TypeError, ValueError) as wrong:
                error = describe_error(wrong)
        last = outcome.keys[-1:] if error is not None else ()
        found = [stored.reply for stored in driver.store.get_many(list(last)).values()]
        out.append(_Request(sample, items, outcome.keys, error, next(iter(found), None)))
    return out


def round_tasks(growth: _Growth, number: int) -> list[tuple[tuple[str, ...], RowTask]]:
    """Return the requests of a round: the ids of the rows that each shows, and its work."""
    step, tasks = growth.step, []
    for index in range(step.round_size):
        dice = random.Random(seed_of(growth.chance, step.title, number, index))
        sample = tuple(growth.pool.sample(dice))
        # A released request begins again, with the same dice.
        start = functools.partial(
            lambda sample, seed: step.propose(sample, random.Random(seed)),
            sample,
            dice.getrandbits(64),
        )
        salt = f"{growth.key}:{number}:{index}"
        tasks.append((tuple(row.id for row in sample), RowTask(start, salt, step=step.title)))
    return tasks


# -- a closed round as JSON, which knows no named tuples -------------------------------------------


def _write_round(requests: Sequence[_Request]) -> str:
    entries = []
    for request in requests:
        items: list[list[Any]] = []
        for item in request.items:
            values: list[Any] = list(item)
            if isinstance(item, Failed):
                reply = None if item.reply is None else [item.reply.text, item.reply.key]
                values = [failure_text(item.error), item.record, reply]
            items.append([type(item).__name__, *values])
        last = None if request.reply is None else request.reply.text
        entries.append([request.sample, items, request.asked, request.error, last])
    return json.dumps(entries, default=plain)


def _read_round(text: str) -> list[_Request]:
    return [
        _Request(
            tuple(sample),
            [_item(*item) for item in items],
            tuple(asked),
            error,
            None if last is None else Reply(text=last),
        )
        for sample, items, asked, error, last in json.loads(text)
    ]


def _item(form: str, *values: Any) -> Child:
    if form == "Record":
        return _record(*values)
    if form == "Made":
        record, *evidence = values
        return Made(_record(*record), *evidence)
    if form == "Drop":
        reason, score, record, *others = values
        return Drop(reason, score, _record(*record), *others)
    error, record, reply = values
    return Failed(
        error,
        None if record is None else _record(*record),
        None if reply is None else Reply(text=reply[0], key=reply[1]),
    )


def _record(
    kind: str, given: dict[str, Any], extra: str | None, parents: list[str] | None
) -> Record:
    fields = dict(given)
    for name, value in given.items():
        if name == "candidates":
            fields[name] = tuple(Candidate(_messages(m), *rest) for m, *rest in value)
        elif isinstance(value, list):
            fields[name] = _messages(value)
    return Record(kind, fields, extra, None if parents is None else tuple(parents))


def _messages(value: list[list[Any]]) -> tuple[Message, ...]:
    return tuple(Message(*turn) for turn in value)
