"""Ceilings: what is settled and reserved never passes them, whatever ends the process."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Choose, Embed, Likelihood, Reply, Request, Reward, TurnLikelihood
from curate.errors import CeilingReached, PermanentFault, RecipeError, TemporaryFault, UsageError
from curate.models.model import Price
from curate.requests.driver import RowTask
from curate.row import Message
from curate.store.budget import (
    PICO,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REQUEST,
    Budget,
    RunBills,
    _plain,
    bill_of,
    cost,
    output_bound,
    prompt_bound,
    prompt_bytes,
    usd,
)
from curate.store.store import Store
from tests.engine.asking import Answering, driver, one

PRICE = Price(input=1.0, output=10.0)


def billed(tokens: Callable[[str], tuple[int, int]]) -> Callable[[str], Reply]:
    """Answer with what the server says it used."""

    def answer(text: str) -> Reply:
        used = tokens(text)
        return Reply(text=f"re: {text}", input_tokens=used[0], output_tokens=used[1])

    return answer


# -- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "tokens", "dollars"),
    [
        (Price(0.15, 0.6), (1_000_000, 1_000_000), 0.75),
        (Price(0.1, 0.0375), (3, 7), 5.625e-07),
        (Price(0, 0), (10, 10), 0),
        (None, (10, 10), 0),
    ],
)
def test_cost_is_exact(price: Price | None, tokens: tuple[int, int], dollars: float) -> None:
    assert cost(price, *tokens) == round(dollars * PICO)


def test_an_absurd_count_of_tokens_still_fits_the_store(tmp_path: Path) -> None:
    absurd = Answering(billed(lambda text: (10**30, -5)), price=PRICE)
    with driver(tmp_path, absurd) as opened:
        assert opened.run([one(str(n)) for n in range(20)])[3].value == "re: 3"
        tally = opened.spending.tally()
    assert tally.cost_usd > 1e6
    assert tally.output_tokens == 0


@pytest.mark.parametrize(
    ("request_", "least"),
    [
        (Ask.text("héllo"), 6),
        (Ask(messages=(Message("user", "ab"), Message("user", "", '{"x":1}')), system="s"), 10),
        (Ask(prompt="a" * 50), 50),
        (Ask.text("a", schema={"type": "object"}), 19),
        (Likelihood(prompt="abc", answer="de"), 5),
        (Embed(texts=("abc", "de")), 5),
        (Reward(messages=(Message("user", "abcd"),)), 4),
        (TurnLikelihood(messages=(Message("user", "abcd"),)), 4),
    ],
)
def test_no_prompt_has_more_tokens_than_bytes(request_: Request, least: int) -> None:
    assert least < prompt_bound(request_) <= least + 64 + 4 * 16


def test_only_a_text_without_max_tokens_is_unbounded() -> None:
    assert output_bound(Ask.text("x", max_tokens=5)) == 5
    assert output_bound(Ask.text("x")) is None
    assert output_bound(Likelihood(prompt="x", answer="y")) == 1
    assert output_bound(TurnLikelihood(messages=())) == 1
    assert output_bound(Embed(texts=("x",))) == 0


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (12 * PICO, "$12.00"), (PICO // 4000, "$0.00025")]
)
def test_small_sums_are_told_in_full(amount: int, text: str) -> None:
    assert usd(amount) == text


# -- recipe errors --------------------------------------------------------------------------------


def test_a_model_without_price_is_refused_under_a_ceiling_on_cost(tmp_path: Path) -> None:
    model = Answering()
    with (
        pytest.raises(RecipeError, match="model 'model' has no known price"),
        driver(tmp_path, model, max_cost=1.0),
    ):
        pass
    with driver(tmp_path, model, max_requests=1) as opened:
        assert opened.run([one("x")])[0].value == "re: x"


def test_a_request_without_max_tokens_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    model = Answering(price=PRICE)
    jobs = [one(str(n)) for n in range(20)] + [one("endless", max_tokens=None)]
    with (
        driver(tmp_path, model, max_cost=1.0) as opened,
        pytest.raises(RecipeError, match="no 'max_tokens'"),
    ):
        opened.run(jobs)
    assert model.sent == []


@pytest.mark.parametrize(
    "ceilings", [{"max_cost": -1.0}, {"max_cost": float("nan")}, {"max_requests": -3}]
)
def test_a_ceiling_below_nothing_is_refused(ceilings: dict[str, Any], tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="must be a number from 0 on"),
        driver(tmp_path, Answering(), **ceilings),
    ):
        pass


# -- ceilings -------------------------------------------------------------------------------------


def test_the_ceiling_on_requests_counts_attempts_of_all_processes(tmp_path: Path) -> None:
    jobs = [one(str(n)) for n in range(30)]
    tries: dict[str, int] = {}

    def twice(text: str) -> str:
        tries[text] = tries.get(text, 0) + 1
        if tries[text] == 1:
            raise TemporaryFault("busy", cause="server")
        return text

    model = Answering(twice)
    for ceiling in (7, 20):
        with driver(tmp_path, model, max_requests=ceiling) as opened:
            with pytest.raises(CeilingReached, match=rf"ceiling of {ceiling} requests .*Raise"):
                opened.run(jobs)
            assert opened.spending.tally().sent == len(model.sent) == ceiling
    with driver(tmp_path, model, max_requests=20, run_id="other folder") as opened:
        assert opened.spending.tally().sent == 0
    with driver(tmp_path, model, max_requests=60) as opened:
        assert [o.value for o in opened.run(jobs)] == [str(n) for n in range(30)]
        # Killed by nobody, two attempts for each row: exactly what was needed.
        assert opened.spending.tally().sent == len(model.sent) == 60
        assert opened.run(jobs)[0].value == "0"


@pytest.mark.parametrize(
    "seed", [*range(40), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(40, 200))]
)
def test_settled_and_reserved_never_pass_the_ceiling(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    bound = cost(PRICE, prompt_bound(Ask.text("xxx")), 16) / PICO
    ceiling = bound * dice.uniform(0.5, 40)
    highest = 0.0

    def tokens(text: str) -> tuple[int, int]:
        nonlocal highest
        tally = opened.spending.tally()
        highest = max(highest, tally.cost_usd + tally.reserved_usd)
        if dice.random() < 0.2:
            raise TemporaryFault("busy", cause=dice.choice(["rate_limit", "timeout", "server"]))
        return dice.randint(0, 60), dice.randint(0, 16)

    model = Answering(
        billed(tokens),
        price=PRICE,
        max_concurrency=dice.choice([1, 3, 16]),
        delay=lambda text: dice.uniform(0, 0.001),
    )
    jobs = [chain_of(n, dice.randint(1, 3)) for n in range(30)]
    reached = False
    with driver(tmp_path, model, max_cost=ceiling) as opened:
        try:
            opened.run(jobs)
        except CeilingReached:
            reached = True
        tally = opened.spending.tally()
    assert max(highest, tally.cost_usd) <= ceiling
    assert tally.reserved_usd == 0
    if reached:
        # It stopped because the next request could have passed the ceiling, not before.
        assert tally.cost_usd + bound > ceiling
    else:
        assert len(model.sent) >= 30


def chain_of(number: int, waves: int) -> RowTask:
    def start() -> Any:
        for wave in range(waves):
            yield Ask.text(f"{number:02}{wave}"[-3:], max_tokens=16)
        return number

    return RowTask(start, salt=str(number))


def test_money_in_flight_is_waited_for_before_giving_up(tmp_path: Path) -> None:
    # Each reserves far more than it costs: one after the other, all of them fit.
    bound = cost(PRICE, prompt_bound(Ask.text("00")), 16) / PICO
    model = Answering(billed(lambda text: (1, 1)), price=PRICE, delay=lambda text: 0.0005)
    with driver(tmp_path, model, max_cost=bound * 1.5) as opened:
        outcomes = opened.run([one(f"{n:02}") for n in range(10)])
        assert all(o.value for o in outcomes)
        assert opened.spending.tally().cost_usd == pytest.approx(10 * cost(PRICE, 1, 1) / PICO)


@pytest.mark.parametrize(
    ("fault", "charged"),
    [
        (TemporaryFault("no answer", cause="timeout"), 5),
        (TemporaryFault("half an answer", cause="malformed"), 5),
        (TemporaryFault("busy", cause="rate_limit"), 0),
        (TemporaryFault("oops", cause="server"), 0),
        (PermanentFault("not found"), 0),
        (RuntimeError("a bug"), 1),
    ],
)
def test_what_may_have_been_billed_counts_whole(
    fault: Exception, charged: int, tmp_path: Path
) -> None:
    def answer(text: str) -> str:
        raise fault

    bound = cost(PRICE, prompt_bound(Ask.text("x")), 16)
    with driver(tmp_path, Answering(answer, price=PRICE), max_cost=1.0) as opened:
        assert opened.run([one("x")])[0].error is not None
        tally = opened.spending.tally()
        assert (tally.cost_usd, tally.reserved_usd) == (charged * bound / PICO, 0)
        assert opened.counts.cost_usd == pytest.approx(tally.cost_usd)


def test_a_reply_without_usage_costs_what_was_reserved(tmp_path: Path) -> None:
    bound = cost(PRICE, prompt_bound(Ask.text("x")), 16)
    with driver(tmp_path, Answering(price=PRICE), max_cost=1.0) as opened:
        opened.run([one("x")])
        assert opened.spending.tally().cost_usd == bound / PICO


@pytest.mark.parametrize("tokens", [(5, 0), (0, 2), (0, 0)])
def test_half_a_usage_costs_what_was_reserved(tokens: tuple[int, int]) -> None:
    reply = Reply(text="x", input_tokens=tokens[0], output_tokens=tokens[1])
    assert bill_of(10**9, reply, PRICE) == 10**9
    assert bill_of(1, reply, PRICE) == max(1, cost(PRICE, *tokens)), "never less than was told"
    vectors = Reply(values=([1.0],), input_tokens=5)
    assert bill_of(10**9, vectors, PRICE) == cost(PRICE, 5, 0), "a reply without text writes none"


def test_a_server_that_bills_too_much_is_stopped_and_reported(tmp_path: Path) -> None:
    model = Answering(
        billed(lambda text: (10, 5000 if text == "3" else 1)), price=PRICE, max_concurrency=1
    )
    jobs = [one(str(n)) for n in range(50)]
    with driver(tmp_path, model, max_cost=1.0) as opened:
        with pytest.raises(CeilingReached, match=r"billed \$0\.05 for one request, .* more than"):
            opened.run(jobs)
        assert len(model.sent) == 4
        assert opened.spending.tally().cost_usd == pytest.approx(0.05001 + 3 * 20e-6)
        # The reply was paid for, so it is kept.
        assert len(opened.store.get_many(e.key for e in opened.store.exchanges())) == 4


def test_the_same_command_goes_on_under_a_higher_ceiling(tmp_path: Path) -> None:
    jobs = [one(str(n)) for n in range(20)]
    model = Answering(billed(lambda text: (10, 1)), price=PRICE)
    with driver(tmp_path, model, max_cost=0.0004) as opened, pytest.raises(CeilingReached) as stop:
        opened.run(jobs)
    assert "--max-cost (to 0.01 or more)" in str(stop.value)
    before = len(model.sent)
    assert 0 < before < 20
    with driver(tmp_path, model, max_cost=1.0) as opened:
        assert all(o.value for o in opened.run(jobs))
        assert opened.spending.tally().cost_usd == pytest.approx(20 * 20e-6)
    assert len(model.sent) == len(set(model.sent)) == 20


# -- processes ------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from curate.ask import Ask
from curate.requests.driver import Driver, RowTask
from curate.store.budget import Budget
from curate.store.store import Store
from curate.errors import CeilingReached
from curate.models.model import open_model

folder, first, ceiling = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
spec = {"model": f"scripted:{folder}/script.jsonl", "log": f"{folder}/log", "shuffle": 1,
        "price": {"input": 1.0, "output": 10.0}, "max_tokens": 16}

def job(number):
    def start():
        return (yield Ask.text(str(number)))
    return RowTask(start, salt=str(number))

with Store.open(folder / "store") as store:
    spending = Budget(store, "run", max_cost=100.0, max_requests=ceiling)
    with Driver(store, {"m": open_model(spec)}, spending=spending, concurrency=4) as driver:
        try:
            driver.run([job(n) for n in range(first, first + 100)])
        except CeilingReached:
            sys.exit(3)
"""


