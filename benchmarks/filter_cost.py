"""Adding a filter costs what it costs: k filters in one run, against k runs of one filter each.

Each further filter of one run should add its own time and no pass over the file. So the last run
minus the empty one is the price of all filters; k runs pay for reading, ids and writing k times.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench import Contender, Line, machine, print_goal, print_table, side_by_side
from near_data import near_file

SMALL, LARGE = 52_000, 1_000_000
# Every rule only scores: all filters of a run see all rows, so that times add up.
FILTERS = ("length", "charset", "url", "keywords", "repetition", "structure")


def steps(names: list[str]) -> list[object]:
    """Return filters that drop nothing."""
    from curate.steps import Charset, Keywords, Length, Repetition, Structure, Url

    made = {
        "length": Length(),
        "charset": Charset(),
        "url": Url(),
        "keywords": Keywords(phrases=("as an AI", "I cannot"), max=None),
        "repetition": Repetition(max=None),
        "structure": Structure(problems=None),
    }
    return [made[name] for name in names]


def child(path: Path, runs: list[list[str]]) -> None:
    """Print the seconds of runs with the given filters, one after the other, code loaded."""
    from curate import Pipeline

    home = Path(tempfile.mkdtemp())
    try:
        everything = sorted({name for run in runs for name in run})
        Pipeline(steps(everything)).run(near_file(SMALL), run=home / "warm", store=home / "s0")
        began = time.perf_counter()
        for number, names in enumerate(runs):
            Pipeline(steps(names)).run(path, run=home / f"run{number}", store=home / f"s{number}")
        print(json.dumps({"seconds": time.perf_counter() - began}))
    finally:
        shutil.rmtree(home)


def compare(rows: int, repeats: int | None) -> None:
    """Print the time of 0 to 6 filters in one run, and of six runs."""
    path, version = near_file(rows), importlib.metadata.version("curate-align")
    plans = {f"{k} in one run": [list(FILTERS[:k])] for k in range(len(FILTERS) + 1)}
    plans |= {f"{name} alone": [[name]] for name in FILTERS}
    plans["a run for each"] = [[name] for name in FILTERS]
    contenders = [
        Contender(name, version, [sys.executable, __file__, "--child", str(path), json.dumps(plan)])
        for name, plan in plans.items()
    ]
    found = side_by_side(contenders, repeats=repeats)
    print_table(
        f"Filters in one run, {rows:,} rows",
        [Line(name, version, rows, measured) for name, measured in found.items()],
    )
    base = found["0 in one run"].seconds
    together = found[f"{len(FILTERS)} in one run"].seconds
    alone = sum(found[f"{name} alone"].seconds - base for name in FILTERS)
    print()
    print_goal(
        "time of six filters over the empty run / sum of their own times",
        (together - base) / alone,
        most=1.25,
    )
    print_goal("a run for each / one run", found["a run for each"].seconds / together, least=1.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000,000 rows, too")
    parser.add_argument("--rows", type=int, help="another size")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), json.loads(options.child[1]))
        return
    print(machine())
    sizes = (options.rows,) if options.rows else (SMALL, LARGE) if options.full else (SMALL,)
    for rows in sizes:
        compare(rows, options.repeats)


if __name__ == "__main__":
    main()
