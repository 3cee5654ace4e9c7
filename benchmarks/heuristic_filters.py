"""Rule filters over JSONL: curate (with ids, reasons, ledger) beside polars and `datasets`.

    python benchmarks/heuristic_filters.py [--full] [--repeats N]

The rules are chosen so that every contender can say exactly the same: characters, two regular
expressions, the share of letters, runs of punctuation (Gopher's shares have no polars form), empty
sides, and equal rows. The answers are compared line by line.
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

from bench import Line, machine, measure, print_table
from near_data import near_file

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


CONTENDERS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "curate": (by_curate, "curate-align"),
    "polars": (by_polars, "polars"),
    "datasets": (by_datasets, "datasets"),
}


def child(name: str, path: Path, warm: bool) -> None:
    """Run one contender and print its time and the hash of what it kept."""
    work = CONTENDERS[name][0]
    folder = Path(tempfile.mkdtemp())
    try:
        if warm:
            (folder / "warm").mkdir()
            work(near_file(52_000), folder / "warm")
        (folder / "run-it").mkdir()
        began = time.perf_counter()
        out = work(path, folder / "run-it")
        seconds = time.perf_counter() - began
        digest, count = hashlib.sha256(), 0
        with open(out, encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                digest.update(f"{row['instruction']}\0{row['output']}\0".encode())
                count += 1
        result = {"kept": count, "digest": digest.hexdigest()}
        print(json.dumps(result | ({"seconds": seconds} if warm else {})))
    finally:
        shutil.rmtree(folder)


def compare(rows: int, repeats: int, names: list[str], *, warm: bool) -> None:
    """Print one table."""
    path = near_file(rows)
    lines: list[Line] = []
    for name in names:
        once = name == "datasets" and rows > 100_000
        command = [sys.executable, __file__, "--child", name, str(path), *(["--warm"] * warm)]
        measured = measure(command, repeats=1 if once else repeats, warm_up=not once)
        right = lines[0].measured.result["digest"] if lines else measured.result["digest"]
        same = "yes" if measured.result["digest"] == right else "NO"
        version = importlib.metadata.version(CONTENDERS[name][1])
        kept = (
            f"kept {measured.result['kept']:,}; once"
            if once
            else f"kept {measured.result['kept']:,}"
        )
        lines.append(Line(name, version, rows, measured, same, kept))
    how = "work alone, code loaded" if warm else "whole process, checking the answer included"
    print_table(f"Heuristic filters, {rows:,} rows ({how})", lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000,000 rows, too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", nargs=2)
    parser.add_argument("--warm", action="store_true")
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]), options.warm)
        return
    print(machine())
    compare(52_000, options.repeats, ["curate", "polars", "datasets"], warm=True)
    if options.full:
        compare(1_000_000, 3, ["curate", "polars", "datasets"], warm=True)


if __name__ == "__main__":
    main()
