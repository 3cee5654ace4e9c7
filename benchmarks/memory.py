"""The most memory a run holds: filters alone, and filters with near-duplicates.

    python benchmarks/memory.py [--full]

The figure is the kernel's for the whole process (resident set, mapped files included). Quick: 52k
and 200k rows; --full: 1 M rows for both, 4 M for the filters (is it flat?).
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

from bench import Contender, Line, Measured, machine, measure, print_goal, print_table
from near_data import near_file

FILTERS = [
    "structure",
    "length:min=3,max=2000",
    "length:unit=chars,max=20000,label=chars",
    "keywords:phrases=[as an ai],label=persona",
    "keywords:pattern=https?://,max=5,label=links",
    "charset:min=0.3",
    "repetition:max=2",
    "refusal",
    "boilerplate",
    "truncated",
]


def child(path: str, steps: list[str]) -> None:
    """Run `curate filter` in this process."""
    from curate.cli.main import main as curate

    folder = Path(tempfile.mkdtemp())
    began = time.perf_counter()
    sys.argv = ["curate", "filter", path, *steps, "-o", str(folder / "out.jsonl")]
    sys.argv += ["--run", str(folder / "run")]
    try:
        curate()
    except SystemExit as end:
        if end.code:
            raise
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"seconds": time.perf_counter() - began}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--child", nargs="+")
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1:])
        return
    print(machine())
    version = importlib.metadata.version("curate-align")
    found: dict[tuple[str, int], Measured] = {}
    sizes = [52_000, 200_000] if not options.full else [200_000, 1_000_000, 4_000_000]
    lines = []
    for rows in sizes:
        for label, steps in (("filters", FILTERS), ("filters + near", [*FILTERS, "near"])):
            if rows > 1_000_000 and "near" in label:
                continue
            command = [sys.executable, __file__, "--child", str(near_file(rows)), *steps]
            one = Contender(label, version, command)
            measured = measure(one, repeats=3, warm_up=rows < 100_000)
            found[label, rows] = measured
            lines.append(Line(f"{label}, {rows:,} rows", version, rows, measured, "-"))
    print_table("Memory, whole processes (the highest of three)", lines)
    print()
    largest = min(sizes[-1], 1_000_000)
    both, alone = found["filters + near", largest], found["filters", largest]
    print_goal(f"filters + near, {largest:,} rows, MB", both.peak_mb, most=1800)
    print_goal(f"filters alone, {largest:,} rows, MB", alone.peak_mb, most=600)
    if options.full:
        growth = found["filters", 4_000_000].peak_mb / alone.peak_mb
        # Flat, but for what the allocator happens to hold.
        print_goal("filters alone, 4 M rows, x the peak at 1 M", growth, most=1.05)


if __name__ == "__main__":
    main()
