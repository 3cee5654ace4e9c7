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
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from curate.chunk import rows_of, table_of
from curate.engine.book import LedgerBuilder
from curate.engine.kinds.generate import Making, as_list, check_made, refused_table, score_labels
from curate.engine.kinds.whole import could_not
from curate.engine.ledger import DROPPED, FAILED, MADE, USED, StepTally
from curate.engine.partition import describe_error, with_ending
from curate.engine.segment import MadeDecision, PartitionState
from curate.engine.workspace import load
from curate.errors import CurateError
from curate.requests.session import RowTask
from curate.row import Candidate, Message, Record, Row, made_id, seed_of
from curate.step import Asking, Drop, Grow, Pool

if TYPE_CHECKING:
    from curate.requests.driver import Driver
    from curate.store.store import Store

_ROUND = "round"


class _Request(NamedTuple):
    """One request of a round: what it showed the model, and what came of it."""

    sample: tuple[str, ...]
    records: list[Record]
    error: str | None


class _Growth:
    """The state of one `Grow` step in one run."""

    def __init__(self, step: Grow, rows: list[Row], run_seed: int, source: int) -> None:
        self.step, self.rows, self.run_seed, self.source = step, rows, run_seed, source
        self.pool: Pool = step.pool(rows)
        self.builder, self.making, self.tally = (
            LedgerBuilder(step.title),
            Making(step.title),
            StepTally(),
        )
        self.failed: list[tuple[Row, str]] = []
        text = json.dumps(
            [step.title, _fingerprint(step), run_seed, [row.id for row in rows]],
            sort_keys=True,
            default=str,
        )
        self.key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def accepted(self) -> int:
        return len(self.making.rows)

    def accept(self, number: int, requests: Sequence[_Request]) -> int:
        """Let the pool judge a closed round, in the order asked; return how many joined."""
        before = self.accepted
        for index, request in enumerate(requests):
            if request.error is not None:
                self._fail(number, index, request.error)
            for item, record in enumerate(request.records):
                self._judge((number, index, item), request.sample, record)
        return self.accepted - before

    def _judge(self, index: tuple[int, int, int], sample: tuple[str, ...], record: Record) -> None:
        target = self.step.target
        if record.parents is None:
            record = record._replace(parents=sample)
        row = self._row(index, record)
        drop: Drop | None
        if target is not None and self.accepted >= target:
            drop = Drop("the target was reached before it")
        else:
            drop = self.pool.accept(record, row.id)
            check_made([] if drop is None else [drop], self.step, ())
        self.tally.made += 1
        self.builder.add(row, MADE, parents=row.parents)
        if drop is None:
            self.making.rows.append(row)
            return
        self.making.dropped.append((row, drop))
        self.tally.dropped += 1
        self.tally.reasons[drop.reason] += 1
        self.builder.add(row, DROPPED, drop.reason, drop.score, drop.detail, drop.partner)

    def _row(self, index: tuple[int, int, int], record: Record) -> Row:
        parents = record.parents or ()
        return Row(
            id=made_id([*parents, self.key], self.step.title, index),
            seq=(self.source, *index),
            kind=record.kind,
            fields=record.fields,
            extra=record.extra,
            parents=parents,
            run_seed=self.run_seed,
        )

    def _fail(self, number: int, index: int, error: str) -> None:
        row = self._row((number, index, 0), Record("", {}))
        self.failed.append((row, error))
        self.tally.made += 1
        self.tally.failed += 1
        self.builder.add(row, FAILED, error)


def grow(
    step: Grow,
    states: list[PartitionState],
    driver: Driver,
    store: Store,
    *,
    run_seed: int,
    source: int,
) -> str | None:
    """Run the rounds, set every part's lead, and append a part for the rows that were grown.

    `source` is the first number of the grown rows' `seq`; it lies above every input's. Returns why
    the step's target was not reached, or `None`.
    """
    rows = [row for state in states for row in rows_of(load(state.rows), run_seed)]
    try:
        growth = _Growth(step, rows, run_seed, source)
        short = _rounds(growth, driver, store)
    except (CurateError, OSError):
        raise
    except Exception as error:
        raise could_not(step, "grow", error) from error
    _leads(growth, states)
    return short


def _fingerprint(step: Grow) -> dict[str, Any]:
    """Return what decides the rounds: every field but label, target and budget."""
    fields = {k: v for k, v in vars(step).items() if k not in ("label", "target", "budget")}
    return {"step": step.name, "version": step.version, **fields}


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
        requests = _closed_round(growth, number, driver, store)
        barren = 0 if growth.accept(number, requests) else barren + 1
        number += 1
    return None