def child(folder: Path, first: int, ceiling: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(first), str(ceiling)])


def write_script(folder: Path, **line: Any) -> None:
    (folder / "script.jsonl").write_text(json.dumps({"when": {}, **line}))


def test_a_killed_process_leaves_its_reservations_counted(tmp_path: Path) -> None:
    # Three have to be billed before there are four at once.
    lines = [
        {"when": {"messages": [{"role": "user", "content": str(n)}]}, "reply": "now"}
        for n in range(3)
    ]
    lines.append({"when": {}, "reply": "late", "delay": 3600})
    (tmp_path / "script.jsonl").write_text("\n".join(map(json.dumps, lines)))
    process = child(tmp_path, 0, 100)
    log = tmp_path / "log"
    deadline = time.monotonic() + 60
    try:
        while not log.exists() or len(log.read_text().split()) < 7:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    with Store.open(tmp_path / "store") as store:
        spending = Budget(store, "run", max_cost=1.0)
        tally = spending.tally()
        bound = cost(PRICE, prompt_bound(Ask.text("0")), 16) / PICO
        # Four were sent; half as many were reserved and ready for the next free place.
        assert 7 <= tally.sent <= 9
        assert tally.cost_usd == pytest.approx(3 * bound)
        assert tally.reserved_usd == pytest.approx((tally.sent - 3) * bound)


