"""How much a method costs above its requests: best of five with rewards and pairs.

    python benchmarks/best_of_five.py [--full]

Five answers to each prompt, a reward for each answer, a pair of the best and the worst: ten
requests a row, answered by a script at once. Beside it, in turns, as many requests that the driver
alone stores. Both are asked once and then replayed by a second run over the same store. What
counts is processor time. `--full` makes 100,000 requests, the default 10,000.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench import Contender, Line, machine, print_ratio, print_table, side_by_side

from curate.ask import Ask, Reward
from curate.row import Message, Record
from curate.step import Filter, Gather, Generate

ROWS = 1_000
FULL_ROWS = 10_000
REQUESTS_PER_ROW = 10
# The least that pairs may cost above the bare store, in processor time.
MOST = 2.0


@dataclass(frozen=True, kw_only=True)
class Answers(Generate):
    """Write five answers."""

    def make(self, row):
        asks = [
            Ask.text(row.instruction, model="writer", sample=n, max_tokens=64) for n in range(5)
        ]
        replies = yield asks
        user = Message("user", row.instruction)
        return [
            Record("sft", {"messages": (user, Message("assistant", reply.text))})
            for reply in replies
        ]


@dataclass(frozen=True, kw_only=True)
class Rewarded(Filter):
    """Score an answer by a reward."""

    def score(self, row):
        turns = (Message("user", row.instruction), Message("assistant", row.response))
        return (yield Reward(messages=turns, model="reward")).values[0]

    def keep(self, score):
        return None


@dataclass(frozen=True, kw_only=True)
class BestAndWorst(Gather):
    """Make a pair of the best and the worst answer."""

    kinds: ClassVar[tuple[str, ...]] = ("sft",)

    def expects(self, row):
        return 5

    def key(self, row):
        return row.instruction

    def make(self, rows):
        worst, *_, best = sorted(rows, key=lambda row: row.scores["rewarded"])
        fields = {
            "prompt": (Message("user", best.instruction),),
            "chosen": (Message("assistant", best.response),),
            "rejected": (Message("assistant", worst.response),),
            "margin": best.scores["rewarded"] - worst.scores["rewarded"],
            "p_chosen": None,
        }
        return Record("preference", fields, parents=(best.id, worst.id))


def models(folder: Path) -> dict[str, dict[str, object]]:
    """Return models that answer five texts and five rewards, each at once."""
    texts = [f"answer {n} {'word ' * 40}" for n in range(5)]
    (folder / "writer.jsonl").write_text(json.dumps({"when": {}, "reply": texts}) + "\n")
    lines = [{"when": {"contains": f"answer {n} "}, "values": [float(n)]} for n in range(5)]
    (folder / "reward.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        name: {"model": f"scripted:{folder / name}.jsonl", "max_concurrency": 256}
        for name in ("writer", "reward")
    }


def prompt(number: int) -> str:
    return f"question {number} {'about something ' * 6}"


def pairs(folder: Path, rows: int) -> dict[str, int]:
    """Make the pairs, twice over one store; return how many there are and what was sent."""
    from curate import Pipeline

    lines = (json.dumps({"prompt": prompt(n)}) + "\n" for n in range(rows))
    (folder / "rows.jsonl").write_text("".join(lines))
    pipeline = Pipeline([Answers(), Rewarded(), BestAndWorst()], models=models(folder))
    found = []
    for name in ("first", "replay"):
        result = pipeline.run(str(folder / "rows.jsonl"), run=folder / name, store=folder / "store")
        found.append(result.summary)
    sent = [one["this_time"]["sent"] for one in found]
    return {"kept": found[1]["kept"], "sent": sent[0], "again": sent[1]}


def bare(folder: Path, rows: int) -> dict[str, int]:
    """Let the driver alone store as many replies, and read them again."""
    from curate.models.model import open_model
    from curate.requests.driver import Driver
    from curate.requests.session import RowTask
    from curate.store.budget import Budget
    from curate.store.store import Store

    spec = models(folder)["writer"]

    def task(number: int) -> RowTask:
        def start():
            return (yield Ask.text(prompt(number), sample=number % 5, max_tokens=64)).text

        return RowTask(start)

    sent = []
    for run in ("first", "replay"):
        with Store.open(folder / "store") as store:
            spending = Budget(store, run)
            with Driver(store, {"writer": open_model(spec)}, spending=spending) as driver:
                done = driver.run([task(n) for n in range(rows * REQUESTS_PER_ROW)])
                sent.append(driver.counts.sent)
    return {"kept": sum(one.value is not None for one in done), "sent": sent[0], "again": sent[1]}


WORK = {"bare store and replay": bare, "best of five with pairs": pairs}


def child(name: str, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        found = WORK[name](Path(folder), rows)
        seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, **found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="100,000 requests")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--child", nargs=2)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child[0], int(chosen.child[1]))
        return
    print(machine())
    rows = FULL_ROWS if chosen.full else ROWS
    contenders = [
        Contender(name, "", [sys.executable, __file__, "--child", name, str(rows)]) for name in WORK
    ]
    found = side_by_side(contenders, repeats=chosen.repeats)
    lines = []
    for name, measured in found.items():
        own, kept = measured.result, rows * (1 if "pairs" in name else REQUESTS_PER_ROW)
        right = (own["kept"], own["sent"], own["again"]) == (kept, rows * REQUESTS_PER_ROW, 0)
        note = f"{own['cpu']:.2f} s of processor time"
        lines.append(Line(name, "", own["sent"], measured, "yes" if right else "NO", note))
    print_table("Best of five: requests, stored and replayed", lines)
    print_ratio("of the bare store and replay", found, *reversed(WORK), figure=_cpu, most=MOST)


def _cpu(measured) -> float:
    return measured.result["cpu"]


if __name__ == "__main__":
    main()
