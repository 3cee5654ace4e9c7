"""How much memory waiting requests take: 60,000 and 200,000 rows behind a model that never answers.

    python benchmarks/waiting.py

Each run judges its rows until nothing more can be begun and the first replies are still on their
way; then its peak is taken and it is killed. Twice: as a pipeline over a file, which reads only a
few parts ahead, and as one call of the driver that is given all rows at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench import Contender, Line, machine, measure, print_goal, print_table
from near_data import near_file
from replay import Judged

# Both are more than the parts that are under way at once.
SIZES = (60_000, 200_000)
QUIET_SECONDS = 3.0


def script(folder: Path) -> dict[str, object]:
    path = folder / "judge.jsonl"
    path.write_text(json.dumps({"when": {}, "reply": "7", "delay": 86_400}) + "\n")
    return {"model": f"scripted:{path}", "max_concurrency": 256, "log": str(folder / "sent")}


def by_pipeline(folder: Path, rows: int) -> None:
    from curate import Pipeline

    pipeline = Pipeline([Judged()], models={"judge": script(folder)})
    pipeline.run(near_file(rows), run=folder / "run", store=folder / "store")


def by_driver(folder: Path, rows: int) -> None:
    from curate.ask import Ask
    from curate.models.model import open_model
    from curate.requests.driver import Driver
    from curate.requests.session import RowTask
    from curate.store.budget import Budget
    from curate.store.store import Store

    def job(number: int) -> RowTask:
        def start():
            return (yield Ask.text(f"{number} {'word ' * 200}", max_tokens=8)).text

        return RowTask(start)

    with Store.open(folder / "store") as store:
        spending = Budget(store, "run")
        with Driver(store, {"judge": open_model(script(folder))}, spending=spending) as driver:
            driver.run([job(n) for n in range(rows)])


def leave_when_quiet(folder: Path) -> None:
    """End the process once all places have been taken and nothing was sent for a while."""
    log, last, since = folder / "sent", -1, time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS or last < 256:
        now = log.read_bytes().count(b"\n") if log.exists() else 0
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.1)
    print(json.dumps({"waiting": last}), flush=True)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="changes nothing: there is one size")
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        name, rows, folder = options.child[0], options.child[1], Path(options.child[2])
        threading.Thread(target=leave_when_quiet, args=[folder], daemon=True).start()
        {"pipeline": by_pipeline, "driver": by_driver}[name](folder, int(rows))
        return
    print(machine())
    for name in ("pipeline", "driver"):
        command = [sys.executable, __file__, "--child", name]
        found = []
        for rows in SIZES:
            with tempfile.TemporaryDirectory() as folder:
                one = Contender(name, "", [*command, str(rows), folder])
                found.append(measure(one, repeats=1, warm_up=False))
        lines = [Line(f"{name}, {n:,} rows", "", n, m) for n, m in zip(SIZES, found, strict=True)]
        print_table(f"Peak memory while requests wait, {name}", lines)
        small, large = (measured.peak_mb for measured in found)
        each = 1024 * (large - small) / (SIZES[1] - SIZES[0])
        print_goal(f"{name}, KB for each further waiting row", each, most=0.5)


if __name__ == "__main__":
    main()