def test_two_processes_of_one_run_keep_one_ceiling(tmp_path: Path) -> None:
    write_script(tmp_path, reply="fine", usage={"input_tokens": 5, "output_tokens": 2})
    processes = [child(tmp_path, first, 120) for first in (0, 1000)]
    assert 3 in [process.wait() for process in processes]
    sent = len((tmp_path / "log").read_text().split())
    # One may stop while the other still holds two reservations for places that it then needs not.
    assert 118 <= sent <= 120
    with Store.open(tmp_path / "store") as store:
        tally = Budget(store, "run").tally()
    assert (tally.sent, tally.input_tokens, tally.output_tokens) == (sent, 5 * sent, 2 * sent)
    assert tally.reserved_usd == 0
    assert tally.cost_usd == pytest.approx(sent * 25e-6)
    assert tally.reserved_usd == 0


@pytest.mark.parametrize(("ceiling", "text"), [(0.00001, "0.00001"), (10.0, "10"), (0, "0")])
def test_a_ceiling_is_written_as_people_write_it(ceiling: float, text: str) -> None:
    assert _plain(ceiling) == text


def test_a_ceiling_is_reached_exactly_and_not_passed_by_the_least_sum(tmp_path: Path) -> None:
    """Over this store and others, reserved and settled together."""
    spent_elsewhere = RunBills({"sent": 2, "settled": PICO // 4, "reserved": PICO // 4})
    with Store.open(tmp_path) as store:
        budget = Budget(store, "run", max_cost=1, max_requests=5, elsewhere=spent_elsewhere)

        def reserve(*bounds: int) -> list[bool | None]:
            attempts = [(bound, number > 0) for number, bound in enumerate(bounds)]
            answers = store.commit_now(lambda connection: budget.reserve(connection, attempts))
            return [None if one is None else one.final for one in answers]

        half = PICO // 2
        assert reserve(half + 1) == [False], "a settlement may make room"
        assert reserve(half - 1, 2, 1) == [None, False, None]
        now = budget.tally()
        assert (now.sent, now.retried, now.reserved_usd) == (4, 1, 0.75)
        assert reserve(1) == [False]
        store.commit_now(lambda connection: budget.cancel(connection, 1, retry=True))
        now = budget.tally()
        assert (now.sent, now.retried) == (3, 0)
        assert now.reserved_usd == pytest.approx(0.75 - 1 / PICO, abs=1e-15)
        store.commit_now(lambda connection: budget.settle(connection, half - 1, 0))
        assert budget.tally().cost_usd == budget.tally().reserved_usd == 0.25
        assert reserve(1, 1, 1) == [None, None, True], "nothing makes room for a sixth request"
        store.commit_now(lambda connection: budget.count(connection, replayed=3, failed=2))
        now = budget.tally()
        assert (now.sent, now.retried, now.replayed, now.failed) == (5, 1, 3, 2)
        other = budget.of("another run").tally()
        assert (other.sent, other.cost_usd) == (2, 0.25), "what was spent elsewhere is the run's"


def columns_by_step(store: Store, run: str = "run") -> dict[str, list[int]]:
    """Return the amounts of each step as the store holds them, and the run's own under `None`."""
    names = "sent, replayed, failed, retried, input_tokens, output_tokens, settled, reserved"
    of_steps = store.read(f"SELECT step, {names} FROM step_spending WHERE run = ?", (run,))
    whole = store.read(f"SELECT 'all of it', {names} FROM spending WHERE run = ?", (run,))
    return {step: own for step, *own in [*of_steps, *whole]}


def test_each_step_has_its_part_of_what_was_spent(tmp_path: Path) -> None:
    """Exact in the least unit: tries that failed, what is given up, and what is replayed, too."""
    tries: dict[str, int] = {}

    def answer(text: str) -> Reply:
        tries[text] = tries.get(text, 0) + 1
        if (text == "late" and tries[text] < 3) or text == "never":
            raise TemporaryFault("it took too long", cause="timeout")
        if text == "wrong":
            raise PermanentFault("no such thing")
        return Reply(text=text, input_tokens=len(text), output_tokens=2)

    def asks(step: str, *texts: str) -> list[RowTask]:
        return [replace(one(text), shares=True, step=step) for text in texts]

    def bound(text: str) -> int:
        return cost(PRICE, prompt_bound(Ask.text(text)), 16)

    with driver(tmp_path, Answering(answer, price=PRICE)) as opened:
        opened.run([*asks("judge", "a", "late", "never"), *asks("write", "wrong", "b")])
        opened.run(asks("write", "a", "late"))
        opened.run([replace(one("alone"), step="")])
        found = columns_by_step(opened.store)
        tally = opened.spending.tally()
    assert opened.counts.replayed == 2
    whole = found.pop("all of it")
    alone = [1, 0, 0, 0, 5, 2, cost(PRICE, 5, 2), 0]
    # The model takes five tries to give `never` up, and each may have been billed.
    paid = cost(PRICE, 1, 2) + 2 * bound("late") + cost(PRICE, 4, 2) + 5 * bound("never")
    assert found == {
        "judge": [9, 0, 1, 6, 5, 4, paid, 0],
        "write": [2, 2, 1, 0, 1, 2, cost(PRICE, 1, 2), 0],
    }
    assert [sum(own) for own in zip(alone, *found.values(), strict=True)] == whole
    assert set(tally.steps) == {"judge", "write", ""}
    assert tally.steps["judge"].cost_usd == paid / PICO and tally.steps["judge"].retried == 6
    unnamed = tally.steps[""]
    assert (unnamed.sent, unnamed.input_tokens, unnamed.output_tokens) == (1, 5, 2)
    assert sum(own.cost_usd for own in tally.steps.values()) == pytest.approx(tally.cost_usd)


def test_what_is_taken_back_and_in_doubt_is_its_steps(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        budget = Budget(store, "run", max_requests=3)
        attempts = [(10, False), (20, True), (30, False), (40, False)]
        steps = ["one", "two", "one", "two"]
        refused = store.commit_now(lambda c: budget.reserve(c, attempts, steps=steps))
        assert [one is None for one in refused] == [True, True, True, False]
        store.commit_now(lambda c: budget.cancel(c, 20, retry=True, step="two"))
        store.commit_now(lambda c: budget.settle(c, 10, 7, "one"))
        found = columns_by_step(store)
        assert found["one"] == [2, 0, 0, 0, 0, 0, 7, 30] == found["all of it"]
        assert not any(found["two"])
        assert set(budget.tally().steps) == {"one", "two"}


@pytest.mark.parametrize(
    ("request_", "texts"),
    [
        (Embed(texts=("ab", "é"), model="m"), ["ab", "é"]),
        (Reward(messages=(Message("user", "ab"), Message("assistant", "c"))), ["ab", "c"]),
        (TurnLikelihood(messages=(Message("user", "ab"),), template_options={"a": 1}),
         ["ab", '{"a": 1}']),
        (Ask.text("ab", model="m", system="c", prefill="d", schema={"a": 1}),
         ["ab", "c", "d", '{"a": 1}']),
        (Ask(prompt="abc", model="m"), ["abc"]),
        (Choose(prompt="ab", options=("c", "de"), model="m"), ["ab", "c", "de"]),
        (Likelihood(prompt="ab", answer="cde", model="m"), ["ab", "cde"]),
        (Likelihood(messages=(), answer="cde", model="m"), ["cde"]),
    ],
)  # fmt: skip
def test_all_that_is_sent_is_bounded(request_: Request, texts: list[str]) -> None:
    own = sum(len(text.encode()) for text in texts)
    assert prompt_bytes(request_) == own
    allowed = TOKENS_PER_MESSAGE * len(texts) + TOKENS_PER_REQUEST
    assert prompt_bound(request_) == own + allowed