def _closed_round(growth: _Growth, number: int, driver: Driver, store: Store) -> list[_Request]:
    """Return a round's requests: as they were closed, or sent now and closed."""
    key = f"{growth.key}:{number}"
    text = store.value(_ROUND, key)
    if text is None:
        text = json.dumps([_to_json(r) for r in _ask(growth, number, driver)], ensure_ascii=True)
        store.put_value(_ROUND, key, text)
        # Two processes may close one round: the first durable one counts.
        text = store.value(_ROUND, key) or text
    return [_from_json(entry) for entry in json.loads(text)]


def _ask(growth: _Growth, number: int, driver: Driver) -> list[_Request]:
    step, label = growth.step, growth.step.title
    samples, jobs = [], []
    for index in range(step.round_size):
        dice = random.Random(seed_of(growth.key, label, number, index))
        sample = tuple(growth.pool.sample(dice))
        start = functools.partial(_propose, step, sample, dice.getrandbits(64))
        salt = f"{growth.key}:{number}:{index}"
        samples.append(tuple(row.id for row in sample))
        jobs.append(RowTask(start=start, salt=salt, shares=False))
    out = []
    for sample_ids, outcome in zip(samples, driver.run(jobs), strict=True):
        records: list[Record] = []
        error = None if outcome.error is None else describe_error(outcome.error)
        if error is None:
            try:
                records = _candidates(step, outcome.value)
            except (TypeError, ValueError) as wrong:
                records, error = [], describe_error(wrong)
        out.append(_Request(sample_ids, records, error))
    return out


def _candidates(step: Grow, value: Any) -> list[Record]:
    """Return what `propose` gave, or raise when it is not a list of records."""
    records = as_list(value)
    for record in records:
        if not isinstance(record, Record):
            raise TypeError(f"'{step.title}' proposed a {type(record).__name__}, not a record")
    check_made(records, step, ())
    return records  # type: ignore[return-value]


def _propose(step: Grow, sample: Sequence[Row], seed: int) -> Iterable[Record] | Asking:
    """Start a proposal afresh: a released request begins again with the same dice."""
    return step.propose(sample, random.Random(seed))


def _leads(growth: _Growth, states: list[PartitionState]) -> None:
    step, label = growth.step, growth.step.title
    for state in states:
        table = load(state.rows)
        outcome = np.zeros(table.num_rows, np.int8)
        tally = StepTally(entered=table.num_rows)
        builder = LedgerBuilder(label)
        if not step.keep_pool:
            outcome[:] = USED
            tally.used = table.num_rows
            for row in rows_of(table, growth.run_seed):
                builder.add(row, USED)
        state.decision = MadeDecision(label, outcome, ledger=builder.table(), tally=tally)
    made, gone = growth.making.rows, []
    if growth.making.dropped:
        gone.append(refused_table(growth.making, label))
    if growth.failed:
        rows = [row for row, _ in growth.failed]
        errors = [error for _, error in growth.failed]
        table = table_of(rows)
        gone.append(
            with_ending(table, np.full(len(rows), FAILED, np.int8), [label] * len(rows), errors)
        )
    decision = MadeDecision(
        label,
        np.zeros(0, np.int8),
        ledger=growth.builder.table(),
        made=table_of(made, score_labels(made)) if made else None,
        gone=gone,
        tally=growth.tally,
    )
    states.append(PartitionState(number=len(states), rows=table_of([]), decision=decision))


# -- a closed round as JSON -----------------------------------------------------------------------


def _to_json(request: _Request) -> list[Any]:
    return [request.sample, [list(record) for record in request.records], request.error]


def _from_json(entry: list[Any]) -> _Request:
    sample, records, error = entry
    return _Request(tuple(sample), [_record(*record) for record in records], error)


def _record(
    kind: str, fields: dict[str, Any], extra: str | None, parents: list[str] | None
) -> Record:
    values = {name: _value(name, value) for name, value in fields.items()}
    return Record(kind, values, extra, None if parents is None else tuple(parents))


def _value(name: str, value: Any) -> Any:
    if name == "candidates":
        return tuple(Candidate(_messages(m), score, model) for m, score, model in value)
    return _messages(value) if isinstance(value, list) else value


def _messages(value: list[list[Any]]) -> tuple[Message, ...]:
    return tuple(Message(*turn) for turn in value)
