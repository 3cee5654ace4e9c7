"""The modules whose errors would silently give wrong rows or pay twice, and the tests of each."""

from __future__ import annotations

from typing import NamedTuple


class Module(NamedTuple):
    """A file that is mutated, and the test files that are run on each mutant."""

    file: str
    tests: tuple[str, ...]


MODULES = (
    # Duplicates: which row is dropped, and for which one.
    Module(
        "curate/kernels/arrays/duplicates.py",
        ("tests/kernels/arrays/test_duplicates.py", "tests/steps/dedup/test_exact.py"),
    ),
    Module("curate/kernels/sets/jaccard.py", ("tests/kernels/sets/test_jaccard.py",)),
    Module(
        "curate/kernels/vectors/dedup.py",
        ("tests/kernels/vectors/test_dedup.py", "tests/kernels/vectors/test_close_pairs.py"),
    ),
    # Selection.
    Module("curate/select/__init__.py", ("tests/select/test_select.py",)),
    Module("curate/kernels/arrays/quotas.py", ("tests/kernels/arrays/test_quotas.py",)),
    # Replies and what they cost.
    Module("curate/store/commit.py", ("tests/store/test_commit.py",)),
    Module(
        "curate/store/replies.py", ("tests/store/test_replies.py", "tests/store/test_leases.py")
    ),
    Module("curate/store/budget.py", ("tests/store/test_budget.py",)),
    # How a row ends, and what is written of it.
    Module(
        "curate/engine/ledger.py",
        (
            "tests/engine/test_ledger.py",
            "tests/engine/test_figure_totals.py",
            "tests/engine/kinds/test_filter.py",
        ),
    ),
    Module("curate/engine/kinds/filter.py", ("tests/engine/kinds/test_filter.py",)),
)
