"""Diversity selection side by side with peers: `python benchmarks/diversity_selection.py [--full]`.

The work: 5 % of synthetic clustered vectors of 384 dimensions, vectors in, lines out, code loaded
and compiled. k-center against a numpy loop and the usual scikit-learn code (`pairwise_distances` to
each new centre), from the same first line; facility location (cosine, negative ones 0) against
apricot and submodlib, which work on one thread. Ratios are of wall time, which counts on a quiet
machine; `cpu` is processor time of all threads, which busy cores change less. The value of each
list is measured the same way for all: the radius, or the sum of the cosines with the closest
chosen line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
import bench
import numpy as np

WIDTH, CLUSTERS = 384, 200
PEERS = ("apricot-select==0.6.1", "submodlib-py==0.0.3", "scikit-learn")
NEIGHBOURS = 64
Lines = Any


def vectors(rows: int) -> np.ndarray:
    """Return unit vectors around cluster centres of very different sizes."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(CLUSTERS, WIDTH)).astype(np.float32)
    of = random.zipf(1.3, rows) % CLUSTERS
    found = centres[of] + 0.8 * random.normal(size=(rows, WIDTH)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


# -- contenders -----------------------------------------------------------------------------------


def curate_k_center(lines: np.ndarray, count: int) -> Lines:
    from curate import select

    return select.k_center(lines, count)


def numpy_k_center(lines: np.ndarray, count: int) -> Lines:
    chosen = [first_of(lines)]
    best = lines @ lines[chosen[0]]
    while len(chosen) < count:
        line = int(best.argmin())
        chosen.append(line)
        np.maximum(best, lines @ lines[line], out=best)
    return chosen


def sklearn_k_center(lines: np.ndarray, count: int) -> Lines:
    from sklearn.metrics import pairwise_distances

    chosen = [first_of(lines)]
    best = pairwise_distances(lines, lines[chosen]).ravel()
    while len(chosen) < count:
        line = int(best.argmax())
        chosen.append(line)
        best = np.minimum(best, pairwise_distances(lines, lines[line : line + 1]).ravel())
    return chosen


def first_of(lines: np.ndarray) -> int:
    return int((lines @ lines.sum(0, dtype=np.float64).astype(np.float32)).argmax())


def curate_facility(lines: np.ndarray, count: int) -> Lines:
    from curate import select

    return select.facility_location(lines, count)


def curate_neighbours(lines: np.ndarray, count: int) -> Lines:
    from curate import select

    return select.facility_location(lines, count, neighbours=NEIGHBOURS)


def apricot_facility(lines: np.ndarray, count: int) -> Lines:
    for name, type_ in (("bool", bool), ("int", int), ("float", float)):  # names numpy 2 dropped
        if name not in np.__dict__:
            setattr(np, name, type_)
    from apricot import FacilityLocationSelection

    matrix = np.maximum(lines @ lines.T, 0).astype(np.float64)
    return (
        FacilityLocationSelection(count, metric="precomputed", optimizer="lazy").fit(matrix).ranking
    )


def submodlib_facility(lines: np.ndarray, count: int) -> Lines:
    from submodlib import FacilityLocationFunction

    function = FacilityLocationFunction(n=len(lines), mode="dense", data=lines, metric="cosine")
    found = function.maximize(
        budget=count, optimizer="LazyGreedy", stopIfZeroGain=False, stopIfNegativeGain=False,
        verbose=False, show_progress=False,
    )  # fmt: skip
    return [line for line, _ in found]


CONTENDERS: dict[str, Callable[[np.ndarray, int], Lines]] = {
    "k-center: curate": curate_k_center,
    "k-center: numpy loop": numpy_k_center,
    "k-center: scikit-learn style": sklearn_k_center,
    "facility: curate": curate_facility,
    "facility: curate, 64 neighbours": curate_neighbours,
    "facility: apricot": apricot_facility,
    "facility: submodlib": submodlib_facility,
}
SIZES = {
    5_000: list(CONTENDERS),
    40_000: [*list(CONTENDERS)[:3], "facility: curate, 64 neighbours"],
}


def child(name: str, rows: int) -> None:
    """Do the work once in this process, after a small run that loads and compiles everything."""
    if "curate" in name:
        import torch  # noqa: F401  as in a run, where the encoder has loaded it
    select, lines = CONTENDERS[name], vectors(rows)
    select(lines[:300].copy(), 5)
    began, cpu = time.perf_counter(), time.process_time()
    chosen = np.asarray(select(lines, rows // 20), np.int64)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    closest = np.full(rows, -1, np.float32)
    for start in range(0, len(chosen), 256):
        some = lines[chosen[start : start + 256]]
        np.maximum(closest, (lines @ some.T).max(1), out=closest)
    radius = float(np.sqrt(np.maximum(0, 2 - 2 * closest)).max())
    value = float(np.maximum(0, closest).sum(dtype=np.float64))
    found = {"cpu": cpu, "radius": radius, "value": value, "lines": chosen.tolist()}
    print(json.dumps({"seconds": seconds, **found}))


def compare(rows: int, names: list[str], repeats: int) -> dict[str, bench.Measured]:
    folder = bench.peers(*PEERS)
    if folder is None:
        names = [name for name in names if not _needs_peer(name)]
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    print(f"\n{rows:,} vectors of {WIDTH}, {rows // 20:,} chosen")
    print("| contender | seconds | cpu | peak MB | radius | value | list as curate's |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    measured: dict[str, bench.Measured] = {}
    for name in names:
        command = [sys.executable, __file__, "--child", name, "--rows", str(rows)]
        env = {"PYTHONPATH": path} if _needs_peer(name) else {}
        one = bench.Contender(name, "", command, env, is_peer="curate" not in name)
        found = bench.measure(one, repeats=repeats, warm_up=False)
        if found is None:
            continue
        measured[name] = found
        first = next(one for one in measured if one.partition(":")[0] == name.partition(":")[0])
        mine, result = measured[first].result["lines"], found.result
        equal = sum(a == b for a, b in zip(mine, result["lines"], strict=False)) / len(mine)
        print(
            f"| {name} | {found.seconds:.2f} | {result['cpu']:.2f} | {found.peak_mb:,.0f} | "
            f"{result['radius']:.4f} | {result['value']:,.1f} | {equal:.1%} |",
            flush=True,
        )
    return measured


def judge(rows: int, found: dict[str, bench.Measured]) -> None:
    """Print which goals are met."""

    def faster(own: str, peer: str, goal: float) -> None:
        if peer not in found:
            bench.print_ratio(f"{own}: x {peer.partition(': ')[2]}", found, peer, own)
            return
        cpu = found[peer].result["cpu"] / found[own].result["cpu"]
        what = f"{own}: x {peer.partition(': ')[2]} ({cpu:.3g} in processor time)"
        bench.print_goal(what, found[peer].seconds / found[own].seconds, least=goal)

    few = "facility: curate, 64 neighbours"
    faster("k-center: curate", "k-center: numpy loop", 1)
    if rows < 40_000:
        faster("facility: curate", "facility: submodlib", 10)
        faster(few, "facility: submodlib", 30)
        what = f"{few}: share of submodlib's value"
        value = {"least": 0.995, "figure": lambda measured: measured.result["value"]}
        bench.print_ratio(what, found, few, "facility: submodlib", **value)
    else:
        faster("k-center: curate", "k-center: scikit-learn style", 13)
        bench.print_goal(f"{few}: seconds", found[few].seconds, most=3)


def _needs_peer(name: str) -> bool:
    return "apricot" in name or "submodlib" in name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also 40,000 vectors")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", choices=CONTENDERS)
    parser.add_argument("--rows", type=int)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child, chosen.rows)
        return
    print(bench.machine())
    for rows in (5_000, *((40_000,) if chosen.full else ())):
        judge(rows, compare(rows, SIZES[rows], chosen.repeats))


if __name__ == "__main__":
    main()
