"""How long a finished judged run takes again: the same command, and another threshold.

    python benchmarks/replay.py [--rows N] [--repeats N]

52,000 real rows with seeded perturbations, judged by scripted replies: the first run asks each
distinct answer once. Then, each in a fresh process: the same run once more, and the same rows under
another threshold in another folder. Neither may send a request, and what they keep is compared.
Times are whole processes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import Contender, Line, machine, measure, print_goal, print_table, side_by_side
from near_data import near_file

from curate import Pipeline
from curate.ask import Ask
from curate.step import Filter, rule

ROWS = 52_000


@dataclass(frozen=True, kw_only=True)
class Judged(Filter):
    """Score a row by a model's number."""

    at_least: float = rule(5.0)

    def score(self, row):
        text = f"Rate this answer from 1 to 10.\n\n{row.instruction}\n\n{row.response}"
        reply = yield Ask.text(text, max_tokens=8, temperature=0.0)
        return float(reply.whole())

    def keep(self, score):
        return f"rated below {self.at_least}" if score < self.at_least else None


def script(folder: Path) -> Path:
    """Write replies that depend on the prompt: 3 where it names a list, else 7."""
    path = folder / "judge.jsonl"
    lines = [{"when": {"contains": "list"}, "reply": "3"}, {"when": {}, "reply": "7"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def child(folder: Path, rows: int, run: str, at_least: float) -> None:
    model = {"model": f"scripted:{folder / 'judge.jsonl'}", "max_concurrency": 256}
    pipeline = Pipeline([Judged(at_least=at_least)], models={"judge": model})
    summary = pipeline.run(near_file(rows), run=folder / run, store=folder / "store").summary
    found = {name: summary[name] for name in ("in", "kept", "dropped", "failed")}
    print(json.dumps({**found, "sent": summary["requests"]["sent"]}))


def contender(name: str, folder: Path, rows: int, run: str, at_least: float) -> Contender:
    command = [sys.executable, __file__, "--child", str(folder), str(rows), run, str(at_least)]
    return Contender(name, "", command)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--full", action="store_true", help="changes nothing: there is one size")
    parser.add_argument("--child", nargs=4)
    options = parser.parse_args()
    if options.child:
        folder, rows, run, at_least = options.child
        child(Path(folder), int(rows), run, float(at_least))
        return
    print(machine())
    folder = Path(tempfile.mkdtemp())
    try:
        script(folder)
        compare(folder, options.rows, options.repeats)
    finally:
        shutil.rmtree(folder)


def compare(folder: Path, rows: int, repeats: int | None) -> None:
    """Print the table, and how the goals stand."""
    first = contender("first run, every reply asked", folder, rows, "first", 5.0)
    again = [
        contender("the same command again", folder, rows, "first", 5.0),
        contender("another threshold", folder, rows, "other", 2.0),
    ]
    paid = measure(first, repeats=1, warm_up=False)
    found = list(side_by_side(again, repeats=repeats).values())
    sent = paid.result["sent"]
    lines = [Line(first.name, "", rows, paid)]
    for one, measured, kept in zip(again, found, (paid.result["kept"], rows), strict=True):
        right = measured.result["kept"] == kept and not measured.result["failed"]
        lines.append(Line(one.name, "", rows, measured, "yes" if right else "NO"))
    print_table(f"Replay of a judged run, {rows:,} rows (whole processes)", lines)
    for one, measured in zip(again, found, strict=True):
        print_goal(f"{one.name}, seconds", measured.seconds, most=10.0)
        extra = measured.result["sent"] - (sent if one is again[0] else 0)
        print_goal(f"{one.name}, requests sent", extra, most=0)


if __name__ == "__main__":
    main()
