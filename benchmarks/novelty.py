"""Novelty by ROUGE-L over a growing pool, side by side: `python benchmarks/novelty.py [--full]`.

The work: instructions in order, each accepted unless its F with an accepted one is above 0.7. Peers
compute F of every pair, as Self-Instruct's code does (`rouge_score`, its words split beforehand as
in Alpaca's), or the common lengths of a text with the whole pool by `rapidfuzz`. Only the work is
timed; slow peers are given fewer rows, and compared by pairs a second. Everybody's decisions are
compared with ours on the rows that it was given.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import re
import sys
import time
from typing import Any

from bench import Contender, Line, machine, peers, print_goal, print_table, side_by_side
from near_data import near_file

PEERS = ("rouge-score==0.1.2", "rapidfuzz==3.14.6")
LIMIT = 0.7
WORDS = re.compile("[a-z0-9]+")
LISTING = "curate, ten most similar"
ROWS = {"curate": 5_000, LISTING: 5_000, "rouge_score": 300, "rapidfuzz": 5_000}


def instructions(count: int) -> list[str]:
    """Return different instructions of the benchmark's rows, in order."""
    with near_file(4 * count).open(encoding="utf-8") as file:
        found = dict.fromkeys(json.loads(line)["instruction"] for line in file)
    return list(itertools.islice(found, count))


def curate_accepts(texts: list[str], neighbours: int = 0) -> tuple[list[bool], float]:
    """Return whether each text is accepted, and the seconds that the step took."""
    import pyarrow as pa

    from curate.kernels.sets.novelty import novel
    from curate.kernels.sets.shingles_compiled import word_column

    def decide(some: list[str]) -> list[bool]:
        words = pa.chunked_array([word_column(pa.array(some, pa.string()), "rouge_score")])
        rejected: list[bool] = novel(words, len(some), LIMIT, neighbours).rejected.tolist()
        return [not one for one in rejected]

    decide(texts[:400])  # loads compiled code
    began = time.perf_counter()
    return decide(texts), time.perf_counter() - began


def rouge_accepts(texts: list[str]) -> tuple[list[bool], float]:
    """Do the same with `rouge_score`, pair by pair."""
    from rouge_score import rouge_scorer

    began = time.perf_counter()
    pool: list[list[str]] = []
    accepted = []
    for text in texts:
        own = WORDS.findall(text.lower())
        scores = [rouge_scorer._score_lcs(own, other).fmeasure for other in pool]
        accepted.append(max(scores, default=0.0) <= LIMIT)
        if accepted[-1]:
            pool.append(own)
    return accepted, time.perf_counter() - began


def rapidfuzz_accepts(texts: list[str]) -> tuple[list[bool], float]:
    """Do the same with `rapidfuzz`: one text against the whole pool at a time."""
    import numpy as np
    from rapidfuzz import process
    from rapidfuzz.distance import LCSseq

    began = time.perf_counter()
    numbers: dict[str, int] = {}

    def written(text: str) -> str:
        """Write each word as one character, surrogates left out."""
        found = [numbers.setdefault(w, len(numbers) + 256) for w in WORDS.findall(text.lower())]
        return "".join(chr(n if n < 0xD800 else n + 0x800) for n in found)

    pool: list[str] = []
    sizes = np.zeros(len(texts))
    accepted = []
    for text in texts:
        own = written(text)
        best = 0.0
        if pool and own:
            common = process.cdist([own], pool, scorer=LCSseq.similarity, dtype=np.int32)[0]
            precision, recall = common / np.maximum(sizes[: len(pool)], 1), common / len(own)
            both = np.maximum(precision + recall, 1e-300)
            best = float(np.max(2 * precision * recall / both))
        accepted.append(best <= LIMIT)
        if accepted[-1]:
            sizes[len(pool)] = len(own)
            pool.append(own)
    return accepted, time.perf_counter() - began


def child(name: str, rows: int) -> None:
    """Run one contender and print what it found."""
    texts = instructions(rows)
    work: dict[str, Any] = {
        "curate": curate_accepts,
        LISTING: lambda some: curate_accepts(some, 10),
        "rouge_score": rouge_accepts,
        "rapidfuzz": rapidfuzz_accepts,
    }
    accepted, seconds = work[name](texts)
    pool = list(itertools.accumulate(accepted, initial=0))
    print(json.dumps({"seconds": seconds, "accepted": accepted, "pairs": sum(pool[:-1])}))


def main() -> None:
    """Compare everyone, and print the table and whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also a pool of some 50,000")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]))
        return
    print(machine())
    path = {"PYTHONPATH": ":".join([str(peers(*PEERS)), *sys.path[1:2]])}
    versions = dict(one.split("==") for one in PEERS)
    own = importlib.metadata.version("curate-align")
    contenders = [
        Contender(
            name,
            versions.get(name.replace("_", "-"), own),
            [sys.executable, __file__, "--child", name, str(count)],
            {} if name.startswith("curate") else path,
        )
        for name, count in ROWS.items()
    ]
    found = side_by_side(contenders, repeats=options.repeats)
    ours = found["curate"].result["accepted"]
    rates = {name: one.result["pairs"] / one.seconds for name, one in found.items()}
    lines = []
    for one in [one for one in contenders if one.name in found]:
        measured, rate = found[one.name], rates[one.name]
        theirs = measured.result["accepted"]
        equal = "yes" if theirs == ours[: len(theirs)] else "**no**"
        note = f"{measured.result['pairs']:,} pairs, {rate:,.0f} a second"
        lines.append(Line(one.name, one.version, ROWS[one.name], measured, equal, note))
    print_table("Novelty: a pool that grows to some 5,000 instructions", lines)
    print()
    peer = rates.get("rouge_score")
    if peer:
        print_goal("pairs/s of curate / of rouge_score", rates["curate"] / peer, least=3_000)
        print_goal("the same with the ten most similar", rates[LISTING] / peer, least=1_000)
    if options.full:
        large = Contender("curate", own, [sys.executable, __file__, "--child", "curate", "52000"])
        measured = side_by_side([large], repeats=options.repeats)["curate"]
        pairs = measured.result["pairs"]
        note = f"{sum(measured.result['accepted']):,} accepted"
        print_table("Novelty: 52,000", [Line("curate", own, 52_000, measured, "yes", note)])
        print()
        print_goal("seconds", measured.seconds, most=10)
        if peer:
            print_goal("pairs/s / rouge_score", pairs / measured.seconds / peer, least=20_000)


if __name__ == "__main__":
    main()
