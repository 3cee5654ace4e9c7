"""What a run may spend and has spent: durable reservations under cumulative ceilings.

Before an attempt is sent its upper bound is added to the run's tally in the store; when its reply
is committed, the same transaction replaces the bound by the bill. Whatever ends the process in
between leaves the bound counted, so that settled plus reserved never passes the ceiling. Money is
kept in whole pico-dollars: sums are exact, and 2^63 of them are nine million dollars.
"""

from __future__ import annotations

import copy
import json
import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from curate.ask import Ask, Choose, Embed, Likelihood, Reply, Request, Reward, TurnLikelihood
from curate.errors import CeilingReached, RecipeError, UsageError
from curate.models.choice import CHOICE_TOKENS
from curate.models.model import ModelInfo, Price
from curate.store.store import Store

PICO = 1_000_000_000_000
# No token of a byte-level vocabulary is shorter than one UTF-8 byte; what a chat template adds
# around each turn and before the first (role marks, dates, a default system prompt) is allowed for.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_REQUEST = 64
_COLUMNS = "sent, replayed, failed, retried, input_tokens, output_tokens, settled, reserved"
_NAMES = tuple(_COLUMNS.split(", "))
# The name of what no step is known to have asked for: attempts of older versions, above all.
NO_STEP = ""
_MOST_TOKENS, _MOST_COST = 1 << 40, 1 << 60
# Up to so many times what was reserved a bill may be, on a server that has kept to it so far,
# before several that are under way together pass a ceiling by more than one of them.
MARGIN = 10
_NOTE_BILL = (
    "INSERT INTO bills (run, model, worst) VALUES (?, ?, ?) "
    "ON CONFLICT (run, model) DO UPDATE SET worst = max(worst, excluded.worst)"
)


@dataclass(frozen=True)
class Spent:
    """What a run has spent over all its processes; `reserved_usd` is not settled (yet, or ever).

    `sent` counts attempts. `cost_usd` counts a timed-out attempt at its upper bound. `steps` has
    the part of each step by its label; what is not recorded by step is the part of `NO_STEP`. A
    reply that several steps use belongs to the step that sent it first; the others replay it.
    """

    sent: int
    replayed: int
    failed: int
    retried: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    reserved_usd: float
    steps: Mapping[str, Spent] = field(default_factory=dict)


class RunBills(NamedTuple):
    """What one store knows of a run: its tally, and for each model by identity its worst bill.

    `amounts` are the columns of the tally, money in pico-dollars. A worst bill is a multiple of
    what was reserved for it; a model has none before its first bill is settled.
    """

    amounts: Mapping[str, int] = {}
    worst: Mapping[str, float] = {}
    steps: Mapping[str, Mapping[str, int]] = {}


@dataclass(frozen=True)
class BudgetRefusal:
    """A reservation that would pass a ceiling; `final` when no settlement can make room for it."""

    error: CeilingReached
    final: bool


# A reservation that waits for the bills of those under way; there are some, so it ends no run.
WAIT = BudgetRefusal(CeilingReached("the ceiling on cost has no margin left"), final=False)


