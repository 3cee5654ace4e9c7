"""Faults that once went unnoticed, each as the change of one line, and the tests that see it.

A fault is planted in a copy of the tree (`python -m tests.mutation planted`), never here.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """A line of `file` that holds `right`, what it becomes, and the test files that fail then."""

    says: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]
    marked: str = "not slow and not real"

    def planted(self, text: str) -> str:
        """Return the text of the file with the fault in it.

        Raises:
            ValueError: the line is not there, or stands in several places.
        """
        if (count := text.count(self.right)) != 1:
            raise ValueError(f"{self.file} holds {self.right!r} {count} times; it must be once")
        return text.replace(self.right, self.wrong)


_FILTER = "tests/engine/kinds/test_filter.py"
_FAILURES = "tests/cli/test_failures.py"
_PAIRS = "tests/kernels/vectors/test_close_pairs.py"
_DEDUP = "tests/kernels/vectors/test_dedup.py"
_AGAINST = "tests/steps/dedup/test_against.py"
_POSIX = "tests/system/test_posix.py"
_COMMIT = "tests/store/test_commit.py"

FAULTS = (
    Fault(
        "a filter that returns NaN keeps its row",
        "curate/engine/kinds/filter.py",
        "                    if math.isnan(score):",
        "                    if score is math.nan and False:",
        (_FILTER,),
    ),
    Fault(
        "an error drives the terminal with the escapes of what it quotes",
        "curate/cli/failures.py",
        "map(printable, without_secrets(text)",
        "map(str, without_secrets(text)",
        (_FAILURES,),
    ),
    Fault(
        "dropped rows of two segments stand in the order of the segments",
        "curate/engine/output/run_files.py",
        "self._add_rows(outcome, sort_by_seq(whole))",
        "self._add_rows(outcome, whole)",
        (_FILTER,),
    ),
    Fault(
        "of kept rows as close the last one is named",
        "curate/kernels/vectors/dedup.py",
        "if cosines[at] > closest or other < best:",
        "if cosines[at] > closest or other > best:",
        (_PAIRS,),
    ),
    Fault(
        "of kept rows as close the first vector's is named, whatever row it stands for",
        "curate/kernels/vectors/dedup.py",
        "if cosines[at] > closest or other < best:",
        "if cosines[at] > closest:",
        (_PAIRS,),
    ),
    Fault(
        "of rows of another dataset as close the last one is named",
        "curate/kernels/vectors/close_pairs.py",
        "tie = cosines[pair] == cosine[own] and other < partner[own]",
        "tie = cosines[pair] == cosine[own] and other > partner[own]",
        (_PAIRS,),
    ),
    Fault(
        "of rows as near the last one comes first",
        "curate/kernels/vectors/nearest_rows.py",
        'order = np.argsort(-cosines, kind="stable")[:count]',
        "order = np.lexsort((-rows, -cosines))[:count]",
        ("tests/kernels/vectors/test_nearest_rows.py",),
    ),
    Fault(
        "an exact search leaves out pairs at the threshold",
        "curate/kernels/vectors/close_pairs.py",
        "enough = cosines >= self._at_least",
        "enough = cosines > self._at_least",
        (_PAIRS,),
    ),
    Fault(
        "a prefilter leaves out pairs at the threshold",
        "curate/kernels/vectors/close_pairs.py",
        "self._cut = at_least - self._prefilter.margin(own.vectors.shape[1])",
        "self._cut = at_least + self._prefilter.margin(own.vectors.shape[1])",
        (_PAIRS,),
    ),
    Fault(
        "the walk keeps a row that reaches the threshold exactly",
        "curate/kernels/vectors/dedup.py",
        "if other < 0 or cosines[at] < similarity or cosines[at] < closest:",
        "if other < 0 or cosines[at] <= similarity or cosines[at] < closest:",
        (_DEDUP,),
    ),
    Fault(
        "a row that reaches the threshold to another dataset exactly stays",
        "curate/kernels/vectors/dedup.py",
        "close = score >= similarity",
        "close = score > similarity",
        (_DEDUP,),
    ),
    Fault(
        "the index leaves out pairs at the threshold",
        "curate/kernels/vectors/ivf_index.py",
        "self._own.cosines(self.rows[left], self.rows[right]) >= self._at_least",
        "self._own.cosines(self.rows[left], self.rows[right]) > self._at_least",
        (_DEDUP,),
    ),
    Fault(
        "SemDeDup removes a row exactly at 1 - epsilon",
        "curate/kernels/vectors/semdedup.py",
        "at_least = float(np.nextafter(1 - epsilon, 2.0))",
        "at_least = float(1 - epsilon)",
        ("tests/kernels/vectors/test_semdedup.py",),
    ),
    Fault(
        "a row at the similarity of a test item stays",
        "curate/steps/filters/contamination.py",
        "self.similarity is not None and score >= self.similarity",
        "self.similarity is not None and score > self.similarity",
        ("tests/steps/filters/test_contamination.py",),
    ),
    Fault(
        "a row that stands in another dataset makes duplicates of those like it (semantic)",
        "curate/kernels/vectors/dedup.py",
        "order = not_leaked(order, leaked)",
        "order = not_leaked(order, None)",
        (_AGAINST,),
    ),
    Fault(
        "a row that stands in another dataset makes duplicates of those like it (near)",
        "curate/steps/dedup/near.py",
        "order = not_leaked(order, leaked)\n        found = _verdicts(nearest_kept(",
        "order = not_leaked(order, None)\n        found = _verdicts(nearest_kept(",
        (_AGAINST,),
    ),
    Fault(
        "rows that reach a step are those of the last part",
        "curate/engine/run.py",
        "self.tallies.setdefault(label, StepTally()).add(tally)",
        "self.tallies[label] = tally",
        (_FILTER,),
    ),
    Fault(
        "rows that reach a step are not added up over parts",
        "curate/engine/ledger.py",
        'for name in ("entered", "made", "used", "dropped", "failed", "rewritten"):',
        'for name in ("made", "used", "dropped", "failed", "rewritten"):',
        (_FILTER,),
    ),
    Fault(
        "a small file gets its name before its bytes are on the disk",
        "curate/system/posix.py",
        "        os.fsync(file.fileno())",
        "        pass",
        (_POSIX,),
    ),
    Fault(
        "the folder of a small file is not synced",
        "curate/system/posix.py",
        "    os.replace(partial, path)\n    sync(path.parent)",
        "    os.replace(partial, path)",
        (_POSIX,),
    ),
    Fault(
        "a written file gets its name before its bytes are on the disk",
        "curate/runs/written.py",
        "    sync_all(fresh)\n",
        "",
        (_POSIX,),
    ),
    Fault(
        "the folder of a written file is not synced",
        "curate/runs/written.py",
        "    sync(path.parent)\n",
        "",
        (_POSIX,),
    ),
    Fault(
        "the files of a run are not synced",
        "curate/engine/output/run_files.py",
        "self._syncing.append(self._disk.submit(sync, path))",
        "pass",
        (_POSIX,),
    ),
    Fault(
        "the folders of a run's files are not synced",
        "curate/runs/folder.py",
        "                    sync(path)\n",
        "                    pass\n",
        (_POSIX,),
    ),
    Fault(
        "the folder of a run is not synced where it is made",
        "curate/runs/folder.py",
        "            sync(self.path.parent)\n",
        "            pass\n",
        (_POSIX,),
    ),
    Fault(
        "a reply is lost with the power",
        "curate/store/store.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        (_COMMIT,),
    ),
    Fault(
        "a write asks for the lock when another process may hold it",
        "curate/store/commit.py",
        'connection.execute("BEGIN IMMEDIATE")',
        'connection.execute("BEGIN")',
        (_COMMIT,),
    ),
    Fault(
        "making the tables asks for the lock when another process may hold it",
        "curate/store/store.py",
        'f"BEGIN IMMEDIATE; {_SCHEMA}',
        'f"BEGIN; {_SCHEMA}',
        (_COMMIT,),
    ),
    Fault(
        "a column is added to the table without its lock",
        "curate/store/store.py",
        '    connection.execute("BEGIN IMMEDIATE")',
        '    connection.execute("BEGIN")',
        (_COMMIT,),
    ),
    Fault(
        "a vector's place is noted before its numbers are on the disk",
        "curate/store/vectors.py",
        "        os.fsync(self._file)\n",
        "",
        ("tests/store/test_vectors.py",),
    ),
    Fault(
        "an unexpected error leaves with the code of failed rows",
        "curate/cli/failures.py",
        '(run again with --debug for the traceback)")\n        raise SystemExit(4) from error',
        '(run again with --debug for the traceback)")\n        raise SystemExit(1) from error',
        (_FAILURES,),
    ),
    Fault(
        "the report of before stands while the sections are replaced",
        "curate/runs/folder.py",
        '        (self.path / "report.json").unlink(missing_ok=True)\n',
        "",
        ("tests/runs/test_folder.py",),
    ),
    Fault(
        "a bar ends a cell of the card",
        "curate/engine/output/run_card.py",
        'c.replace("|", "\\\\|") for c in row',
        "c for c in row",
        (_FILTER,),
    ),
    Fault(
        "where SIGINT is ignored, the children that the tests interrupt ignore it, too",
        "tests/conftest.py",
        "    signal.signal(signal.SIGINT, signal.default_int_handler)",
        "    pass",
        ("tests/house/test_background.py",),
        "slow",
    ),
    Fault(
        "a command that runs in the background is ended by the terminal's Ctrl-C",
        "curate/cli/entry.py",
        "watched = signal.getsignal(signal.SIGINT) is signal.default_int_handler",
        "watched = True",
        (_FAILURES,),
    ),
)
