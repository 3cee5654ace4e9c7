"""Ten million rows through filters, `exact` and `near` on one machine: time, memory, what is found.

    python benchmarks/ten_million.py [--full] [--rows N ...] [--partition-mb MB]

Rows are real ones, then new texts spliced from spans of real ones (some 50 words, 300 characters);
8 % are planted: an earlier row again, or an earlier row with one word changed. What was planted is
known, so that the verdicts can be held against it. Each size runs as `curate run RECIPE` in a
process of its own, once: the figures are the clock's, the processor's, and the kernel's peak of
memory; files that it maps count as memory while they are mapped. Quick: 20,000 and 100,000 rows;
--full: 1 M and 10 M, which take 25 GB of the disk while they run. --partition-mb lowers the bound
above which `near` walks in partitions.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from bench import WORKPLACE, machine, print_goal
from near_data import real_rows

RECIPE = """inputs: {path}
steps:
  - length: {{min: 3, max: 2000}}
  - length: {{unit: chars, max: 20000, label: chars}}
  - keywords: {{phrases: [as an ai], label: persona}}
  - keywords: {{pattern: 'https?://', max: 5, label: links}}
  - charset: {{min: 0.3}}
  - repetition: {{max: 2}}
  - exact
  - near: {{similarity: {similarity}}}