class Budget:
    """The tally of one run, in the store that it uses now and in others, and its ceilings."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        max_cost: float | None = None,
        max_requests: int | None = None,
        elsewhere: RunBills | None = None,
    ) -> None:
        """Join the tally of `run_id`; ceilings count what earlier processes spent.

        `elsewhere` is what the run has spent with other stores.
        """
        self._store, self.run_id = store, run_id
        self._elsewhere = elsewhere or RunBills()
        self.max_cost, self.max_requests = max_cost, max_requests
        _check_ceiling("--max-cost", max_cost)
        _check_ceiling("--max-requests", max_requests)
        self._ceiling = None if max_cost is None else round(max_cost * PICO)
        sql = "INSERT OR IGNORE INTO spending (run) VALUES (?)"
        store.commit_now(lambda connection: connection.execute(sql, (run_id,)).rowcount)
        self._worst = dict(self._elsewhere.worst)
        for model, worst in bills_of(store, run_id).worst.items():
            self._worst[model] = max(worst, self._worst.get(model, 0.0))
        # How many bills of each model were within their reservations.
        self._kept = Counter[str]()

    def of(self, run_id: str) -> Budget:
        """Return the tally of another run in the same store, to settle what that one reserved."""
        other = copy.copy(self)
        other.run_id = run_id
        return other

    def tally(self) -> Spent:
        """Return what the run has spent so far, with all its stores."""
        return spent(bills_of(self._store, self.run_id), self._elsewhere)

    def check(self, name: str, info: ModelInfo) -> None:
        """Refuse a model without a price when there is a ceiling on cost."""
        if self._ceiling is not None and info.price is None:
            raise RecipeError(
                f"model '{name}' has no known price, so --max-cost cannot be kept; give it "
                "'price: {input: USD, output: USD}' per million tokens (--price IN,OUT), or use "
                "--max-requests"
            )

    def bound(self, request: Request, info: ModelInfo) -> int:
        """Return the most that one attempt can cost, in pico-dollars, by what it has cost so far.

        A server that has billed more than its tokens could cost may do it again.
        """
        bound, worst = self._most(request, info), self._worst.get(info.identity, 1.0)
        return bound if worst <= 1 else min(math.ceil(bound * worst), _MOST_COST)

    def _most(self, request: Request, info: ModelInfo) -> int:
        """Return the most that one attempt costs on a server that keeps to `max_tokens`."""
        longest = output_bound(request)
        if longest is None:
            if self._ceiling is not None:
                raise RecipeError(
                    f"a request to {info.identity} has no 'max_tokens', so --max-cost cannot be "
                    "kept; set it in the step or in the model's mapping"
                )
            longest = 0
        return cost(info.price, prompt_bound(request), longest)

    def most_at_once(self, info: ModelInfo) -> float:
        """Return how many attempts at a model may be under way, for the ceiling on cost.

        As many as bills have kept to what was reserved, and one more: a first bill shows whether
        the model does so at all. One that once has not is asked one request at a time for good.
        """
        if self._ceiling is None:
            return math.inf
        return 1 + self._kept[info.identity] if self._worst.get(info.identity, 2.0) <= 1 else 1

    def reserve(
        self,
        connection: sqlite3.Connection,
        attempts: Sequence[tuple[int, bool]],
        under_way: int | None = None,
        steps: Sequence[str] | None = None,
    ) -> list[BudgetRefusal | None]:
        """Count attempts, inside a transaction, or say which ceiling bars each one.

        Args:
            connection: the transaction.
            attempts: the bound of each, and whether it is another try of the same request.
            under_way: the bounds of those that were sent and have no bill yet, together. There is
                room for `MARGIN` times as much, or an attempt waits for their bills. `None` keeps
                no margin.
            steps: the label of the step that asks for each attempt.
        """
        sql = "SELECT sent, settled, reserved FROM spending WHERE run = ?"
        own, before = connection.execute(sql, (self.run_id,)).fetchone(), self._elsewhere.amounts
        sent, settled, reserved = (
            amount + before.get(name, 0)
            for name, amount in zip(("sent", "settled", "reserved"), own, strict=True)
        )
        answers, added = list[BudgetRefusal | None](), defaultdict[str, Counter[str]](Counter)
        for (bound, retry), step in zip(attempts, _steps(steps, len(attempts)), strict=True):
            margin = (MARGIN - 1) * under_way if under_way is not None else 0
            refusal = self._refusal(sent, settled, reserved + margin, bound)
            if refusal is not None and margin and not refusal.final:
                # What is kept free is not money that was spent: said is what stands without it.
                refusal = self._refusal(sent, settled, reserved, bound) or WAIT
            answers.append(refusal)
            if refusal is None:
                sent, reserved = sent + 1, reserved + bound
                added[step].update(sent=1, retried=int(retry), reserved=bound)
                under_way = None if under_way is None else under_way + bound
        self._add(connection, added)
        return answers

    def _refusal(self, sent: int, settled: int, reserved: int, bound: int) -> BudgetRefusal | None:
        if self.max_requests is not None and sent >= self.max_requests:
            reached = CeilingReached(
                f"the ceiling of {self.max_requests} requests (--max-requests) is reached: {sent} "
                "attempts were sent in this run so far. Raise --max-requests and run the same "
                "command again; nothing that was answered is asked again"
            )
            return BudgetRefusal(reached, final=True)
        if self._ceiling is not None and settled + reserved + bound > self._ceiling:
            enough = math.ceil((settled + reserved + bound) / PICO * 100) / 100
            reached = CeilingReached(
                f"the ceiling of ${_plain(self.max_cost)} (--max-cost) is reached: {usd(settled)} "
                f"spent and {usd(reserved)} reserved by attempts whose bill is unknown, in this "
                f"run so far; the next request may cost up to {usd(bound)}. Raise --max-cost (to "
                f"{enough:.2f} or more) and run the same command again; nothing that was answered "
                "is asked again"
            )
            return BudgetRefusal(reached, final=False)
        return None

    def cancel(
        self, connection: sqlite3.Connection, bound: int, *, retry: bool, step: str = NO_STEP
    ) -> None:
        """Take back a reservation whose attempt was not sent after all."""
        self._add(connection, {step: {"sent": -1, "retried": -int(retry), "reserved": -bound}})

    def settle(
        self, connection: sqlite3.Connection, bound: int, bill: int, step: str = NO_STEP
    ) -> None:
        """Replace the reservation of an attempt that brought no reply by its bill."""
        self._add(connection, {step: {"reserved": -bound, "settled": bill}})

    def settle_replies(
        self,
        connection: sqlite3.Connection,
        replies: Sequence[tuple[int, Reply, Request, ModelInfo]],
        steps: Sequence[str] | None = None,
    ) -> list[int]:
        """Replace reservations by the bills for the replies, and return the bills.

        `steps` are the labels of the steps that asked for them, as in `reserve`.
        Under a ceiling on cost a model's first bill is noted, and each that passes its reservation.
        """
        bills, added = list[int](), defaultdict[str, Counter[str]](Counter)
        named = zip(replies, _steps(steps, len(replies)), strict=True)
        for (bound, reply, request, info), step in named:
            used = _clamp(reply.input_tokens), _clamp(reply.output_tokens)
            bill = bill_of(bound, reply, info.price)
            bills.append(bill)
            self._kept[info.identity] += bill <= bound
            added[step].update(
                reserved=-bound, settled=bill, input_tokens=used[0], output_tokens=used[1]
            )
            # A run without a ceiling, whose batch job this one collects, may have set no limit.
            bounded = self._ceiling is not None and output_bound(request) is not None
            if bounded and (bill > bound or info.identity not in self._worst):
                most = self._most(request, info)
                worst = max(bill / most, 1.0) if most else 1.0
                connection.execute(_NOTE_BILL, (self.run_id, info.identity, worst))
                self._worst[info.identity] = max(worst, self._worst.get(info.identity, 1.0))
        self._add(connection, added)
        return bills

    def overshoot(self, bound: int, bill: int) -> CeilingReached | None:
        """Return the error that ends a run whose server billed more than was reserved."""
        if self._ceiling is None or bill <= bound:
            return None
        now = bills_of(self._store, self.run_id).amounts
        whole = sum(one.get("settled", 0) for one in (now, self._elsewhere.amounts))
        return CeilingReached(
            f"the server billed {usd(bill)} for one request, {usd(bill - bound)} more than the "
            f"{usd(bound)} reserved for it under --max-cost {_plain(self.max_cost)}; sending was "
            f"stopped at once, with {usd(whole)} spent in this run so far. Check the model's price "
            "and whether the server keeps to max_tokens, then run the same command again: from now "
            "on a request reserves as much as this server has billed, and they are sent one at a "
            "time; nothing that was answered is asked again"
        )

    def count(
        self, connection: sqlite3.Connection, *, replayed: int, failed: int, step: str = NO_STEP
    ) -> None:
        """Add requests that cost nothing: answered by the store, or given up."""
        self._add(connection, {step: {"replayed": replayed, "failed": failed}})

    def count_replays(self, connection: sqlite3.Connection, replays: Mapping[str, int]) -> None:
        """Add requests that the store answered, by the step that asked."""
        self._add(connection, {step: {"replayed": count} for step, count in replays.items()})

    def _add(self, connection: sqlite3.Connection, added: Mapping[str, Mapping[str, int]]) -> None:
        """Add amounts of steps to the run's, and to each step's own."""
        amounts = _sum(added.values())
        if not any(amounts.values()):
            return
        changes = ", ".join(f"{name} = {name} + ?" for name in amounts)
        sql = f"UPDATE spending SET {changes} WHERE run = ?"
        connection.execute(sql, (*amounts.values(), self.run_id))
        for step, own in added.items():
            if step == NO_STEP:
                continue
            changes = ", ".join(f"{name} = {name} + excluded.{name}" for name in own)
            connection.execute(
                f"INSERT INTO step_spending (run, step, {', '.join(own)}) "
                f"VALUES (?, ?{', ?' * len(own)}) ON CONFLICT (run, step) DO UPDATE SET {changes}",
                (self.run_id, step, *own.values()),
            )


def _steps(steps: Sequence[str] | None, count: int) -> Sequence[str]:
    return [NO_STEP] * count if steps is None else steps


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of amounts by their names."""
    found: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            found[name] = found.get(name, 0) + amount
    return found


