"""`python -m tests.mutation planted|run|report`: change code in a copy of the tree, and test it.

`planted` plants faults that once went unnoticed and names the tests that see them. `run` tests
mutants of the modules in `modules.py`, each with its module's tests; a mutant that ended is not
tried again, unless it survived and `--again` is given. `report` says how they ended. What the two
need beyond the tests' packages is cosmic-ray: `make mutate` installs it.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.house.places import ROOT
from tests.mutation.faults import FAULTS, Fault
from tests.mutation.modules import MODULES, Module
from tests.mutation.mutants import Mutant, Session, mutated, sample
from tests.mutation.tree import Tree

FOLDER = ROOT / ".mutation"
_MARKED = "not slow and not real"
# A mutant that takes this many times as long as the module's tests take is one that never ends.
_LONGER, _AT_LEAST = 5, 60.0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the copy of the tree")
    commands = parser.add_subparsers(dest="command", required=True)
    planted = commands.add_parser("planted", help="plant the known faults")
    planted.add_argument("words", nargs="*", metavar="WORD", help="of the faults that are meant")
    for name, says in (("run", "test mutants"), ("report", "say how mutants ended")):
        own = commands.add_parser(name, help=says)
        own.add_argument("modules", nargs="*", metavar="MODULE", help="part of a file's path")
        own.add_argument("--count", type=int, help="of the mutants, drawn by --seed; all without")
        own.add_argument("--seed", type=int, default=0)
        if name == "run":
            own.add_argument("--again", action="store_true", help="try survivors again")
            own.add_argument("--seconds", type=float, default=float("inf"), help="for all of them")
    args = parser.parse_args()
    if args.command == "planted":
        return plant(Tree(args.folder), args.words)
    modules = [m for m in MODULES if not args.modules or any(w in m.file for w in args.modules)]
    if not modules:
        parser.error(f"no module; there are {', '.join(module.file for module in MODULES)}")
    args.folder.mkdir(parents=True, exist_ok=True)
    drawn = sample(modules, args.count, args.seed)
    if args.command == "run":
        run(Tree(args.folder), drawn, args.seconds, again=args.again)
    return report(args.folder, drawn)


def plant(tree: Tree, words: Sequence[str]) -> int:
    """Plant the faults whose sentence has all `words`, and say which of them are seen."""
    tree.refresh()
    faults = [fault for fault in FAULTS if all(word in fault.says for word in words)]
    unseen = [fault for fault in faults if not seen(tree, fault)]
    print(f"{len(faults) - len(unseen)} of {len(faults)} faults fail a test")
    return 1 if unseen or not faults else 0


def seen(tree: Tree, fault: Fault) -> bool:
    """Plant a fault, run its tests, and print which of them failed."""
    whole = (tree.root / fault.file).read_text(encoding="utf-8")
    with tree.changed(fault.file, fault.planted(whole)):
        outcome = tree.test(fault.tests, fault.marked, 600)
    told = ", ".join(outcome.failed)
    if not outcome.noticed:
        told = f"NOT SEEN\n{outcome.text[-2000:]}"
    print(f"{fault.says} ({fault.file}): {told}", flush=True)
    return outcome.noticed


def run(tree: Tree, drawn: Sequence[Mutant], seconds: float, *, again: bool) -> None:
    """Test the mutants that have not ended yet, until the time is over."""
    tree.refresh()
    ends, done = time.monotonic() + seconds, 0
    for module, session, mutants in _sessions(tree.folder, drawn):
        waiting = [
            m for m in mutants if session.survived(m) in ((None, True) if again else (None,))
        ]
        done += len(mutants) - len(waiting)
        if waiting:
            begun = time.monotonic()
            whole = tree.test(module.tests, _MARKED, 600)
            if whole.code:
                sys.exit(f"the tests of {module.file} fail as it is:\n{whole.text[-3000:]}")
            limit = max(_AT_LEAST, _LONGER * (time.monotonic() - begun))
        for mutant in waiting:
            if time.monotonic() > ends:
                return
            begun = time.monotonic()
            text, change = mutated(mutant)
            with tree.changed(module.file, text):
                outcome = tree.test(module.tests, _MARKED, limit)
            done, took = done + 1, time.monotonic() - begun
            # A module that cannot be imported is seen, too: pytest says so with other codes.
            failed = outcome.failed or (
                (f"(pytest ended with {outcome.code})",) * bool(outcome.code)
            )
            session.note(mutant, change, failed, took)
            told = failed[0] if failed else "SURVIVED"
            print(f"{done}/{len(drawn)} {took:.1f} s {mutant}: {change}: {told}", flush=True)


def report(folder: Path, drawn: Sequence[Mutant]) -> int:
    """Print each module's score, then the survivors."""
    totals, survivors = collections.Counter[str](), []
    for module, session, mutants in _sessions(folder, drawn):
        ended = [(mutant, session.survived(mutant)) for mutant in mutants]
        alive = [mutant for mutant, survived in ended if survived]
        tried = sum(survived is not None for _, survived in ended)
        totals.update(mutants=len(mutants), tried=tried, survived=len(alive))
        survivors += [f"{mutant}: {session.change(mutant)}" for mutant in alive]
        print(f"{module.file}: {tried - len(alive)} of {tried} seen, {len(mutants)} drawn")
    for mutant in survivors:
        print(f"SURVIVED {mutant}")
    seen_by_tests = totals["tried"] - totals["survived"]
    share = seen_by_tests / max(1, totals["tried"])
    print(f"{seen_by_tests} of {totals['tried']} mutants seen ({share:.1%}), {len(drawn)} drawn")
    return 0


def _sessions(
    folder: Path, drawn: Sequence[Mutant]
) -> Iterator[tuple[Module, Session, list[Mutant]]]:
    for module, mutants in itertools.groupby(drawn, key=lambda mutant: mutant.module):
        session = Session(folder, module)
        try:
            yield module, session, list(mutants)
        finally:
            session.close()


if __name__ == "__main__":
    sys.exit(main())
