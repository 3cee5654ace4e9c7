"""Write the kept rows to the file that the user asked for, in the shape they came in.

Where JSON lines went in and JSON lines come out, a row that no step changed leaves as the very line
it was: nothing is lost, and nothing is spent on writing it anew.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chunk import one_array, rows_of
from curate.engine.reading import Reading
from curate.engine.state import PartitionState, load
from curate.errors import ShapeMisfit
from curate.read import raw_lines
from curate.read.shapes import shape as shape_called
from curate.read.shapes.record_fields import dumps
from curate.runs.folder import RunFolder
from curate.runs.rows import Rows, on_side
from curate.runs.written import put
from curate.system.posix import UnfinishedFile
from curate.write import NATURAL, as_shape, kind_of, path_of_part, write_rows

_MOST_WAITING = 2


class KeptFile:
    """The output file of a run, or of one `side` of it; it appears when the run is done.

    Where rows of several kinds are kept there is a file for each, as a file has rows of one kind.
    """

    def __init__(
        self,
        path: Path,
        shape: str | None,
        reading: Reading,
        folder: RunFolder,
        side: str | None = None,
    ) -> None:
        self.path, self.shape, self._reading, self._folder = path, shape, reading, folder
        self._side = side
        files = reading.inputs.files
        shapes = {file.shape for file in files}
        plain = all(f.form == ".jsonl" for f in files)
        for form in map(shape_called, shapes):
            # A line that held several rows, or a part of one, is not a row's own.
            plain = plain and not form.instances and not form.grouped and not form.for_reading
        # The shape of the input, where there is one and the kept rows still have its kind.
        written = len(shapes) == 1 and not any(shape_called(s).for_reading for s in shapes)
        self._own = shape or (shapes.pop() if written else None)
        self.verbatim = shape is None and plain and len({f.shape for f in files}) == 1
        self.verbatim = self.verbatim and path.name.endswith(".jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._draft = UnfinishedFile(path) if self.verbatim else None
        self._file = None if self._draft is None else open(self._draft.path, "wb")  # noqa: SIM115
        # One thread, so that parts follow each other; the part after is on its way meanwhile.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="curate-output")
        self._writing: deque[Future[None]] = deque()

    def add(self, state: PartitionState) -> None:
        """Write the kept rows of one part, where lines may leave as they came."""
        if self._file is None or self._own is None:
            return
        table = load(state.rows)
        if self._side is not None:
            table = table.filter(pa.array(on_side(table, self._side), pa.bool_()))
        if table.num_rows:
            self._writing.append(self._writer.submit(self._append, table, state.number))
        self._settle(_MOST_WAITING)

    def _settle(self, most: int) -> None:
        """Wait until at most so many parts are being written."""
        while len(self._writing) > most:
            try:
                self._writing.popleft().result()
            except ShapeMisfit:
                # A made row has something that the input's shape has no place for.
                self._own = None

    def _append(self, table: pa.Table, number: int) -> None:
        """Write the lines of rows as they were read, and between them those of made rows."""
        # A row that was read has a `seq` of three numbers; what steps make adds its own.
        read = np.asarray(pc.equal(pc.list_value_length(one_array(table.column("seq"))), 3))
        lines = pa.array([], pa.large_binary())
        if read.any():
            same = table.filter(pa.array(read))
            ordinals = np.asarray(one_array(same.column("seq")).flatten()).reshape(-1, 3)[:, 2]
            part = self._reading.parts[number]
            lines = raw_lines(part, self._reading.local_ordinals(number, ordinals))
        if not read.all():
            made = []
            for row in rows_of(table.filter(pa.array(~read))):
                own = self._own if self._own and row.kind == kind_of(self._own) else None
                shaped = as_shape(row, own or NATURAL[row.kind])
                made.append((dumps(shaped) + "\n").encode())
            lines = pa.concat_arrays([lines, pa.array(made, pa.large_binary())])
            # The k-th row that was read stands at k, and made ones follow all of those.
            place = np.where(read, np.cumsum(read), read.sum() + np.cumsum(~read)) - 1
            lines = lines.take(pa.array(place))
        assert self._file is not None
        # The array starts at its buffers' beginning: its texts lie end to end.
        _, offsets, data = lines.buffers()
        self._file.write(memoryview(data or b"")[: np.frombuffer(offsets, np.int64)[len(lines)]])

    def finish(self) -> None:
        """Make the file appear."""
        kinds = Rows(self._folder.fresh / "kept").by_kind(self._side)
        if self._file is not None and len(kinds) < 2:
            self._settle(0)
        if self._file is not None and len(kinds) < 2 and self._own is not None:
            assert self._draft is not None
            self._writer.shutdown()
            self._file.close()
            put(self._draft.path, self.path, self._folder.path)
            self._close()
            return
        self.discard()
        if not kinds:
            write_rows([], self.path, run=self._folder.path)
        for kind, rows in kinds.items():
            path = self.path if len(kinds) == 1 else path_of_part(self.path, kind)
            # The shape of the input, where these rows still have its kind.
            fits = self._own is not None and (self.shape is not None or kind == kind_of(self._own))
            try:
                write_rows(rows.tables(), path, self._own if fits else None, run=self._folder.path)
            except ShapeMisfit:
                if self.shape is not None or not fits:
                    raise
                write_rows(rows.tables(), path, run=self._folder.path)

    def discard(self) -> None:
        """Leave nothing behind of a run that stopped."""
        self._writer.shutdown(wait=True, cancel_futures=True)
        self._close()

    def _close(self) -> None:
        if self._file is not None and self._draft is not None:
            self._file.close()
            self._draft.close()
            self._draft = None