def bills_of(store: Store, run_id: str) -> RunBills:
    """Return what a store knows of a run, without writing; its tally is empty where it has none."""
    rows = store.read(f"SELECT {_COLUMNS} FROM spending WHERE run = ?", (run_id,))
    worst = store.read("SELECT model, worst FROM bills WHERE run = ?", (run_id,))
    amounts = dict(zip(_NAMES, rows[0], strict=True)) if rows else {}
    by_step = store.read(f"SELECT step, {_COLUMNS} FROM step_spending WHERE run = ?", (run_id,))
    steps = {step: dict(zip(_NAMES, own, strict=True)) for step, *own in by_step}
    return RunBills(amounts, dict(worst), steps)


def together(*parts: RunBills) -> RunBills:
    """Return what several stores know of a run, as if it were one."""
    worst: dict[str, float] = {}
    for part in parts:
        for model, bill in part.worst.items():
            worst[model] = max(bill, worst.get(model, 0.0))
    names = dict.fromkeys(step for part in parts for step in part.steps)
    steps = {step: _sum(part.steps.get(step, {}) for part in parts) for step in names}
    return RunBills(_sum(part.amounts for part in parts), worst, steps)


def spent(*parts: RunBills) -> Spent:
    """Return what a run has spent with several stores together."""
    whole = together(*parts)
    of_steps = _sum(whole.steps.values())
    rest = {name: whole.amounts.get(name, 0) - of_steps.get(name, 0) for name in _NAMES}
    steps = {**whole.steps, **({NO_STEP: rest} if any(rest.values()) else {})}
    return replace(_spent(whole.amounts), steps={step: _spent(own) for step, own in steps.items()})


