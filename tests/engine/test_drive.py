"""The driver: every job gets its answer, nothing is paid for twice, and order changes nothing."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.ask import Ask, Reply
from curate.engine.drive import Job
from curate.engine.schedule import BATCH
from curate.engine.spending import Spending
from curate.engine.store import Store
from curate.errors import (
    CurateError,
    PermanentFault,
    RecipeError,
    StoreError,
    TemporaryFault,
    UnusableReply,
)

from .asking import Answering, chain, driver, one


def test_outcomes_come_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    model = Answering(delay=lambda text: random.Random(text).uniform(0, 0.005))
    with driver(tmp_path, model) as opened:
        outcomes = opened.run([one(str(n)) for n in range(3 * BATCH)])
        assert [o.value for o in outcomes] == [f"re: {n}" for n in range(3 * BATCH)]
        assert all(o.error is None and len(o.keys) == 1 for o in outcomes)
        assert opened.run([]) == []
    assert 2 <= model.most_busy <= 8
    assert model.closed


def test_concurrency_bounds_every_model(tmp_path: Path) -> None:
    model = Answering(delay=lambda text: 0.001, max_concurrency=50)
    with driver(tmp_path, model, concurrency=3) as opened:
        opened.run([one(str(n)) for n in range(60)])
    assert model.most_busy == 3


def test_plain_values_and_empty_waves_need_no_model(tmp_path: Path) -> None:
    def empty() -> Any:
        replies = yield []
        return replies

    with driver(tmp_path, Answering()) as opened:
        outcomes = opened.run([Job(lambda: 7), Job(empty), Job(lambda: None)])
    assert [(o.value, o.error, o.keys) for o in outcomes] == [
        (7, None, ()),
        ([], None, ()),
        (None, None, ()),
    ]


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    jobs = [chain(str(n), [["a", "b"], ["c"]]) for n in range(40)]
    model = Answering()
    with driver(tmp_path, model) as opened:
        first = opened.run(jobs)
        assert opened.counts.sent == len(model.sent) == 120
        assert opened.run(jobs) == first
        assert (opened.counts.sent, opened.counts.replayed) == (120, 120)
    with driver(tmp_path, again := Answering()) as opened:
        assert opened.run(jobs) == first
        assert again.sent == []
        assert (opened.counts.sent, opened.counts.replayed) == (0, 120)
        tally = opened.spending.tally()
        assert (tally.sent, tally.replayed) == (120, 240)


def test_equal_requests_of_judges_are_sent_once_even_in_flight(tmp_path: Path) -> None:
    def start() -> Any:
        reply = yield Ask.text("the same")
        return reply.text

    model = Answering(delay=lambda text: 0.01)
    with driver(tmp_path, model) as opened:
        shared = opened.run([Job(start, salt=str(n), shares=True) for n in range(30)])
        assert len(model.sent) == 1
        assert (opened.counts.sent, opened.counts.replayed) == (1, 29)
        apart = opened.run([Job(start, salt=str(n), shares=False) for n in range(30)])
    assert len(model.sent) == 31
    assert len({o.keys for o in shared}) == 1
    assert len({o.keys for o in apart}) == 30


@pytest.mark.parametrize(("share", "sends"), [(True, 1), (False, 5), (None, 5)])
def test_a_request_can_say_for_itself_whether_it_is_shared(
    share: bool | None, sends: int, tmp_path: Path
) -> None:
    def start() -> Any:
        return (yield Ask.text("x", share=share)).text

    with driver(tmp_path, model := Answering()) as opened:
        opened.run([Job(start, salt=str(n)) for n in range(5)])
    assert len(model.sent) == sends


def test_the_same_request_twice_in_a_wave_is_sent_once(tmp_path: Path) -> None:
    def start() -> Any:
        a, b, c = yield [Ask.text("x"), Ask.text("y"), Ask.text("x")]
        return a.text, b.text, c.text

    with driver(tmp_path, model := Answering()) as opened:
        assert opened.run([Job(start)])[0].value == ("re: x", "re: y", "re: x")
    assert sorted(model.sent) == ["x", "y"]


# -- failures -------------------------------------------------------------------------------------


def test_one_failure_fails_one_row(tmp_path: Path) -> None:
    def answer(text: str) -> str:
        if text == "3":
            raise PermanentFault("no such model")
        if text == "5":
            raise ZeroDivisionError("a bug in the model")
        return text

    def bad() -> Any:
        reply = yield Ask.text("fine")
        raise UnusableReply(f"no number in {reply.text!r}")

    jobs = [one(str(n)) for n in range(8)] + [Job(bad), Job(lambda: 1 // 0)]
    model = Answering(answer)
    with driver(tmp_path, model) as opened:
        outcomes = opened.run(jobs)
        errors = {i: type(o.error) for i, o in enumerate(outcomes) if o.error}
        assert errors == {
            3: PermanentFault,
            5: ZeroDivisionError,
            8: UnusableReply,
            9: ZeroDivisionError,
        }
        assert (opened.counts.sent, opened.counts.failed, opened.counts.retried) == (9, 2, 0)
        # What brought no reply is asked again; the reply that could not be used is not.
        opened.run(jobs)
    assert sorted(model.sent[9:]) == ["3", "5"]


def test_temporary_faults_are_tried_again_and_then_given_up(tmp_path: Path) -> None:
    tries: dict[str, int] = {}

    def answer(text: str) -> str:
        tries[text] = tries.get(text, 0) + 1
        if text == "never" or tries[text] <= int(text):
            raise TemporaryFault("busy", cause="rate_limit")
        return text

    with driver(tmp_path, Answering(answer)) as opened:
        outcomes = opened.run([one(text) for text in ("0", "2", "4", "never")])
        assert [o.value for o in outcomes] == ["0", "2", "4", None]
        assert str(outcomes[3].error) == "no reply after 5 attempts: busy"
        assert tries == {"0": 1, "2": 3, "4": 5, "never": 5}
        counts = opened.counts
        assert (counts.sent, counts.retried, counts.failed) == (14, 10, 1)
        assert counts.causes == {"rate_limit": 11}


def test_a_server_may_ask_for_a_longer_pause(tmp_path: Path) -> None:
    times: list[float] = []

    def answer(text: str) -> str:
        times.append(time.monotonic())
        if len(times) == 1:
            raise TemporaryFault("slow down", cause="rate_limit", retry_after=0.2)
        return text

    with driver(tmp_path, Answering(answer)) as opened:
        assert opened.run([one("x")])[0].value == "x"
    assert times[1] - times[0] >= 0.19


@pytest.mark.parametrize("first", ["a", "b"])
def test_the_error_of_a_row_does_not_depend_on_arrival(first: str, tmp_path: Path) -> None:
    def answer(text: str) -> str:
        raise PermanentFault(f"refused {text}")

    def start() -> Any:
        yield [Ask.text("a"), Ask.text("b"), Ask.text("c")]

    model = Answering(answer, delay=lambda text: 0.0 if text == first else 0.02)
    with driver(tmp_path, model) as opened:
        assert str(opened.run([Job(start)])[0].error) == "refused a"


def test_what_is_no_request_fails_the_row(tmp_path: Path) -> None:
    def yields_a_number() -> Any:
        yield 5

    def stops() -> Any:
        return next(iter(()))

    with driver(tmp_path, Answering()) as opened:
        number, stop = opened.run([Job(yields_a_number), Job(stops)])
    assert "the step yielded int; a step yields requests" in str(number.error)
    assert isinstance(stop.error, RuntimeError)


def test_a_request_that_is_no_json_data_fails_its_row_only(tmp_path: Path) -> None:
    with driver(tmp_path, Answering()) as opened:
        number: Any = 5
        outcomes = opened.run([one("a"), one("b", schema={"x": {1, 2}}), one(number), one("d")])
    assert [o.value for o in outcomes] == ["re: a", None, None, "re: d"]
    assert isinstance(outcomes[1].error, TypeError)
    assert isinstance(outcomes[2].error, AttributeError)


def test_a_reply_looks_the_same_when_it_is_new_and_when_it_is_replayed(tmp_path: Path) -> None:
    seen: list[Reply] = []

    def start() -> Any:
        seen.append((yield Ask.text("x")))

    model = Answering(lambda text: Reply("t", values=((0.1, 2),), logprobs=({"a": (1,)},)))
    for _ in range(2):
        with driver(tmp_path, model) as opened:
            assert opened.run([Job(start)])[0].error is None
    assert len(model.sent) == 1
    assert seen[0] == seen[1] == Reply("t", values=([0.1, 2],), logprobs=({"a": [1]},))
    assert seen[0].key == seen[1].key != ""


def test_how_a_step_cleans_up_has_no_say(tmp_path: Path) -> None:
    def start() -> Any:
        try:
            return (yield Ask.text("x")).text
        except GeneratorExit:
            raise ValueError("cleaning up failed") from None

    for open_generators in (0, 10):
        with driver(tmp_path, Answering(), open_generators=open_generators) as opened:
            assert opened.run([Job(start)])[0].value == "re: x"


def test_an_unknown_model_stops_the_run(tmp_path: Path) -> None:
    def start() -> Any:
        yield Ask.text("x", model="jugde")

    with (
        driver(tmp_path, Answering()) as opened,
        pytest.raises(RecipeError, match=r"'jugde'.*are: model$"),
    ):
        opened.run([Job(start)])


def test_a_store_that_breaks_stops_the_run(tmp_path: Path) -> None:
    with driver(tmp_path, model := Answering()) as opened:
        opened.run([one("x")])
        opened.store.commit_now(lambda c: c.execute("DROP TABLE requests"))
        with pytest.raises(StoreError, match="cannot be used"):
            opened.run([one(str(n)) for n in range(500)])
    assert len(model.sent) < 100


# -- --retry-failed -------------------------------------------------------------------------------


def number_of(text: str, **fields: Any) -> Job:
    def start() -> Any:
        reply = yield Ask.text(text, **fields)
        return float(reply.text)

    return Job(start, salt=text)


def test_retry_failed_asks_again_for_the_rows_that_failed_only(tmp_path: Path) -> None:
    jobs = [number_of(str(n)) for n in range(6)]
    broken = Answering(lambda text: "none" if text in "24" else text)
    with driver(tmp_path, broken) as opened:
        assert [o.value for o in opened.run(jobs)] == [0, 1, None, 3, None, 5]
    with driver(tmp_path, same := Answering()) as opened:
        opened.run(jobs)
        assert same.sent == []
    half = Answering(lambda text: "none" if text == "4" else text)
    with driver(tmp_path, half, retry_failed=True) as opened:
        assert [o.value for o in opened.run(jobs)] == [0, 1, 2, 3, None, 5]
        assert sorted(half.sent) == ["2", "4"], "each is asked once, though one fails again"
        opened.run(jobs)
        assert sorted(half.sent) == ["2", "4"]
    with driver(tmp_path, last := Answering()) as opened:
        assert [o.value for o in opened.run(jobs)] == [0, 1, 2, 3, None, 5]
        assert last.sent == []


def test_retry_failed_goes_on_from_the_wave_that_failed(tmp_path: Path) -> None:
    def start() -> Any:
        first = yield Ask.text("first")
        second, third = yield [Ask.text(f"second of {first.text}"), Ask.text("third")]
        if second.text == "bad":
            raise UnusableReply("bad second", key=second.key)
        last = yield Ask.text(f"last of {second.text}")
        return last.text + third.text

    broken = Answering(lambda text: "bad" if text.startswith("second") else text)
    with driver(tmp_path, broken) as opened:
        assert str(opened.run([Job(start)])[0].error) == "bad second"
    with driver(tmp_path, mended := Answering(lambda text: text), retry_failed=True) as opened:
        outcome = opened.run([Job(start)])[0]
        assert outcome.value == "last of second of firstthird"
        assert mended.sent == ["second of first", "last of second of first"]
        assert len(outcome.keys) == 4
    with driver(tmp_path, mended) as opened:
        assert opened.run([Job(start)])[0] == outcome
    assert len(mended.sent) == 2


def test_rows_that_share_a_bad_reply_ask_for_one_new_reply(tmp_path: Path) -> None:
    def start() -> Any:
        return float((yield Ask.text("shared")).text)

    jobs = [Job(start, shares=True) for _ in range(20)]
    with driver(tmp_path, Answering(lambda text: "none")) as opened:
        assert all(o.error for o in opened.run(jobs))
    with driver(tmp_path, model := Answering(lambda text: "4"), retry_failed=True) as opened:
        assert [o.value for o in opened.run(jobs)] == [4.0] * 20
    assert model.sent == ["shared"]


# -- release and re-entry -------------------------------------------------------------------------

WAVES = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=4)


@settings(max_examples=25, deadline=None)
@given(
    jobs=st.lists(WAVES, min_size=1, max_size=12),
    open_generators=st.sampled_from([0, 1, 3, 1024]),
    window=st.sampled_from([1, 2, 512]),
    concurrency=st.sampled_from([1, 8, 64]),
    seed=st.integers(0, 1000),
)
def test_release_window_and_arrival_change_nothing(
    jobs: list[list[list[str]]],
    open_generators: int,
    window: int,
    concurrency: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    work = [chain(str(n), waves) for n, waves in enumerate(jobs)]
    with driver(tmp_path_factory.mktemp("calm"), calm := Answering()) as opened:
        expected = opened.run(work)
    shuffled = Answering(delay=lambda text: random.Random(f"{seed} {text}").uniform(0, 0.002))
    options: dict[str, Any] = {"open_generators": open_generators, "window": window}
    folder = tmp_path_factory.mktemp("shuffled")
    with driver(folder, shuffled, concurrency=concurrency, **options) as opened:
        assert opened.run(work) == expected
        assert opened.counts.replayed == 0
    assert sorted(shuffled.sent) == sorted(calm.sent)


def test_released_generators_are_closed_and_few_stay_open(tmp_path: Path) -> None:
    alive = most = starts = 0

    def job(number: int) -> Job:
        def start() -> Any:
            nonlocal alive, most, starts
            alive, starts = alive + 1, starts + 1
            most = max(most, alive)
            try:
                first = yield Ask.text(f"{number} first")
                second = yield Ask.text(f"{number} then {first.text}")
                return second.text
            finally:
                alive -= 1

        return Job(start, salt=str(number))

    model = Answering(delay=lambda text: 0.001)
    with driver(tmp_path, model, open_generators=5) as opened:
        outcomes = opened.run([job(n) for n in range(100)])
    assert [o.value for o in outcomes] == [f"re: {n} then re: {n} first" for n in range(100)]
    assert len(model.sent) == 200
    assert alive == 0
    # Five that wait, and a batch of as many in hand.
    assert most <= 10
    assert starts > 150


def test_a_step_that_changes_its_mind_is_caught(tmp_path: Path) -> None:
    starts = iter(range(100))

    def fickle() -> Any:
        first = yield Ask.text(f"start {next(starts)}")
        return first.text

    def forgetful() -> Any:
        if next(starts) < 5:
            yield Ask.text("only at first")
        return "nothing to ask"

    for step in (fickle, forgetful):
        starts = iter(range(4, 100))
        with driver(tmp_path, Answering(), open_generators=0) as opened:
            outcome = opened.run([Job(step)])[0]
        assert isinstance(outcome.error, CurateError)
        assert "must do the same each time" in str(outcome.error)
        assert outcome.value is None


# -- processes ------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from curate.ask import Ask
from curate.engine.drive import Driver, Job
from curate.engine.spending import Spending
from curate.engine.store import Store
from curate.models.model import open_model

folder, log, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def job(number):
    def start():
        first = yield Ask.text(f"{number} first")
        second = yield Ask.text(f"{number} second after {first.text}")
        return second.text
    return Job(start, salt=str(number))

spec = {"model": f"scripted:{folder}/script.jsonl", "identity": "m", "log": f"{folder}/{log}",
        "max_concurrency": 16, "shuffle": 3}
with Store.open(folder / "store") as store:
    spending = Spending(store, "run")
    with Driver(store, {"m": open_model(spec)}, spending=spending) as driver:
        print("ready", flush=True)
        for outcome in driver.run([job(n) for n in range(count)]):
            print(outcome.value or outcome.error)
"""


