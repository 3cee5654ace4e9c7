"""The most memory that mixing holds: FLAN's preset alone, and with inversion and composites.

    python benchmarks/mixture.py [--full]

Quick: 100k rows; --full: 1 M rows (252 MB of JSON lines), whose goal is 1 GB for the whole process.
The rows are made up: five groups of forty tasks, of which two are too small for their weight.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import Contender, Line, machine, measure, print_goal, print_table

# Shares of the rows; FLAN's weights are 0.40, 0.32, 0.20, 0.05, 0.03.
GROUPS = {"flan2021": 0.40, "t0": 0.30, "niv2": 0.20, "cot": 0.06, "dialog": 0.04}
MIX = "mix:per=task,within=group,preset=flan2022,repeat=3"
MOST_MB = 1000


def rows(count: int) -> Iterator[dict[str, str]]:
    """Yield made-up sums with a task and a group each."""
    for group, share in GROUPS.items():
        for n in range(round(share * count)):
            asked = (
                f"{group} question {n}, as long as those of tasks are: what is {n} plus {n % 97}"
            )
            yield {
                "prompt": f"{asked}, and why does it matter to anybody at all?",
                "completion": f"It is {n + n % 97}, since the sum of {n} and {n % 97} is that.",
                "group": group,
                "task": f"{group}_{n % 40}",
            }


def main() -> None:
    """Measure both, and print the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    count = 1_000_000 if parser.parse_args().full else 100_000
    print(machine())
    version = importlib.metadata.version("curate-align")
    child = [sys.executable, str(Path(__file__).with_name("memory.py")), "--child"]
    steps = {"mix": [MIX], "mix, invert, few_shot": [MIX, "invert", "few_shot:share=0.5"]}
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows(count))
        for name, own in steps.items():
            measured = measure(
                Contender(name, version, [*child, str(path), *own]), repeats=1, warm_up=False
            )
            assert measured is not None
            lines.append(Line(name, version, count, measured, "-"))
    print_table("Mixing, whole processes", lines)
    print()
    for line in lines:
        print_goal(f"{line.name}, {count:,} rows, MB", line.measured.peak_mb, most=MOST_MB)


if __name__ == "__main__":
    main()
