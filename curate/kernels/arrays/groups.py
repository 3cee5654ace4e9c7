"""Groups of rows, and the first so many of each: what the selecting steps share."""

from __future__ import annotations

import heapq
import json
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from curate.row import Row, digest, seed_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


def group_of(row: Row, per: str | None) -> str:
    """Return a row's group: by `source`, `kind`, `instruction`, a score's label or a column."""
    if per is None:
        return ""
    if per in ("source", "kind"):
        return str(getattr(row, per) or "")
    if per == "instruction":
        return _text_name(row.instruction)
    if per in row.scores:
        return _group_name(row.scores[per])
    return _extra_value(row.extra, per)


def groups_of(chunk: Chunk, per: str | None) -> pa.Array:
    """Return `group_of` every row as a string column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.chunk import SCORE

    if per is None:
        return pa.array([""] * len(chunk), pa.string())
    if per in ("source", "kind"):
        return pc.fill_null(chunk.column(per).cast(pa.string()), "")
    if per == "instruction":
        return pa.array(map(_text_name, chunk.texts("instruction").to_pylist()), pa.string())
    if SCORE + per in chunk.table.column_names:
        return pa.array(map(_group_name, chunk.column(SCORE + per).to_pylist()), pa.string())
    extras = chunk.column("extra").to_pylist()
    return pa.array([_extra_value(extra, per) for extra in extras], pa.string())


def check_groups(groups: pa.ChunkedArray, per: str | None) -> None:
    """Raise `ValueError` when no row has the score or the column that `per` names.

    All rows would be one group, and a misspelt name could cost all but a few of them.
    """
    import pyarrow.compute as pc

    if per in (None, "source", "kind") or not len(groups):
        return
    if not pc.any(pc.not_equal(groups, "")).as_py():
        raise ValueError(
            f"no row has a column or a score '{per}'; per may also be source, kind or instruction"
        )


def _text_name(text: str) -> str:
    """Return a short name of a text: groups are held together, texts may be long."""
    return digest(text.encode("utf-8", "surrogatepass")).hex() if text else ""


def _extra_value(extra: str | None, key: str) -> str:
    values = json.loads(extra) if extra else {}
    return _group_name(values.get(key))


def _group_name(value: Any) -> str:
    """Return a name for a JSON value: 1 and 1.0 are one number, "1" and true are others."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)


def shown_group(name: str) -> str:
    """Return a group's name as its user writes it: a text without JSON's quotes."""
    return str(json.loads(name)) if name.startswith('"') else name


def first_of_groups(
    groups: pa.ChunkedArray, order: np.ndarray, count: int | None, share: float | None
) -> np.ndarray:
    """Tell of each row whether it is among the first `count` (or `share`) of its group.

    `order` sorts rows, the smallest first; a missing value (NaN) comes last, and ties keep the
    rows' own order. A share is rounded down, but leaves at least one row of a group.
    """
    import numpy as np

    codes = _codes(groups)
    sorted_places = np.lexsort((np.arange(len(codes)), order, codes))
    sizes = np.bincount(codes, minlength=1)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(codes), np.int64)
    rank[sorted_places] = np.arange(len(codes)) - starts[codes[sorted_places]]
    allowed = np.array([allowed_of(int(size), count, share) for size in sizes], np.int64)
    first: np.ndarray = rank < allowed[codes]
    return first


def group_sizes(groups: pa.ChunkedArray) -> np.ndarray:
    """Return for each row how many rows its group has."""
    import numpy as np

    codes = _codes(groups)
    sizes: np.ndarray = np.bincount(codes, minlength=1)[codes]
    return sizes


def _codes(groups: pa.ChunkedArray) -> np.ndarray:
    import numpy as np
    import pyarrow.compute as pc

    ranks = pc.rank(groups, sort_keys="ascending", tiebreaker="dense")
    return np.asarray(ranks).astype(np.int64)


def draw_of(row_id: str, label: str, run_seed: int) -> float:
    """Return a row's own number from 0 to 1 for the step `label`."""
    return (seed_of(row_id, label, run_seed) >> 11) * 2.0**-53


def allowed_of(size: int, count: int | None, share: float | None) -> int:
    """Return how many of `size` rows may stay."""
    if share is None:
        return size if count is None else count
    # Exact: 0.29 x 100 is 29, where floating point says 28.999...
    return min(size, max(1, math.floor(Fraction(str(share)) * size))) if share else 0


def check_amount(count: int | None, share: float | None) -> None:
    """Raise `ValueError` unless at most one of a count and a share from 0 to 1 is given."""
    if count is not None and share is not None:
        raise ValueError("give count or share, not both")
    if count is not None and count < 0:
        raise ValueError(f"count must not be negative, and is {count}")
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"share is a number from 0 to 1, not {share}")


def places_of_groups(
    group: np.ndarray, score: np.ndarray, count: int, *, uniform: bool
) -> np.ndarray:
    """Return `count` rows at most, place by place; each place is its group's best row left.

    A place goes to the group with the smallest quotient (2 x places + 1) / rows (Sainte-Lague), or
    with `uniform` to the one with the fewest places; ties go to the lower group. Of equal scores
    the first row is the best, and NaN comes last. Rows of the group -1 are never taken.
    """
    import numpy as np

    order = np.lexsort((np.arange(len(group)), -score, group))
    sorted_groups = group[order]
    lists = {
        int(name): order[sorted_groups == name].tolist() for name in np.unique(group) if name >= 0
    }
    given = [(_turn(0, len(rows), uniform), name, 0) for name, rows in lists.items()]
    heapq.heapify(given)
    chosen: list[int] = []
    while given and len(chosen) < count:
        _, name, places = heapq.heappop(given)
        rows = lists[name]
        chosen.append(rows[places])
        if places + 1 < len(rows):
            heapq.heappush(given, (_turn(places + 1, len(rows), uniform), name, places + 1))
    return np.array(chosen, np.int64)


def _turn(places: int, rows: int, uniform: bool) -> Fraction:
    """Return what is smallest for the group whose turn it is (exact: quotients tie)."""
    return Fraction(places) if uniform else Fraction(2 * places + 1, rows)
