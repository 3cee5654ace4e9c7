"""Maps of the sampled rows: two numbers for each, and what to colour them by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.read.finished_runs import published_files
from curate.runs.style_map import STEP as STYLE_REPORT

if TYPE_CHECKING:
    import numpy as np

# Returns the stored vectors of some texts, a row each.
Vectors = Callable[[Sequence[str]], "np.ndarray"]


class Map(NamedTuple):
    """A map: what it shows, the places of rows by id, and their groups by what is grouped."""

    name: str
    places: Mapping[str, tuple[float, float]]
    groups: Mapping[str, Mapping[str, str]]


def style_maps(run: Path, summary: Mapping[str, Any], ids: Sequence[str]) -> list[Map]:
    """Return the maps that a run's `style_report` steps made, for the rows `ids`."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found = []
    for label in (step["label"] for step in summary["steps"] if step["name"] == STYLE_REPORT):
        places, groups = {}, {}
        for path in published_files(run / "ledger" / label):
            table = pq.read_table(path, columns=["row", "detail"])
            wanted = pa.array([bytes.fromhex(one) for one in ids], table.column("row").type)
            for line in table.filter(pc.is_in(table.column("row"), wanted)).to_pylist():
                detail = json.loads(line["detail"] or "{}")
                place = (detail.get("x"), detail.get("y"))
                if None not in place:
                    places[line["row"].hex()] = place
                    groups[line["row"].hex()] = str(detail.get("group", ""))
        if places:
            name = f"Style of the answers ({label}): the two main axes of their form"
            found.append(Map(name, places, {"group": groups}))
    return found


def meaning_map(
    label: str, texts: Mapping[str, str], notes: Mapping[str, str], vectors: Vectors
) -> Map | None:
    """Return the map of texts by meaning: the two main axes of their vectors (PCA).

    Args:
        label: The step whose encoder made the vectors.
        texts: The text of each row, by id; one of white space has no place.
        notes: The topic of each row, by id, where the run has named topics.
        vectors: What looks the vectors up.
    """
    import numpy as np

    from curate.kernels.vectors.principal_plane import principal_plane

    there = {row: text for row, text in texts.items() if text.strip()}
    if len(there) < 3:
        return None
    matrix = np.asarray(vectors(list(there.values())))
    places = np.round(principal_plane(matrix), 4)
    found = {row: (float(x), float(y)) for row, (x, y) in zip(there, places, strict=True)}
    name = f"Meaning of the rows ({label}): the two main axes of their vectors"
    return Map(name, found, {"topic": notes} if notes else {})