def child(folder: Path, log: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), log, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def script(folder: Path, *lines: dict[str, Any]) -> None:
    (folder / "script.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def wait_for_lines(process: subprocess.Popen[str], path: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path.name} never got {count} lines"
        time.sleep(0.005)


def stored_keys(folder: Path) -> set[str]:
    with Store.open(folder / "store") as store:
        return {exchange.key for exchange in store.exchanges()}


FAULTY = (
    {"when": {"contains": "7 first"}, "fault": "permanent"},
    {"when": {"contains": "5 first"}, "fault": "server", "times": 2},
    {"when": {"contains": "first"}, "reply": "one"},
    {"when": {}, "reply": "two"},
)


def test_killed_again_and_again_nothing_committed_is_sent_twice(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    calm.mkdir()
    script(calm, *FAULTY)
    expected, _ = child(calm, "log", 300).communicate()
    script(tmp_path, *FAULTY)
    dice = random.Random(4)
    for kill in range(6):
        paid = stored_keys(tmp_path)
        process = child(tmp_path, f"log{kill}", 300)
        wait_for_lines(process, tmp_path / f"log{kill}", dice.randint(20, 90))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not paid & set((tmp_path / f"log{kill}").read_text().split())
    paid = stored_keys(tmp_path)
    out, error = child(tmp_path, "last", 300).communicate()
    assert (out, error) == (expected, "")
    assert not paid & set((tmp_path / "last").read_text().split())
    assert 0 < len(paid) < 600


def test_two_processes_share_one_store(tmp_path: Path) -> None:
    script(tmp_path, {"when": {"contains": "first"}, "reply": "one"}, {"when": {}, "reply": "two"})
    processes = [child(tmp_path, f"log{n}", 400) for n in range(2)]
    results = [process.communicate() for process in processes]
    assert results[0] == results[1]
    assert results[0][1] == ""
    assert len(stored_keys(tmp_path)) == 800
    sends = sum(len((tmp_path / f"log{n}").read_text().split()) for n in range(2))
    with Store.open(tmp_path / "store") as store:
        assert Spending(store, "run").tally().sent == sends
        assert store.stats()["replies"] == 800


def test_interrupt_ends_soon_and_keeps_what_had_arrived(tmp_path: Path) -> None:
    script(tmp_path, {"when": {"contains": "3 first"}, "reply": "late", "delay": 3600}, *FAULTY[2:])
    process = child(tmp_path, "log", 100)
    # The 19 slow rows end up holding all 16 places.
    wait_for_lines(process, tmp_path / "log", 60)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, error = process.communicate(timeout=10)
    assert time.monotonic() - begun < 2.0
    assert "KeyboardInterrupt" in error
    sent = (tmp_path / "log").read_text().split()
    assert len(sent) == len(set(sent))
    assert 0 < len(sent) - len(stored_keys(tmp_path)) <= 16


def test_the_driver_works_where_a_loop_runs_already(tmp_path: Path) -> None:
    import asyncio

    async def notebook() -> Any:
        with driver(tmp_path, Answering()) as opened:
            return opened.run([one("x")])[0].value

    assert asyncio.run(notebook()) == "re: x"
    assert not [t for t in threading.enumerate() if t.name.startswith("curate")]


def test_progress_is_told_while_requests_run(tmp_path: Path) -> None:
    seen: list[int] = []
    model = Answering(delay=lambda text: 0.02, max_concurrency=2)
    with driver(tmp_path, model, progress=lambda counts: seen.append(counts.sent)) as opened:
        opened.run([one(str(n)) for n in range(60)])
    assert len(seen) >= 2
    assert seen == sorted(seen)


@pytest.mark.slow
def test_replaying_fifty_thousand_rows_takes_seconds(tmp_path: Path) -> None:
    jobs = [number_of(f"{n} {'word ' * 200}") for n in range(52_000)]
    model = Answering(lambda text: text.split()[0], max_concurrency=256)
    with driver(tmp_path, model) as opened:
        first = opened.run(jobs)
    begun = time.monotonic()
    with driver(tmp_path, Answering()) as opened:
        assert opened.run(jobs) == first
        assert opened.counts.sent == 0
    assert time.monotonic() - begun < 10


def test_a_reply_of_megabytes_passes_whole(tmp_path: Path) -> None:
    big = "x" * (4 << 20)
    with driver(tmp_path, Answering(lambda text: Reply(text=big))) as opened:
        assert opened.run([one("x")])[0].value == big
    with driver(tmp_path, Answering()) as opened:
        assert opened.run([one("x")])[0].value == big
