"""Rule filters over JSONL: curate (with ids, reasons, ledger) beside polars and `datasets`.

    python benchmarks/heuristic_filters.py [--full] [--repeats N]

The rules are chosen so that every contender can say exactly the same: characters, two regular
expressions, the share of letters, runs of punctuation (Gopher's shares have no polars form), empty
sides, and equal rows. The answers are compared line by line, after the clock has stopped.

"Whole process" counts from the start of the interpreter to the last byte written; "code loaded"
counts the same work after a run over 52k rows in the same process.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import (
    Contender,
    Line,
    machine,
    peers,
    print_ratio,
    print_table,
    side_by_side,
    since_start,
)
from near_data import near_file

SMALL, LARGE = 52_000, 1_000_000
REFUSALS = ("as an ai", "i'm sorry", "i cannot")
REFUSAL = "|".join(phrase.replace(" ", r"\s+") for phrase in REFUSALS)
URL = r"https?://"
RUNS = r"[!?]{4,}|\.{5,}|-{10,}|={10,}"


def by_curate(path: Path, folder: Path) -> Path:
    from curate import Pipeline
    from curate.steps import Charset, Exact, Keywords, Length, Structure

    out = folder / "kept.jsonl"
    Pipeline(
        [
            Length(unit="chars", min=20, max=4000),
            Keywords(on="response", phrases=REFUSALS, whole_words=False, label="refusal"),
            Keywords(on="response", pattern=URL, label="url"),
            Charset(min=0.5),
            Keywords(on="response", pattern=RUNS, ignore_case=False, label="repetition"),
            Structure(problems=("empty_turn",)),
            Exact(),
        ]
    ).run(path, run=folder / "run", output=out)
    return out


def by_polars(path: Path, folder: Path) -> Path:
    import polars as pl

    out = folder / "kept.jsonl"
    text = pl.col("output")
    filled = text.str.len_chars() - text.str.count_matches(r"\s")
    letters = text.str.count_matches(r"\pL") / filled
    (
        pl.scan_ndjson(path, schema={"instruction": pl.String, "output": pl.String})
        .filter(
            text.str.len_chars().is_between(20, 4000),
            ~text.str.contains(f"(?i){REFUSAL}"),
            ~text.str.contains(f"(?i){URL}"),
            letters >= 0.5,
            ~text.str.contains(RUNS),
            pl.col("instruction").str.strip_chars().str.len_chars() > 0,
        )
        .unique(["instruction", "output"], keep="first", maintain_order=True)
        .sink_ndjson(out, engine="streaming")
    )
    return out


def by_datasets(path: Path, folder: Path) -> Path:
    import re

    import datasets

    datasets.disable_progress_bars()
    refusal, url = re.compile(REFUSAL, re.IGNORECASE), re.compile(URL, re.IGNORECASE)
    runs, seen = re.compile(RUNS), set[str]()

    def keep(row: dict[str, str]) -> bool:
        text = row["output"]
        if not 20 <= len(text) <= 4000 or refusal.search(text) or url.search(text):
            return False
        filled = len(text) - sum(map(str.isspace, text))
        if sum(map(str.isalpha, text)) / filled < 0.5 or runs.search(text):
            return False
        if not row["instruction"].strip():
            return False
        whole = row["instruction"] + "\n" + text
        return whole not in seen and not seen.add(whole)

    rows = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(folder / "cache")
    )
    out = folder / "kept.jsonl"
    rows.filter(keep, load_from_cache_file=False).to_json(str(out), force_ascii=False)
    return out


CONTENDERS: dict[str, Callable[[Path, Path], Path]] = {
    "curate": by_curate,
    "datasets": by_datasets,
    "polars": by_polars,
}
POLARS = "polars==2.1.0"


def child(name: str, path: Path, warm: bool) -> None:
    """Run one contender and print its time and the hash of what it kept."""
    work = CONTENDERS[name]
    folder = Path(tempfile.mkdtemp())
    try:
        if warm:
            (folder / "warm").mkdir()
            work(near_file(SMALL), folder / "warm")
        (folder / "run-it").mkdir()
        began = time.perf_counter()
        out = work(path, folder / "run-it")
        seconds = time.perf_counter() - began if warm else since_start()
        digest, count = hashlib.sha256(), 0
        with open(out, encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                digest.update(f"{row['instruction']}\0{row['output']}\0".encode())
                count += 1
        print(json.dumps({"seconds": seconds, "kept": count, "digest": digest.hexdigest()}))
    finally:
        shutil.rmtree(folder)


def compare(rows: int, repeats: int | None, *, warm: bool) -> None:
    """Print one table and whether the goals for its size are met."""
    path = near_file(rows)
    flags = ["--warm"] * warm
    folder, installed = peers(POLARS), importlib.metadata.version
    versions = {"curate": installed("curate-align"), "datasets": installed("datasets")}
    if folder is not None:
        versions["polars"] = POLARS.partition("==")[2]
    contenders = [
        Contender(
            name,
            version,
            [sys.executable, __file__, "--child", name, str(path), *flags],
            {"PYTHONPATH": str(folder)} if name == "polars" else {},
            is_peer=name != "curate",
        )
        for name, version in versions.items()
    ]
    found = side_by_side(contenders, repeats=repeats)
    right = found["curate"].result["digest"]
    how = "code loaded" if warm else "whole process"
    print_table(
        f"Heuristic filters, {rows:,} rows ({how})",
        [
            Line(
                one.name,
                one.version,
                rows,
                found[one.name],
                "yes" if found[one.name].result["digest"] == right else "NO",
                f"kept {found[one.name].result['kept']:,}",
            )
            for one in contenders
            if one.name in found
        ],
    )
    large = rows >= LARGE
    print()
    most, least = (1.0, 8) if large else (1.7, 4)
    print_ratio(f"curate / polars, {how}", found, "curate", "polars", most=most)
    print_ratio(f"datasets / curate, {how}", found, "datasets", "curate", least=least)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000,000 rows, too")
    parser.add_argument("--repeats", type=int, help="by default what the slowest peer allows")
    parser.add_argument("--child", nargs=2)
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]), options.warm)
        return
    print(machine())
    near_file(SMALL)
    for rows in (SMALL, LARGE) if options.full else (SMALL,):
        for warm in (True, False):
            compare(rows, options.repeats, warm=warm)


if __name__ == "__main__":
    main()