"""
SIMILARITY = 0.8
NEW, COPY, CHANGED = 0, 1, 2
# Rows to plant copies of; each new row is as likely among them as any other.
RESERVOIR = 100_000
# A text of so many words is 0.85 or more alike after a change of one, unless it repeats itself.
ENOUGH_WORDS = 40
_PLANTED = 0.04


class Planted(NamedTuple):
    """For every row: what it is, and of which row (-1: of none)."""

    kind: np.ndarray
    base: np.ndarray


# -- the rows -------------------------------------------------------------------------------------


class Spans:
    """Random spans of real rows: texts as they stand in JSON, cut at words."""

    def __init__(self, real: list[tuple[str, str]], dice: np.random.Generator) -> None:
        words = [[json.dumps(word)[1:-1] for word in " ".join(row).split()] for row in real]
        flat = [word for row in words for word in row]
        self.vocabulary = [word for word in flat[:50_000] if word.isalnum() and word.isascii()]
        self._text, self._dice = " ".join(flat), dice
        lengths = np.fromiter(map(len, flat), np.int64, len(flat))
        self._ends = np.cumsum(lengths + 1) - 1
        self._starts = self._ends - lengths
        sizes = np.fromiter(map(len, words), np.int64, len(words))
        # The last word of the row that each word stands in.
        self._last = np.repeat(np.cumsum(sizes) - 1, sizes)

    def draw(self, count: int, least: int, most: int) -> Iterator[str]:
        """Yield spans of `least` to `most` words, shorter at the end of a row."""
        first = self._dice.integers(0, len(self._starts), count)
        last = first + self._dice.integers(least, most + 1, count) - 1
        last = np.minimum(last, self._last[first])
        for a, b in zip(self._starts[first].tolist(), self._ends[last].tolist(), strict=True):
            yield self._text[a:b]


def made_rows(count: int, seed: int = 0) -> Iterator[tuple[str, str, int, int]]:
    """Yield rows as (instruction, answer, kind, base); texts are as they stand in JSON."""
    dice = random.Random(seed)
    real = real_rows()
    dice.shuffle(real)
    spans = Spans(real, np.random.default_rng(seed))
    pool: list[tuple[int, str, str]] = []
    fresh = itertools.chain(
        ((json.dumps(head)[1:-1], json.dumps(body)[1:-1]) for head, body in real), _new(spans)
    )
    seen = 0
    for number in range(count):
        kind = dice.random()
        if kind < 2 * _PLANTED and pool:
            base, head, body = pool[dice.randrange(len(pool))]
            words = body.split(" ")
            at = dice.randrange(len(words))
            if kind < _PLANTED or len(words) < ENOUGH_WORDS or not words[at].isalnum():
                yield head, body, COPY, base
                continue
            words[at] = dice.choice(spans.vocabulary)
            again = " ".join(words)
            yield head, again, COPY if again == body else CHANGED, base
            continue
        head, body = next(fresh)
        # Algorithm R: after n rows each of them is in the reservoir with the same probability.
        at = len(pool) if seen < RESERVOIR else dice.randrange(seen + 1)
        if at == len(pool):
            pool.append((number, head, body))
        elif at < RESERVOIR:
            pool[at] = number, head, body
        seen += 1
        yield head, body, NEW, -1


def _new(spans: Spans, block: int = 20_000) -> Iterator[tuple[str, str]]:
    while True:
        heads, bodies = spans.draw(block, 5, 16), spans.draw(3 * block, 6, 24)
        for head in heads:
            yield head, f"{next(bodies)} {next(bodies)} {next(bodies)}"


def planted_rows(count: int) -> tuple[Path, Planted]:
    """Return JSON lines of `count` rows, made if they are missing, and what was planted where."""
    path = WORKPLACE / f"planted-{count}.jsonl"
    truth = path.with_suffix(".npz")
    if not truth.exists():
        WORKPLACE.mkdir(parents=True, exist_ok=True)
        kinds, bases = np.zeros(count, np.int8), np.full(count, -1, np.int64)
        began = time.monotonic()
        with path.open("w", encoding="utf-8", buffering=1 << 20) as file:
            for number, (head, body, kind, base) in enumerate(made_rows(count)):
                file.write(f'{{"instruction": "{head}", "output": "{body}"}}\n')
                kinds[number], bases[number] = kind, base
        np.savez(truth, kinds=kinds, bases=bases)
        size, seconds = path.stat().st_size / 1e9, time.monotonic() - began
        print(f"\n{count:,} rows, {size:.2f} GB, made in {seconds:.0f} s", flush=True)
    with np.load(truth) as arrays:
        return path, Planted(arrays["kinds"], arrays["bases"])


# -- the run --------------------------------------------------------------------------------------


class Run(NamedTuple):
    """What a run took: seconds of the clock and of all processors, and MB at its peak."""

    seconds: float
    processor: float
    peak_mb: float
    # Of the peak, as sampled: what is the process's own, and what is of files that it mapped.
    own_mb: float
    mapped_mb: float


def run(command: list[str]) -> Run:
    """Run a command; the peak is the larger of the kernel's and the sampled sum over all children.

    Raises:
        SystemExit: it failed.
    """
    peaks = np.zeros(3)
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.2):
            now = np.array(_resident(process.pid))
            if now[0] > peaks[0]:
                peaks[:] = now

    sampler = threading.Thread(target=sample)
    sampler.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    over.set()
    sampler.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit {process.returncode} from: {' '.join(command)}")
    kernel = usage.ru_maxrss / ((1 << 20) if sys.platform == "darwin" else (1 << 10))
    total, own, mapped = peaks / 1024
    return Run(seconds, usage.ru_utime + usage.ru_stime, max(kernel, total), own, mapped)


def _resident(pid: int) -> tuple[float, float, float]:
    """Return the KiB that a process and its children hold: all, their own, and of files."""
    waiting, total = [pid], [0.0, 0.0, 0.0]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        try:
            status = dict(
                line.split(":", 1) for line in (folder / "status").read_text().splitlines()
            )
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue
        for place, name in enumerate(("VmRSS", "RssAnon", "RssFile")):
            total[place] += float(status.get(name, "0").split()[0])
    return total[0], total[1], total[2]


# -- the verdicts ---------------------------------------------------------------------------------


class Verdicts(NamedTuple):
    """For every row by its place: does it reach `near`, is it kept, who dropped it how similar."""

    kept: np.ndarray
    by_exact: np.ndarray
    similarity: np.ndarray


def verdicts_of(folder: Path, count: int) -> Verdicts:
    """Read which rows a run kept and dropped."""
    kept, by_exact = np.zeros(count, bool), np.zeros(count, bool)
    similarity = np.full(count, np.nan)
    for section in ("kept", "dropped"):
        for path in sorted((folder / section).rglob("*.parquet")):
            table = pq.read_table(path, columns=["seq", "scores"]).combine_chunks()
            seqs = np.asarray(table["seq"].chunk(0).flatten()).reshape(-1, 3)[:, 2]
            if section == "kept":
                kept[seqs] = True
                continue
            scores = table["scores"].chunk(0)
            by_exact[seqs] = np.asarray(scores.field("exact").is_valid())
            similarity[seqs] = scores.field("near").to_numpy(zero_copy_only=False)
    return Verdicts(kept, by_exact, similarity)


def held_against(planted: Planted, found: Verdicts, path: Path) -> dict[str, int | float]:
    """Count planted rows by what became of them.

    A planted row counts where the row it was made of was kept; it is missed where it was kept, too,
    although the two are as alike as the threshold says.
    """
    base_kept = (planted.base >= 0) & found.kept[planted.base]
    copies = base_kept & (planted.kind == COPY)
    changed = base_kept & (planted.kind == CHANGED)
    both_kept = np.flatnonzero((copies | changed) & found.kept)
    wanted = {int(row) for row in (*both_kept, *planted.base[both_kept])}
    texts = dict[int, str]()
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number in wanted:
                record = json.loads(line)
                texts[number] = f"{record['instruction']}\n{record['output']}"
    missed = sum(
        _similarity(texts[int(row)], texts[int(planted.base[row])]) >= SIMILARITY
        for row in both_kept
    )
    dropped = found.by_exact | ~np.isnan(found.similarity)
    return {
        "copies": int(copies.sum()),
        "copies found": int((copies & found.by_exact).sum()),
        "changed": int(changed.sum()),
        "changed found": int((changed & dropped).sum()),
        "missed": missed,
        "below the threshold": len(both_kept) - missed,
        "dropped by near": int((~np.isnan(found.similarity)).sum()),
        "least similarity": float(np.nanmin(found.similarity)),
    }


def _similarity(one: str, other: str) -> float:
    from curate.kernels.sets.shingles import shingle_set

    a, b = (set(shingle_set(text, 3).tolist()) for text in (one, other))
    return len(a & b) / max(1, len(a | b))


def digest(folder: Path) -> str:
    """Return a digest of all rows and ledger lines of a run."""
    total = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.rglob("*.parquet")):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


# -- the table ------------------------------------------------------------------------------------


def measured(count: int, partition_mb: int | None) -> tuple[Run, dict[str, Any]]:
    """Run the recipe over rows, and check its verdicts."""
    path, planted = planted_rows(count)
    prelude = "from curate.cli.main import main"
    if partition_mb is not None:
        prelude += (
            "; import curate.kernels.sets.jaccard_partitioned as of_sets; "
            f"of_sets.PARTITION_BYTES = {partition_mb} << 20"
        )
    with tempfile.TemporaryDirectory(dir=WORKPLACE) as name:
        folder = Path(name)
        recipe, runs = folder / "recipe.yaml", folder / "run"
        recipe.write_text(RECIPE.format(path=path, similarity=SIMILARITY), encoding="utf-8")
        command = [sys.executable, "-c", f"{prelude}; main()", "run", str(recipe)]
        took = run([*command, "-o", str(runs), "--store", str(folder / "store")])
        report = json.loads((runs / "report.json").read_text())
        return took, {
            "counts": {name: report[name] for name in ("in", "kept", "dropped", "failed")},
            "planted": held_against(planted, verdicts_of(runs, count), path),
            "steps": {step["label"]: step["seconds"] for step in report["steps"]},
            "digest": digest(runs),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--partition-mb", type=int)
    parser.add_argument("--keep-rows", action="store_true", help="leave the input for another run")
    options = parser.parse_args()
    sizes = options.rows or ([1_000_000, 10_000_000] if options.full else [20_000, 100_000])
    print(machine())
    runs: dict[int, Run] = {}
    lines = []
    for count in sizes:
        took, told = measured(count, options.partition_mb)
        if not options.keep_rows:
            for suffix in (".jsonl", ".npz"):
                (WORKPLACE / f"planted-{count}").with_suffix(suffix).unlink()
        runs[count] = took
        planted = told["planted"]
        print(json.dumps(told, indent=1), flush=True)
        lines.append(
            f"| {count:,} | {took.seconds:.1f} | {took.processor:.1f} | {took.peak_mb:,.0f} | "
            f"{took.own_mb:,.0f} | {took.mapped_mb:,.0f} | "
            f"{planted['copies found']:,} of {planted['copies']:,} | "
            f"{planted['changed found']:,} of {planted['changed']:,} | {planted['missed']} |"
        )
    print("\n| rows | seconds | of processors | peak MB | own | mapped | copies found | ", end="")
    print("changed found | missed |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    print("\n".join(lines) + "\n")
    for small, large in itertools.pairwise(sizes):
        for what, a, b in (
            ("clock", runs[small].seconds, runs[large].seconds),
            ("processors", runs[small].processor, runs[large].processor),
        ):
            power = math.log(b / a) / math.log(large / small)
            print_goal(f"growth from {small:,} to {large:,} rows, {what}, n^", power, most=1.2)
    print_goal(f"peak at {sizes[-1]:,} rows, MB", runs[sizes[-1]].peak_mb, most=8192)


if __name__ == "__main__":
    main()
