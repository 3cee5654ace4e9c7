"""One part on its way through a segment: which rows are still in, which ended where, and why.

Here a step's verdict becomes "dropped" with its reason (`carry_out`), whatever kind of step gave
it; rows that a step replaces by others end in `kinds.made`, `kinds.generate` and `kinds.gather`.

Rows that end are only marked; columns are cut once, when the segment ends or a step needs exactly
the rows still in. So six filters cost six passes over their own texts and one copy of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import ID, SCORE, SEQ, Chunk, one_array, sort_by_seq
from curate.engine.ledger import (
    DROPPED,
    FAILED,
    MADE,
    PASSED,
    StepRecord,
    StepTally,
    record_outcomes,
)
from curate.errors import StepFailed, StoppedShort
from curate.row import Row, check_number, made_id
from curate.step import Step


class Partition:
    """Hold a part's rows, their outcomes so far, and the ledger lines of its steps.

    `gone` collects the rows that ended, as tables with the additional columns `outcome`, `step` and
    `error`.
    """

    def __init__(self, table: pa.Table, *, run_seed: int, large: bool, chunk_rows: int) -> None:
        self.run_seed, self.large, self.chunk_rows = run_seed, large, chunk_rows
        self.gone: list[pa.Table] = []
        self.ledger: dict[str, list[pa.Table]] = {}
        self.tallies: dict[str, StepTally] = {}
        self.reset(table)

    def reset(self, table: pa.Table) -> None:
        """Go on with the rows of `table`, all of them in."""
        self.table = table
        count = table.num_rows
        self.outcome = np.zeros(count, np.int8)
        self.ended_at = np.full(count, "", object)
        self.errors: dict[int, str] = {}
        self._chunks: list[Chunk] | None = None
        self._rows: list[Row] | None = None

    def compact(self) -> None:
        """Cut out the rows that ended; what was computed on the part stays when none did."""
        if not self.alive.all():
            self.reset(self.split())

    @property
    def alive(self) -> np.ndarray:
        """A mask of the rows that are still in."""
        return np.asarray(self.outcome == PASSED)

    @property
    def chunks(self) -> list[Chunk]:
        """The part in slices of `chunk_rows`; what a step computes on one stays for the next."""
        if self._chunks is None:
            starts = range(0, self.table.num_rows, self.chunk_rows)
            self._chunks = [
                Chunk(
                    self.table.slice(start, self.chunk_rows),
                    run_seed=self.run_seed,
                    large=self.large,
                )
                for start in starts
            ]
        return self._chunks

    @property
    def rows(self) -> list[Row]:
        """Row views of the whole part, made once."""
        if self._rows is None:
            self._rows = [row for chunk in self.chunks for row in chunk.rows()]
        return self._rows

    def by_chunk(self, work: Callable[[Chunk], Sized | None]) -> list[Any] | None:
        """Return what a step's vectorised form gives for each chunk, or `None`: go row by row.

        That is so where a step has no such form, and where its form raises on a chunk: row by row,
        only the row that caused it fails.
        """
        out = []
        for chunk in self.chunks:
            try:
                found = work(chunk)
                if found is None or len(found) != len(chunk):
                    return None
            except StoppedShort:
                raise
            except Exception:
                return None
            out.append(found)
        return out

    def reached(self, only: Sequence[str]) -> np.ndarray:
        """Return the indexes of the rows that are still in and that a step with `only` sees."""
        return np.flatnonzero(self.alive & picked(self.table, only))

    def selected(self, where: np.ndarray) -> Partition:
        """Return some of the rows as a part of their own, for steps that see only these."""
        if len(where) == self.table.num_rows:
            return self
        return Partition(
            self.table.take(pa.array(where)),
            run_seed=self.run_seed,
            large=self.large,
            chunk_rows=self.chunk_rows,
        )

    def tally(self, label: str) -> StepTally:
        """Return the numbers of the step `label`."""
        return self.tallies.setdefault(label, StepTally())

    def ids(self, where: np.ndarray) -> pa.Array:
        """Return the ids of the rows at `where`."""
        column = one_array(self.table.column("id"))
        return column if len(where) == len(column) else column.take(pa.array(where))

    def record(self, record: StepRecord) -> None:
        """Add a step's ledger lines and its counts."""
        self.tally(record.label).add(record.tally)
        if record.lines.num_rows:
            self.ledger.setdefault(record.label, []).append(record.lines)

    def end(
        self, label: str, reached: np.ndarray, outcome: np.ndarray, errors: Mapping[int, str]
    ) -> None:
        """Mark how the rows at `reached` (indexes into the part) left the step `label`."""
        self.outcome[reached] = outcome
        self.ended_at[reached[outcome != PASSED]] = label
        self.errors.update(errors)

    def carry_out(
        self,
        label: str,
        reached: np.ndarray,
        *,
        values: np.ndarray,
        codes: np.ndarray,
        reasons: Sequence[str],
        errors: Mapping[int, str],
        details: Mapping[int, str],
        partners: pa.Array | None = None,
    ) -> None:
        """Carry out a step's verdicts on the rows at `reached` (indexes into the part).

        `values` (float64, NaN for none), `codes` (index into `reasons`, -1 to keep), `partners`,
        and the numbers of rows in `errors` and `details` go by `reached`. Other rows that are still
        in have entered the step, and pass.
        """
        entered = int(self.alive.sum())
        outcome = np.where(codes >= 0, DROPPED, PASSED).astype(np.int8)
        if errors:
            outcome[np.fromiter(errors, np.int64, len(errors))] = FAILED
        self.end(label, reached, outcome, {int(reached[i]): text for i, text in errors.items()})
        score = np.full(len(self.outcome), np.nan)
        score[reached] = values
        self._keep_scores(label, score)
        noted = (outcome != PASSED) | ~np.isnan(values)
        if details:
            noted[np.fromiter(details, np.int64, len(details))] = True
        where = np.flatnonzero(noted)
        if errors:
            texts = [
                errors.get(i, reasons[code] if code >= 0 else None)
                for i, code in zip(where.tolist(), codes[where].tolist(), strict=True)
            ]
            column = pa.array(texts, pa.string())
        else:
            indices = pa.array(codes[where].astype(np.int32), mask=codes[where] < 0)
            column = pa.DictionaryArray.from_arrays(indices, pa.array(reasons, pa.string()))
        self.record(
            record_outcomes(
                label,
                self.ids(reached[where]),
                outcome[where],
                entered=entered,
                reasons=column,
                scores=values[where],
                details=[details.get(i) for i in where.tolist()] if details else None,
                partners=None if partners is None else partners.filter(pa.array(noted)),
            )
        )

    def _keep_scores(self, label: str, score: np.ndarray) -> None:
        """Add a score column, so that later steps (and the files) can read it."""
        mask = np.isnan(score)
        if mask.all():
            return
        column = pa.array(score, pa.float64(), mask=mask)
        name = SCORE + label
        if name in self.table.column_names:
            self.table = self.table.drop_columns([name])
        self.table = self.table.append_column(name, column)
        for number, chunk in enumerate(self._chunks or ()):
            chunk.table = self.table.slice(number * self.chunk_rows, self.chunk_rows)
        if self._rows is not None:
            # Row views are ours until a step sees them: a new score joins the same mapping.
            for row, value, missing in zip(self._rows, score.tolist(), mask.tolist(), strict=True):
                row.scores[label] = None if missing else value  # type: ignore[index]

    def repeat(self, label: str, copied: np.ndarray) -> None:
        """Let copies of rows join, each after its row: `copied` names a row once for each copy."""
        if not len(copied):
            return
        starts = np.flatnonzero(np.concatenate(([True], copied[1:] != copied[:-1])))
        numbers = np.arange(len(copied)) - np.repeat(starts, np.diff([*starts, len(copied)]))
        table = self.table.take(pa.array(copied))
        originals = one_array(table.column("id"))
        parents = pa.ListArray.from_arrays(np.arange(len(copied) + 1, dtype=np.int32), originals)
        ids, seqs = [], []
        rows = zip(originals.to_pylist(), table["seq"].to_pylist(), numbers.tolist(), strict=True)
        for original, seq, number in rows:
            ids.append(bytes.fromhex(made_id((original.hex(),), label, (number,))))
            seqs.append([*seq, number])
        own = {"id": pa.array(ids, ID), "seq": pa.array(seqs, SEQ), "parents": parents}
        table = table.drop_columns([name for name in own if name in table.column_names])
        for name, column in own.items():
            table = table.append_column(name, column)
        made = np.full(len(copied), MADE, np.int8)
        self.record(record_outcomes(label, own["id"], made, entered=0, parents=parents))
        both = pa.concat_tables([self.split(), table], promote_options="default")
        self.reset(sort_by_seq(both))

    def fail(self, label: str, errors: Mapping[int, str]) -> None:
        """End the rows on which the step `label` failed, and go on without them."""
        if not errors:
            return
        where = np.array(sorted(errors), np.int64)
        outcome = np.full(len(where), FAILED, np.int8)
        self.end(label, where, outcome, errors)
        reasons = pa.array([errors[index] for index in where.tolist()], pa.string())
        self.record(
            record_outcomes(label, self.ids(where), outcome, entered=len(where), reasons=reasons)
        )
        self.compact()

    def split(self) -> pa.Table:
        """Return the rows that are still in; those that ended go to `gone`."""
        alive = self.alive
        if alive.all():
            return self.table
        ended = ~alive
        where = np.flatnonzero(ended)
        self.gone.append(
            with_ending(
                self.table.filter(pa.array(ended)),
                self.outcome[ended],
                self.ended_at[ended].tolist(),
                [self.errors.get(i) for i in where.tolist()] if self.errors else None,
            )
        )
        return self.table.filter(pa.array(alive))


