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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curate.ask import Ask, Choose, Embed, Likelihood, Reply, Request, Reward
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
_MOST_TOKENS, _MOST_COST = 1 << 40, 1 << 60


@dataclass(frozen=True)
class Spent:
    """What a run has spent over all its processes; `reserved_usd` is not settled (yet, or ever).

    `sent` counts attempts. `cost_usd` counts a timed-out attempt at its upper bound.
    """

    sent: int
    replayed: int
    failed: int
    retried: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    reserved_usd: float


@dataclass(frozen=True)
class BudgetRefusal:
    """A reservation that would pass a ceiling; `final` when no settlement can make room for it."""

    error: CeilingReached
    final: bool


class Budget:
    """The tally of one run in one store, and its ceilings."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        max_cost: float | None = None,
        max_requests: int | None = None,
    ) -> None:
        """Join the tally of `run_id`; ceilings count what earlier processes spent."""
        self._store, self.run_id = store, run_id
        self.max_cost, self.max_requests = max_cost, max_requests
        _check_ceiling("--max-cost", max_cost)
        _check_ceiling("--max-requests", max_requests)
        self._ceiling = None if max_cost is None else round(max_cost * PICO)
        sql = "INSERT OR IGNORE INTO spending (run) VALUES (?)"
        store.commit_now(lambda connection: connection.execute(sql, (run_id,)).rowcount)

    def of(self, run_id: str) -> Budget:
        """Return the tally of another run in the same store, to settle what that one reserved."""
        other = copy.copy(self)
        other.run_id = run_id
        return other

    def tally(self) -> Spent:
        """Return what the run has spent so far."""
        return tally_of(self._store, self.run_id)

    def check(self, name: str, info: ModelInfo) -> None:
        """Refuse a model without a price when there is a ceiling on cost."""
        if self._ceiling is not None and info.price is None:
            raise RecipeError(
                f"model '{name}' has no known price, so --max-cost cannot be kept; give it "
                "'price: {input: USD, output: USD}' per million tokens (--price IN,OUT), or use "
                "--max-requests"
            )

    def bound(self, request: Request, info: ModelInfo) -> int:
        """Return the most that one attempt can cost, in pico-dollars."""
        longest = output_bound(request)
        if longest is None:
            if self._ceiling is not None:
                raise RecipeError(
                    f"a request to {info.identity} has no 'max_tokens', so --max-cost cannot be "
                    "kept; set it in the step or in the model's mapping"
                )
            longest = 0
        return cost(info.price, prompt_bound(request), longest)

    def reserve(
        self, connection: sqlite3.Connection, attempts: Sequence[tuple[int, bool]]
    ) -> list[BudgetRefusal | None]:
        """Count attempts, inside a transaction, or say which ceiling bars each one.

        Args:
            connection: the transaction.
            attempts: the bound of each, and whether it is another try of the same request.
        """
        sql = "SELECT sent, settled, reserved FROM spending WHERE run = ?"
        sent, settled, reserved = connection.execute(sql, (self.run_id,)).fetchone()
        before, retried, answers = (sent, reserved), 0, list[BudgetRefusal | None]()
        for bound, retry in attempts:
            refusal = self._refusal(sent, settled, reserved, bound)
            answers.append(refusal)
            if refusal is None:
                sent, reserved, retried = sent + 1, reserved + bound, retried + retry
        sent, reserved = sent - before[0], reserved - before[1]
        if sent:
            self._add(connection, sent=sent, retried=retried, reserved=reserved)
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

    def cancel(self, connection: sqlite3.Connection, bound: int, *, retry: bool) -> None:
        """Take back a reservation whose attempt was not sent after all."""
        self._add(connection, sent=-1, retried=-int(retry), reserved=-bound)

    def settle(self, connection: sqlite3.Connection, bound: int, bill: int) -> None:
        """Replace the reservation of an attempt that brought no reply by its bill."""
        self._add(connection, reserved=-bound, settled=bill)

    def settle_replies(
        self, connection: sqlite3.Connection, replies: Sequence[tuple[int, Reply, Price | None]]
    ) -> list[int]:
        """Replace reservations by the bills for the replies, and return the bills."""
        bills, tokens = list[int](), [0, 0]
        for bound, reply, price in replies:
            used = _clamp(reply.input_tokens), _clamp(reply.output_tokens)
            bills.append(bill_of(bound, reply, price))
            tokens = [tokens[0] + used[0], tokens[1] + used[1]]
        self._add(
            connection,
            reserved=-sum(bound for bound, _, _ in replies),
            settled=sum(bills),
            input_tokens=tokens[0],
            output_tokens=tokens[1],
        )
        return bills

    def overshoot(self, bound: int, bill: int) -> CeilingReached | None:
        """Return the error that ends a run whose server billed more than was reserved."""
        if self._ceiling is None or bill <= bound:
            return None
        return CeilingReached(
            f"the server billed {usd(bill)} for one request, {usd(bill - bound)} more than the "
            f"{usd(bound)} reserved for it under --max-cost {_plain(self.max_cost)}; sending was "
            "stopped at once. Check the model's price and whether the server keeps to max_tokens, "
            "then run the same command again; nothing that was answered is asked again"
        )

    def count(self, connection: sqlite3.Connection, *, replayed: int, failed: int) -> None:
        """Add requests that cost nothing: answered by the store, or given up."""
        self._add(connection, replayed=replayed, failed=failed)

    def _add(self, connection: sqlite3.Connection, **amounts: int) -> None:
        changes = ", ".join(f"{name} = {name} + ?" for name in amounts)
        sql = f"UPDATE spending SET {changes} WHERE run = ?"
        connection.execute(sql, (*amounts.values(), self.run_id))


def tally_of(store: Store, run_id: str) -> Spent:
    """Return what a run has spent so far, without writing: nothing, where the store has no such."""
    rows = store.read(f"SELECT {_COLUMNS} FROM spending WHERE run = ?", (run_id,))
    values: list[Any] = [*rows[0]] if rows else [0] * len(_COLUMNS.split(","))
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
    return 1 if isinstance(request, Likelihood) else 0


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
    if isinstance(request, Ask | Choose | Likelihood | Reward):
        texts = [part for m in request.messages or () for part in (m.content, m.parts)]
    if isinstance(request, Ask | Choose | Likelihood):
        texts.append(request.prompt)
    if isinstance(request, Ask | Choose):
        texts += [request.system, request.prefill]
    if isinstance(request, Choose):
        texts += request.options
    if isinstance(request, Likelihood):
        texts.append(request.answer)
    if isinstance(request, Ask) and request.schema:
        texts.append(json.dumps(request.schema))
    return [text for text in texts if text]
