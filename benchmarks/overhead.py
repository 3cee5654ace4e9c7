"""What the engine costs beside the steps: three trivial row steps in Python, over 1k and 52k rows.

    python benchmarks/overhead.py [--full] [--repeats N]

Each contender reads JSONL, runs three filters that keep everything, and writes JSONL. curate's
figures hold ids, ledger and run folder. Times are whole processes, imports included, up to the last
byte written. The cost of a row is the slope from 1k to 52k rows, the start what is left at none.
--full adds 1 M rows for all but distilabel, whose time there is a projection.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import (
    Contender,
    Line,
    Measured,
    machine,
    peers,
    print_goal,
    print_ratio,
    print_table,
    side_by_side,
    since_start,
)
from near_data import near_file

SMALL, LARGE, FULL = 1_000, 52_000, 1_000_000
PEERS = {"datatrove": "datatrove[io]==0.5.0", "distilabel": "distilabel==1.5.3"}
# data-juicer 1.6.1 installs but cannot pickle its own steps beside a current numpy.
SEEN = (
    "data-juicer, seen on another day and not measured here: 7.3 s of imports + 3.5 s at 52k rows"
)
NOTES = {"datatrove": "its reader drops rows with an empty text"}


def by_curate(path: Path, folder: Path) -> None:
    from curate import Pipeline

    steps = [not_empty, not_endless, is_text]
    Pipeline(steps).run(path, run=folder / "run", output=folder / "out.jsonl")


def not_empty(row) -> bool:
    return len(row.response) >= 0


def not_endless(row) -> bool:
    return len(row.response) < 1 << 30


def is_text(row) -> bool:
    return isinstance(row.instruction, str)


def by_datasets(path: Path, folder: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    cache = str(folder / "cache")
    rows = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache)
    rows = rows.filter(lambda row: len(row["output"]) >= 0, load_from_cache_file=False)
    rows = rows.filter(lambda row: len(row["output"]) < 1 << 30, load_from_cache_file=False)
    rows = rows.filter(lambda row: isinstance(row["instruction"], str), load_from_cache_file=False)
    rows.to_json(str(folder / "out.jsonl"))


def by_datatrove(path: Path, folder: Path) -> None:
    import logging

    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from loguru import logger

    logger.remove()
    logging.disable()
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(str(path.parent), glob_pattern=path.name, text_key="output"),
            LambdaFilter(lambda doc: len(doc.text) >= 0),
            LambdaFilter(lambda doc: len(doc.text) < 1 << 30),
            LambdaFilter(lambda doc: isinstance(doc.metadata["instruction"], str)),
            JsonlWriter(str(folder), output_filename="out.jsonl", compression=None),
        ],
        logging_dir=str(folder / "logs"),
    ).run()


def by_distilabel(path: Path, folder: Path) -> None:
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromFileSystem, StepInput, step

    def row_step(keep: Callable[[dict], bool]):
        def keeping(inputs):
            yield [row for row in inputs if keep(row)]

        # Set here: as text, which annotations of this file are, it would not be recognised.
        keeping.__annotations__["inputs"] = StepInput
        made = step(inputs=["instruction", "output"], outputs=["instruction", "output"])(keeping)
        return made(input_batch_size=1000)

    with Pipeline(cache_dir=folder / "cache") as pipeline:
        read = LoadDataFromFileSystem(data_files=str(path), filetype="json", batch_size=1000)
        one = row_step(lambda row: len(row["output"]) >= 0)
        two = row_step(lambda row: len(row["output"]) < 1 << 30)
        three = row_step(lambda row: isinstance(row["instruction"], str))
        read >> one >> two >> three
    done = pipeline.run(use_cache=False)
    done["default"]["train"].to_json(str(folder / "out.jsonl"))


CONTENDERS = {
    "curate": (by_curate, "curate-align"),
    "datasets.filter x 3": (by_datasets, "datasets"),
    "datatrove": (by_datatrove, "datatrove"),
    "distilabel": (by_distilabel, "distilabel"),
}


def child(name: str, path: Path) -> None:
    """Run one contender and print the time since the start and how many rows came out."""
    folder = Path(tempfile.mkdtemp())
    try:
        CONTENDERS[name][0](path, folder)
        seconds = since_start()
        kept = (folder / "out.jsonl").read_bytes().count(b"\n")
        print(json.dumps({"seconds": seconds, "kept": kept}))
    finally:
        shutil.rmtree(folder)


def contenders(names: list[str], path: Path) -> list[Contender]:
    """Return those that can be measured; a peer that cannot be installed is told and left out."""
    out = []
    for name in names:
        env, version = dict[str, str](), ""
        if name in PEERS:
            folder = peers(PEERS[name])
            if folder is None:
                continue
            env = {"PYTHONPATH": str(folder)}
            version = PEERS[name].split("==")[1]
        version = version or importlib.metadata.version(CONTENDERS[name][1])
        command = [sys.executable, __file__, "--child", name, str(path)]
        out.append(Contender(name, version, command, env, is_peer=name != "curate"))
    return out


def compare(rows: int, repeats: int | None, names: list[str]) -> dict[str, Measured]:
    """Print one table."""
    chosen = contenders(names, near_file(rows))
    found = side_by_side(chosen, repeats=repeats)
    lines = [
        Line(
            one.name,
            one.version,
            rows,
            found[one.name],
            "yes" if found[one.name].result["kept"] == rows else "NO",
            NOTES.get(one.name, ""),
        )
        for one in chosen
        if one.name in found
    ]
    print_table(f"Overhead, three trivial row steps, {rows:,} rows (whole processes)", lines)
    return found


def print_costs(small: dict[str, Measured], large: dict[str, Measured]) -> None:
    """Print start and cost of a row of each, and the goals."""
    costs = {}
    for name in [name for name in large if name in small]:
        a_row = (large[name].seconds - small[name].seconds) / (LARGE - SMALL)
        costs[name] = (small[name].seconds - SMALL * a_row, 1000 * a_row)
    print("\n| name | seconds to start | ms a row | 1 M rows, projected, s |")
    print("|---|--:|--:|--:|")
    for name, (start, a_row) in costs.items():
        print(f"| {name} | {start:.2f} | {a_row:.4f} | {start + a_row * FULL / 1000:,.0f} |")
    print(f"\n{SEEN}\n")
    start, a_row = costs["curate"]
    print_goal("curate, seconds to start", start, most=0.3)
    print_goal("curate, ms a row", a_row, most=0.03)
    print_ratio("distilabel / curate at 1,000 rows", small, "distilabel", "curate", least=15)
    for rows, found in ((SMALL, small), (LARGE, large)):
        print_fastest(rows, found)


def print_fastest(rows: int, found: dict[str, Measured]) -> None:
    """Print how far curate is from the fastest peer."""
    others = [name for name in found if name != "curate"]
    if not others:
        print(f"- not measured: the fastest peer at {rows:,} rows: all were left out")
        return
    fastest = min(others, key=lambda name: found[name].seconds)
    ratio = found["curate"].seconds / found[fastest].seconds
    print_goal(f"curate / {fastest} (the fastest peer) at {rows:,} rows", ratio, most=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000,000 rows, too")
    parser.add_argument("--repeats", type=int, help="by default what the slowest peer allows")
    parser.add_argument("--peers", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    print(machine())
    names = ["curate", *(name for name in options.peers if name != "curate")]
    small = compare(SMALL, options.repeats, names)
    # Who fails or hangs with few rows is not waited for with many.
    large = compare(LARGE, options.repeats, [name for name in names if name in small])
    print_costs(small, large)
    if options.full:
        quick = [name for name in large if name != "distilabel"]
        print_fastest(FULL, compare(FULL, options.repeats, quick))


if __name__ == "__main__":
    main()