def picked(table: pa.Table, only: Sequence[str]) -> np.ndarray:
    """Return a mask of the rows that a step with `only` sees: of these kinds, or these sources."""
    if not only:
        return np.ones(table.num_rows, bool)
    names = pa.array(only, pa.string())
    masks = [pc.is_in(one_array(table.column(name)), names) for name in ("kind", "source")]
    return np.asarray(pc.or_(*masks))


def with_ending(
    table: pa.Table,
    outcomes: np.ndarray,
    steps: Sequence[str],
    errors: Sequence[str | None] | None = None,
) -> pa.Table:
    """Return rows with the columns that say how they ended."""
    table = table.append_column("outcome", pa.array(outcomes, pa.int8()))
    table = table.append_column("step", pa.array(steps, pa.string()))
    return table.append_column(
        "error",
        pa.nulls(len(table), pa.string()) if errors is None else pa.array(errors, pa.string()),
    )


def describe_error(error: BaseException) -> str:
    """Return a failed row's error: the exception's class and message on one line."""
    # Half of a surrogate pair, as a model's reply may hold one, is not text for a file.
    text = " ".join(str(error).encode("utf-8", "backslashreplace").decode().split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def check_reason(reason: Any) -> None:
    """Raise `TypeError` or `ValueError` when `reason` is not text that a report can count."""
    if not isinstance(reason, str):
        raise TypeError(f"a reason must be a string, not {type(reason).__name__}")
    if not reason:
        raise ValueError("a reason must not be empty")
    reason.encode()


def check_detail(detail: Any) -> None:
    """Raise `TypeError` when `detail` is neither `None` nor a mapping."""
    if not isinstance(detail, Mapping | None):
        raise TypeError(f"a detail must be a mapping or None, not {type(detail).__name__}")


def check_figures(figures: Mapping[str, float]) -> None:
    """Raise `TypeError` or `ValueError` when a figure has no name, or is not a finite number."""
    for name, value in figures.items():
        check_reason(name)
        check_number(f"the figure '{name}'", value)


def figures_of(step: Step, tally: StepTally) -> Mapping[str, float]:
    """Return a step's figures: its own, or what it makes of those that rows and groups came with.

    Raises:
        StoppedShort: it cannot make any of them, or they are not numbers.
    """
    found = tally.row_figures.totals()
    if not found:
        return tally.figures
    try:
        figures = step.figures(found)
        check_figures(figures)
    except Exception as error:
        raise could_not(step, "give its figures", error) from error
    return figures


def remarks_of(step: Step, tally: StepTally) -> tuple[str, ...]:
    """Return what a step says of the whole run, given what its rows and groups came with.

    Raises:
        StoppedShort: it cannot.
    """
    try:
        return tuple(step.remarks(tally.row_figures.totals()))
    except Exception as error:
        raise could_not(step, "give its remarks", error) from error


def could_not(step: Step, what: str, error: Exception) -> StepFailed:
    """Return the error of a run in which a step that sees all rows failed at `what`."""
    # The sentence of a `ValueError` is written for the user; other classes say what went wrong.
    said = describe_error(error)
    if type(error) is ValueError:
        said = said.removeprefix("ValueError: ")
    return StepFailed(
        f"step '{step.title}' could not {what}: {said}. Nothing was published, and every reply is "
        "kept: fix the step or its input and run again"
    )
