"""Parts through a segment on a Ray cluster: a task for each, and Ray Data's `map_batches`.

    python benchmarks/ray_parts.py --parts 32 --rows 4000

Both start warm on the same two nodes (of this machine, one CPU each) and carry out the same segment
function on the same parts, in order. `map_batches` needs its blocks before it begins, so it is
shown with all of them at once, and with windows of eight, which a stream of parts would take.
"""

from __future__ import annotations

import argparse
import logging
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator

import pyarrow as pa
import ray
import ray.data
from ray.cluster_utils import Cluster

from curate.chunk import table_of
from curate.engine.ray.task import SegmentTask as Task
from curate.engine.ray.task import carry_out, versions
from curate.engine.segment import Segment
from curate.engine.state import PartitionState, Settings
from curate.row import Message, Row
from curate.steps import Length, Repetition

WINDOW = 4


def part(number: int, rows: int) -> pa.Table:
    text = "the quick brown fox jumps over a lazy dog while nobody looks"
    words = text.split()
    return table_of(
        Row(
            id=f"{number:016x}{row:016x}",
            seq=(0, number, row),
            kind="sft",
            fields={
                "messages": (
                    Message("user", f"Say {row}"),
                    Message("assistant", " ".join(words[(row * k) % 12] for k in range(120))),
                )
            },
        )
        for row in range(rows)
    )


def by_tasks(task: Task, tables: list[pa.Table]) -> int:
    remote = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(carry_out)
    sent, waiting, kept = ray.put(task), deque(), 0
    for number, table in enumerate(tables):
        waiting.append(remote.remote(sent, PartitionState(number, table)))
        if len(waiting) == WINDOW:
            kept += ray.get(waiting.popleft()).rows.num_rows
    return kept + sum(ray.get(one).rows.num_rows for one in waiting)


def by_map_batches(task: Task, tables: list[pa.Table]) -> int:
    def work(batch: pa.Table) -> pa.Table:
        # Besides the rows a part brings ledger, tallies and sketches: they travel as bytes.
        found = carry_out(task, PartitionState(0, batch))
        return pa.table({"state": pa.array([pickle.dumps(found)], pa.large_binary())})

    blocks = ray.data.from_arrow_refs([ray.put(table) for table in tables])
    made = blocks.map_batches(work, batch_format="pyarrow", batch_size=None, num_cpus=1)
    found = made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)
    return sum(pickle.loads(one["state"][0].as_py()).rows.num_rows for one in found)


def in_windows(task: Task, tables: list[pa.Table]) -> int:
    return sum(by_map_batches(task, tables[at : at + 8]) for at in range(0, len(tables), 8))


def measured(parts: int, rows: int) -> Iterator[str]:
    settings = Settings(run_seed=0, large=True, chunk_rows=4096)
    segment = Segment((Length(min=3), Repetition()), None)
    task = Task("t", segment, settings, versions(), {})
    tables = [part(number, rows) for number in range(parts)]
    ways: dict[str, Callable[[Task, list[pa.Table]], int]] = {
        "tasks": by_tasks,
        "map_batches, all at once": by_map_batches,
        "map_batches, windows of 8": in_windows,
    }
    kept = set()
    for name, way in ways.items():
        way(task, tables[:2])
        began = time.perf_counter()
        kept.add(way(task, tables))
        yield f"{name:28} {time.perf_counter() - began:6.2f} s for {parts} parts of {rows:,} rows"
    assert len(kept) == 1, kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=32)
    parser.add_argument("--rows", type=int, default=4000)
    given = parser.parse_args()
    node = {"num_cpus": 1, "object_store_memory": 256 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.execution_options.preserve_order = False, True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        for line in measured(given.parts, given.rows):
            print(line, flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