def _spent(amounts: Mapping[str, int]) -> Spent:
    values: list[Any] = [amounts.get(name, 0) for name in _NAMES]
    values[-2:] = [values[-2] / PICO, values[-1] / PICO]
    return Spent(*values)


def _plain(ceiling: float | None) -> str:
    """Return a ceiling as people write it: 0.00001, not 1e-05."""
    return f"{ceiling or 0:.12f}".rstrip("0").rstrip(".")


def _check_ceiling(flag: str, value: float | None) -> None:
    if value is not None and not 0 <= value < math.inf:
        raise UsageError(f"{flag} is {value}; it must be a number from 0 on")


def usd(amount: int) -> str:
    """Return pico-dollars as dollars with as many digits as small sums need."""
    value = amount / PICO
    return f"${value:.2f}" if value >= 1 or not amount else f"${value:.2g}"


def cost(price: Price | None, input_tokens: int, output_tokens: int) -> int:
    """Return what tokens cost in pico-dollars, rounded up per token; nothing without a price."""
    if price is None:
        return 0
    total = input_tokens * _per_token(price.input) + output_tokens * _per_token(price.output)
    return min(total, _MOST_COST)


def bill_of(bound: int, reply: Reply, price: Price | None) -> int:
    """Return what a reply costs whose request had reserved `bound`."""
    used = _clamp(reply.input_tokens), _clamp(reply.output_tokens)
    # A server that reports no usage, or half of it, is not free: what was reserved counts.
    told = used[0] and (used[1] or not reply.text)
    return cost(price, *used) if told else max(bound, cost(price, *used))


def _clamp(tokens: int) -> int:
    """Return a server's token count within what the store's integers can add up."""
    return min(max(tokens, 0), _MOST_TOKENS)


def _per_token(per_million: float) -> int:
    # Rounded first: 0.15 * 1e6 is 150000.00000000003 for some prices, and must not become 150001.
    return math.ceil(round(per_million * 1_000_000, 6))


def output_bound(request: Request) -> int | None:
    """Return the most tokens a reply to `request` can have, or `None` when nothing limits it."""
    if isinstance(request, Ask):
        return request.max_tokens
    if isinstance(request, Choose):
        return CHOICE_TOKENS
    # A likelihood is served as a completion of one token; vectors and rewards write none.
    return 1 if isinstance(request, Likelihood | TurnLikelihood) else 0


def prompt_bound(request: Request) -> int:
    """Return an upper bound of the prompt's tokens."""
    around = len(_prompt_texts(request)) * TOKENS_PER_MESSAGE + TOKENS_PER_REQUEST
    return prompt_bytes(request) + around


def prompt_bytes(request: Request) -> int:
    """Return the length of the prompt's texts in UTF-8."""
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in _prompt_texts(request))


def _prompt_texts(request: Request) -> list[str]:
    if isinstance(request, Embed):
        return list(request.texts)
    texts: list[Any] = []
    if isinstance(request, Ask | Choose | Likelihood | TurnLikelihood | Reward):
        texts = [part for m in request.messages or () for part in (m.content, m.parts)]
    if isinstance(request, Ask | Choose | Likelihood):
        texts.append(request.prompt)
    if isinstance(request, Ask | Choose):
        texts += [request.system, request.prefill]
    if isinstance(request, Choose):
        texts += request.options
    if isinstance(request, Likelihood):
        texts.append(request.answer)
    if isinstance(request, TurnLikelihood | Reward) and request.template_options:
        texts.append(json.dumps(request.template_options))
    if isinstance(request, Ask) and request.schema:
        texts.append(json.dumps(request.schema))
    return [text for text in texts if text]
