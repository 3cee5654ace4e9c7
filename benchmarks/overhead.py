"""What the engine costs beside the steps: three trivial row steps in Python, over 1k and 52k rows.

    python benchmarks/overhead.py [--full] [--repeats N]

Each contender reads JSONL, runs three filters that keep everything, and writes JSONL. curate's
figures hold ids, ledger and run folder. "whole" is the process with its imports.
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

from bench import Line, machine, measure, peers, print_table
from near_data import near_file

SIZES = (1_000, 52_000)
DATATROVE = "datatrove[io]==0.5.0"


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


CONTENDERS = {
    "curate": (by_curate, "curate-align"),
    "datasets.filter x 3": (by_datasets, "datasets"),
    "datatrove": (by_datatrove, "datatrove"),
}


def child(name: str, path: Path) -> None:
    """Run one contender and print the time of its work and how many rows came out."""
    folder = Path(tempfile.mkdtemp())
    try:
        began = time.perf_counter()
        CONTENDERS[name][0](path, folder)
        seconds = time.perf_counter() - began
        kept = (folder / "out.jsonl").read_bytes().count(b"\n")
        print(json.dumps({"kept": kept, "work": seconds}))
    finally:
        shutil.rmtree(folder)


def compare(rows: int, repeats: int, names: list[str]) -> None:
    """Print one table."""
    path = near_file(rows)
    lines = []
    for name in names:
        env, version = {}, ""
        if name == "datatrove":
            target = peers(DATATROVE)
            env, version = {"PYTHONPATH": str(target)}, DATATROVE.split("==")[1]
        version = version or importlib.metadata.version(CONTENDERS[name][1])
        measured = measure(
            [sys.executable, __file__, "--child", name, str(path)], repeats=repeats, env=env
        )
        work = measured.result["work"]
        note = f"{1000 * work / rows:.4f} ms a row without imports of the caller"
        agrees = "yes" if measured.result["kept"] == rows else "NO"
        lines.append(Line(name, version, rows, measured, agrees, note))
    print_table(f"Overhead, three trivial row steps, {rows:,} rows (whole processes)", lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000,000 rows, too (curate only)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    print(machine())
    for rows in SIZES:
        compare(rows, options.repeats, options.peers)
    if options.full:
        compare(1_000_000, 1, ["curate"])


if __name__ == "__main__":
    main()
