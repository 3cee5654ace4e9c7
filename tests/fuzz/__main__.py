"""`python -m tests.fuzz [READER ...] [--count N] [--keep FOLDER] [--state FILE]`: fuzz for longer.

20,000 mutants of a reader take minutes to hours; a finding is printed with its seed and kept as a
file. With `--state FILE` sittings add up: each reader goes on behind its last mutant, and the sums
are those of all sittings.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from tests.fuzz.readers import check
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzz the readers that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(TARGETS))
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first mutant")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of each reader")
    parser.add_argument("--keep", type=Path, help="a folder for the mutants that were findings")
    parser.add_argument("--state", type=Path, help="a file that remembers how far each reader is")
    args = parser.parse_args()
    if unknown := set(args.readers) - set(TARGETS):
        parser.error(f"no reader {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    state = args.state
    sums = json.loads(state.read_text()) if state is not None and state.exists() else {}
    total = 0
    for name in args.readers or TARGETS:
        before = sums.get(name, {})
        first = args.seed + sum(before.values())
        numbers = range(first, args.seed + args.count)
        ends = fuzz(name, numbers, args.seconds, args.keep)
        sums[name] = dict(collections.Counter(before) + ends)
        total += ends["findings"]
        if state is not None:
            state.write_text(json.dumps(sums, indent=1, sort_keys=True))
            print(f"{name}: in all {_told(sums[name])}", flush=True)
    return min(total, 1)


def _told(ends: Mapping[str, int]) -> str:
    told = ", ".join(f"{count:,} {end}" for end, count in sorted(ends.items()))
    return f"{sum(ends.values()):,} mutants: {told}"


def fuzz(name: str, numbers: range, seconds: float, keep: Path | None) -> collections.Counter[str]:
    """Return how mutants of a reader's input ended, findings among them."""
    target, ends, begun = TARGETS[name], collections.Counter[str](), time.monotonic()
    kinds: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            mutant = target.mutant(random.Random(f"{name} {number}"))
            try:
                ends[check(target, mutant, Path(folder))] += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                ends["findings"] += 1
                last = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__} {last.filename}:{last.lineno}"
                if kind not in kinds:
                    kinds.add(kind)
                    print(f"{name} {number}: {kind}: {str(error)[:300]}", flush=True)
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{name}-{number}.txt").write_text(
                            "".join(traceback.format_exception(error)) + _shown(mutant),
                            encoding="utf-8",
                            errors="backslashreplace",
                        )
            if time.monotonic() - begun > seconds:
                break
    taken = time.monotonic() - begun
    print(f"{name}: in {taken:.0f} s {_told(ends)}", flush=True)
    return ends


def _shown(mutant: object) -> str:
    try:
        return repr(mutant)
    except ValueError as error:
        return f"a mutant that cannot be shown: {error}"


if __name__ == "__main__":
    sys.exit(main())
