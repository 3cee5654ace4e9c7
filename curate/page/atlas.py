"""Every row of a run as a file for Embedding Atlas, a tool made for maps of millions of points.

The columns are those that its command takes by name: `text`, `x` and `y` between 0 and 1, and
`neighbors`, of which `ids` are row numbers in the file (from 0, a row itself among them, as the
tool's own files have it) and `distances` are 1 minus the cosine. All rows have as many neighbours:
the tool stacks them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from curate.errors import UsageError
from curate.page.drawn_rows import row_ends
from curate.page.maps import Vectors
from curate.runs.ledger_scores import score_column
from curate.runs.report import ENDINGS
from curate.runs.rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.row import On

FILE = "rows.parquet"
# UMAP's own number of neighbours, and the row itself.
NEIGHBOURS = 15
SCORE = "score_"
_GROUP = 16_384


class AtlasFile(NamedTuple):
    """A file that was written: its rows, and those left out because they have no vector."""

    path: Path
    rows: int
    left_out: int


def write_atlas(
    run: Path, labels: list[str], folder: Path, *, on: On, vectors: Vectors
) -> AtlasFile:
    """Write every row of a finished run that has a text into `folder`, which is made.

    Args:
        run: The run folder.
        labels: The labels of its steps, whose scores become columns.
        folder: Where the file is written.
        on: The text of a row that is shown, and whose vector says where it lies.
        vectors: Returns the vectors of some texts, a row each.

    Raises:
        UsageError: no row has a text to place.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from curate.kernels.vectors.knn import neighbour_lists
    from curate.kernels.vectors.principal_plane import in_unit_square, principal_plane
    from curate.kernels.vectors.unit_vectors import UnitVectors

    table = _rows(run, on)
    filled = np.array([bool(t and t.strip()) for t in table.column("text").to_pylist()], np.bool_)
    texts = table.column("text").filter(pa.array(filled)).to_pylist()
    matrix = vectors(texts) if texts else np.zeros((0, 1), np.float32)
    # A text that an encoder cannot read has a vector of zeros: it lies nowhere.
    there = np.flatnonzero(filled)[matrix.any(axis=1)]
    matrix = np.ascontiguousarray(matrix[matrix.any(axis=1)], np.float32)
    if not len(there):
        raise UsageError(f"no row of {run} has a text to place on a map (on: {on})")
    table = table.take(pa.array(there)).combine_chunks()
    places = in_unit_square(principal_plane(matrix)).astype(np.float32)
    near = neighbour_lists(UnitVectors.of(matrix), NEIGHBOURS + 1, itself=True)
    distances = np.maximum(0.0, 1.0 - near.cosines).astype(np.float32)
    starts = pa.array(np.arange(len(matrix) + 1) * near.rows.shape[1], pa.int64())
    lists = [
        pa.LargeListArray.from_arrays(starts, pa.array(values.ravel()))
        for values in (near.rows, distances)
    ]
    neighbors = pa.StructArray.from_arrays(lists, ["ids", "distances"])
    drawn = (("x", pa.array(places[:, 0])), ("y", pa.array(places[:, 1])), ("neighbors", neighbors))
    for place, (name, column) in enumerate(drawn, 1):
        table = table.add_column(place, name, column)
    ids = table.column("id").to_pylist()
    for label in labels:
        scores = score_column(run, label, ids)
        if any(score is not None for score in scores):
            table = table.append_column(SCORE + label, pa.array(scores, pa.float64()))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / FILE, row_group_size=_GROUP, compression="zstd")
    return AtlasFile(folder / FILE, len(there), len(filled) - len(there))


def _rows(run: Path, on: On) -> pa.Table:
    """Return the text of every row, and how it ended, in the order of the run's files."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.chunk import Chunk

    every = row_ends(run)
    names = pa.table(
        dict(
            zip(
                ("outcome", "step", "reason"),
                (pa.array([end[k] for end in every.names], pa.string()) for k in range(3)),
                strict=True,
            )
        )
    )
    parts = []
    for outcome in ENDINGS:
        for table in Rows(run / outcome).tables():
            chunk = Chunk(table)
            words = pc.count_substring_regex(chunk.texts("response"), r"\S+")
            parts.append(
                pa.table(
                    {
                        "text": chunk.texts(on).cast(pa.large_string()),
                        "id": pa.array([one.hex() for one in table.column("id").to_pylist()]),
                        "source": table.column("source").cast(pa.string()),
                        "kind": table.column("kind"),
                        "words": pc.fill_null(words, 0).cast(pa.int32()),
                    }
                )
            )
    found = pa.concat_tables(parts)
    for column in reversed(names.column_names):
        ends = names.column(column).take(pa.array(every.ends)).combine_chunks()
        found = found.add_column(1, column, ends)
    return found
