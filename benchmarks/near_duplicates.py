"""Near-duplicates side by side with peers: `python benchmarks/near_duplicates.py [--full]`.

The work: texts in batches, verdicts out, Jaccard 0.8 over sets of word trigrams, the first of a
group kept. Only that is timed; reading the file (batch by batch) and loading code are not, for
anyone. Peak memory is that of the whole process. Agreement is measured against our verdicts, which
`--full` and the quick run both check against brute force on 20,000 rows.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench
import near_data

BATCH = 16_384
SHINGLE = 3
PEERS = ("rensa==0.5.0", "datasketch==2.0.0")
WORDS = re.compile(r"\w+")


class Clock:
    """Add up the time spent on the work itself."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, work: Callable[..., Any], *args: Any) -> Any:
        began = time.perf_counter()
        out = work(*args)
        self.seconds += time.perf_counter() - began
        return out


def batches(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as file:
        while lines := list(itertools.islice(file, BATCH)):
            records = map(json.loads, lines)
            yield [record["instruction"] + "\n" + record["output"] for record in records]


def shingles(text: str) -> list[str]:
    words = WORDS.findall(text.lower())
    count = max(1, len(words) - SHINGLE + 1)
    return [" ".join(words[k : k + SHINGLE]) for k in range(count)] if words else []


# -- contenders: each returns, for every row, whether it is dropped ------------------------------


def curate(path: Path, similarity: float, clock: Clock) -> list[bool]:
    """Sketch on two threads, spill to a mapped file and decide, as the engine does."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import pyarrow as pa

    from curate.kernels.sets import jaccard
    from curate.kernels.sets import jaccard_compiled as jaccard_join
    from curate.kernels.sets import shingles_compiled as shingle_column

    schema = pa.schema({"shingles": pa.list_(pa.uint64())})
    tiny = pa.chunked_array([shingle_column.shingle_column(pa.array(["one two three four"]), 3)])
    jaccard_join.nearest_kept_large(tiny, np.arange(1), jaccard.threshold_of(similarity))

    def sketch(texts: pa.Array) -> pa.RecordBatch:
        return pa.record_batch([shingle_column.shingle_column(texts, SHINGLE)], schema=schema)

    def spill(parts: list[pa.Array]) -> None:
        for batch in pool.map(sketch, parts):
            writer.write_batch(batch)

    def decide() -> Any:
        with pa.memory_map(file.name) as mapped:
            column = pa.ipc.open_file(mapped).read_all().column("shingles")
            return jaccard.nearest_kept(column, np.arange(len(column)), similarity).partner >= 0

    with tempfile.NamedTemporaryFile() as file, ThreadPoolExecutor(2) as pool:
        with pa.ipc.new_file(file.name, schema) as writer:
            columns = (pa.array(texts, pa.string()) for texts in batches(path))
            while parts := list(itertools.islice(columns, 4)):
                clock(spill, parts)
        return clock(decide).tolist()


def rensa(path: Path, similarity: float, clock: Clock) -> list[bool]:
    """Its verified path: candidates from bands, checked against the estimated similarity."""
    from rensa import RMinHashDeduplicator

    found = RMinHashDeduplicator(threshold=similarity, num_perm=128, use_lsh=True)
    dropped: list[bool] = []

    def work(texts: list[str]) -> None:
        start = len(dropped)
        pairs = ((str(start + k), shingles(text)) for k, text in enumerate(texts))
        dropped.extend(not kept for kept in found.add_pairs(pairs))

    for texts in batches(path):
        clock(work, texts)
    return dropped


def rensa_rho(path: Path, similarity: float, clock: Clock) -> list[bool]:
    """Its fastest path: sampled tokens, one shot over a matrix of all sketches."""
    from rensa import RMinHash, RMinHashLSH

    every = [text for texts in batches(path) for text in texts]

    def work() -> list[bool]:
        tokens = [shingles(text) for text in every]
        matrix = RMinHash.digest_matrix_from_token_sets_rho(tokens, num_perm=128, seed=42)
        index = RMinHashLSH(threshold=similarity, num_perm=128, num_bands=8)
        return list(index.query_duplicate_flags_matrix_one_shot(matrix))

    return clock(work)


def datasketch(path: Path, similarity: float, clock: Clock) -> list[bool]:
    """MinHash and banded look-up; its candidates count as duplicates, as in its documentation."""
    from datasketch import MinHash, MinHashLSH

    index, dropped = MinHashLSH(threshold=similarity, num_perm=128), []

    def work(texts: list[str]) -> None:
        for text in texts:
            sketch = MinHash(num_perm=128)
            sketch.update_batch([shingle.encode() for shingle in shingles(text)])
            dropped.append(bool(index.query(sketch)))
            if not dropped[-1]:
                index.insert(str(len(dropped)), sketch)

    for texts in batches(path):
        clock(work, texts)
    return dropped


def brute_force(path: Path, similarity: float, clock: Clock) -> list[bool]:
    """Count, for every row, what it shares with every kept row: no filter, no hash, no bound."""
    from collections import Counter
    from fractions import Fraction

    least = Fraction(str(similarity))
    sizes: list[int] = []
    holders: dict[str, list[int]] = {}

    def is_duplicate(own: set[str]) -> bool:
        shared = Counter(itertools.chain.from_iterable(holders.get(item, ()) for item in own))
        return any(
            Fraction(count, len(own) + sizes[other] - count) >= least
            for other, count in shared.items()
            if 2 * count >= len(own) * similarity  # spares most fractions; no pair is lost
        )

    def work(texts: list[str]) -> list[bool]:
        out = []
        for own in map(set, map(shingles, texts)):
            out.append(bool(own) and is_duplicate(own))
            if own and not out[-1]:
                for item in own:
                    holders.setdefault(item, []).append(len(sizes))
                sizes.append(len(own))
        return out

    return [flag for texts in batches(path) for flag in clock(work, texts)]


CONTENDERS: dict[str, Callable[[Path, float, Clock], list[bool]]] = {
    "curate": curate,
    "rensa": rensa,
    "rensa rho": rensa_rho,
    "datasketch": datasketch,
    "brute force": brute_force,
}


# -- the comparison -------------------------------------------------------------------------------


def child(name: str, rows: int, similarity: float) -> None:
    clock, path = Clock(), near_data.near_file(rows)
    dropped = CONTENDERS[name](path, similarity, clock)
    answer = bench.WORKPLACE / f"near-{rows}-{similarity}-{name.replace(' ', '-')}.json"
    answer.write_text(json.dumps([k for k, flag in enumerate(dropped) if flag]))
    print(json.dumps({"seconds": clock.seconds, "dropped": sum(dropped), "answer": str(answer)}))


def compare(rows: int, similarity: float, names: list[str], repeats: int) -> bench.Measured:
    near_data.near_file(rows)
    folder, lines, right = bench.peers(*PEERS), [], set[int]()
    for name in names:
        command = [sys.executable, __file__, "--child", name, "--rows", str(rows)]
        slow = name in ("datasketch", "brute force")
        is_peer = name.startswith(("rensa", "datasketch"))
        if is_peer and folder is None:
            continue
        version, env = _version(name, folder), {"PYTHONPATH": str(folder)} if is_peer else {}
        command += ["--similarity", str(similarity)]
        one = bench.Contender(name, version, command, env, is_peer)
        measured = bench.measure(one, repeats=1 if slow else repeats, warm_up=not slow)
        if measured is None:
            continue
        answer = set(json.loads(Path(measured.result["answer"]).read_text()))
        right = right or answer
        lines.append(bench.Line(name, version, rows, measured, _agreement(answer, right)))
    bench.print_table(f"{rows:,} rows, Jaccard {similarity}", lines)
    return lines[0].measured


def _version(name: str, folder: Path | None) -> str:
    package = {"curate": "curate-align", "brute force": ""}.get(name, name.partition(" ")[0])
    if not package:
        return ""
    where = [str(folder)] if package != "curate-align" else sys.path
    found = importlib.metadata.distributions(name=package, path=where)
    return next((item.version for item in found), "checkout")


def _agreement(answer: set[int], right: set[int]) -> str:
    if answer == right:
        return "yes"
    both = len(answer & right)
    precision, recall = both / max(1, len(answer)), both / max(1, len(right))
    return f"no: precision {precision:.3f}, recall {recall:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also 1,000,000 rows")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", choices=CONTENDERS)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--similarity", type=float, default=0.8)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child, chosen.rows, chosen.similarity)
        return
    print(bench.machine())
    compare(20_000, 0.8, ["curate", "brute force", "datasketch"], 3)
    times = {}
    for rows in (52_000, 200_000, *((1_000_000,) if chosen.full else ())):
        repeats = chosen.repeats if rows < 200_000 else min(3, chosen.repeats)
        times[rows] = compare(rows, 0.8, ["curate", "rensa", "rensa rho"], repeats)
    for similarity in (0.7, 0.9):
        compare(52_000, similarity, ["curate", "rensa"], min(3, chosen.repeats))
    _print_growth({rows: measured.seconds for rows, measured in times.items()})


def _print_growth(seconds: dict[int, float]) -> None:
    from math import log

    for small, large in itertools.pairwise(seconds):
        power = log(seconds[large] / seconds[small]) / log(large / small)
        print(f"growth of curate from {small:,} to {large:,} rows: n^{power:.2f}")


if __name__ == "__main__":
    main()
