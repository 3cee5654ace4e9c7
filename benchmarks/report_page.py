"""The page of a large run: how long it takes to build and to open, and how much it holds.

    python benchmarks/report_page.py [--full]

Quick: 100k rows; --full: 1 M rows, made of real ones with a number each. Opening needs Chromium and
playwright. Goals: under 20 MB, open in under 3 s, under 200 MB of script memory, the same bytes
twice.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

STEPS = """
- length: {min: 5, on: response}
- repetition: {max: 2.0}
- charset: {min: 0.5}
- exact
- sample: {share: 0.4}
"""


def rows(count: int) -> Iterator[dict[str, str]]:
    """Yield real rows, again and again, each time with another number."""
    from curate.read.inputs import open_records
    from curate.system.package_data import shipped

    real = [
        read.record
        for name in ("tasks", "gpteacher")
        for _, reads in open_records(shipped(f"pipelines/data/{name}.jsonl.gz"))
        for read in reads
    ]
    for number in range(count):
        row = dict(real[number % len(real)])
        row["instruction"] = f"{row['instruction']} ({number // len(real)})"
        yield row


def opened(page: Path) -> tuple[float, float]:
    """Return the seconds until the page is ready, and the megabytes of its script's memory."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--enable-precise-memory-info"],
        )
        tab = browser.new_context(offline=True).new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector('html[data-ready="1"]')
        seconds = time.perf_counter() - began
        heap = tab.evaluate("performance.memory.usedJSHeapSize") / 1e6
        browser.close()
    return seconds, heap


def main() -> None:
    import json

    from curate.page import write_page
    from curate.pipeline import Pipeline

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1 M rows")
    count = 1_000_000 if parser.parse_args().full else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "rows.jsonl").open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows(count))
        recipe = f"inputs: {folder / 'rows.jsonl'}\nsteps:{STEPS}"
        run = Pipeline.from_yaml(recipe).run(run=folder / "run", store=folder / "store")
        pages = []
        for which in ("a.html", "b.html"):
            began, worked = time.perf_counter(), time.process_time()
            page = write_page(run.folder, folder / which)
            times = time.perf_counter() - began, time.process_time() - worked
            pages.append(page.path.read_bytes())
        print(f"{count:,} rows: built in {times[0]:.1f} s ({times[1]:.1f} s of processor time)")
        print(
            f"{page.size / 1e6:.2f} MB with {page.rows:,} rows; same twice: {pages[0] == pages[1]}"
        )
        if shutil.which("chromium"):
            seconds, heap = opened(page.path)
            print(f"open in {seconds:.2f} s, {heap:.0f} MB of script memory")


if __name__ == "__main__":
    main()
