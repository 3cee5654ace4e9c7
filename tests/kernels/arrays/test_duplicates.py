"""Groups of equal hashes, against the definition."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.chunk import ORIGIN
from curate.kernels.arrays.duplicates import (
    EqualsSoFar,
    NearestKept,
    first_of_equals,
    not_leaked,
    walk_order_of,
    with_leaks,
)
from curate.step import Verdicts

# Few values in each half, so that halves are shared by words that are not equal.
HALVES = st.sampled_from([b"\0" * 8, b"\1" * 8, b"\0" * 7 + b"\1"])
HASHES = st.lists(st.none() | st.tuples(HALVES, HALVES).map(b"".join), max_size=30)


@given(HASHES, st.randoms(use_true_random=False), st.integers(0, 30))
def test_each_row_names_the_first_of_its_equals(
    hashes: list[bytes | None], chance: random.Random, cut: int
) -> None:
    order = list(range(len(hashes)))
    chance.shuffle(order)
    expected = [-1] * len(hashes)
    first: dict[bytes, int] = {}
    for row in order:
        value = hashes[row]
        if value is not None and first.setdefault(value, row) != row:
            expected[row] = first[value]
    column = pa.chunked_array([hashes[:cut], hashes[cut:]], pa.binary(16))
    assert first_of_equals(column, np.array(order, np.int64)).tolist() == expected


@given(HASHES, st.lists(st.integers(0, 30), max_size=4))
def test_equals_as_they_come_are_those_of_all_in_source_order(
    hashes: list[bytes | None], cuts: list[int]
) -> None:
    column = pa.array([b"\2" * 16, *hashes], pa.binary(16)).slice(1)
    expected = first_of_equals(pa.chunked_array([column]), np.arange(len(column)))
    equals, found = EqualsSoFar(), list[int]()
    edges = [0, *sorted(min(cut, len(column)) for cut in cuts), len(column)]
    for start, end in itertools.pairwise(edges):
        found += equals.first_of(column.slice(start, end - start)).tolist()
    assert found == expected.tolist()


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.sampled_from([-2.0, 0.0, 0.5, 3.0]))))
def test_rows_are_walked_from_the_most_wanted_and_ties_in_source_order(
    rows: list[tuple[int, float | None]],
) -> None:
    sketches = pa.table(
        {
            "length": pa.array([length for length, _ in rows], pa.int64()),
            "score": pa.array([score for _, score in rows], pa.float64()),
        }
    )
    places = range(len(rows))

    def by_score(place: int, sign: int) -> tuple[bool, float]:
        score = rows[place][1]
        return (score is None, 0.0 if score is None else sign * score)

    assert walk_order_of("first", sketches).tolist() == [*places]
    longest = sorted(places, key=lambda place: -rows[place][0])
    assert walk_order_of("longest", sketches).tolist() == longest
    best = sorted(places, key=lambda place: by_score(place, -1))
    assert walk_order_of("best", sketches).tolist() == best
    worst = sorted(places, key=lambda place: by_score(place, 1))
    assert walk_order_of("best", sketches, lowest=True).tolist() == worst


# Of each row: what makes it a duplicate among its own, and the row of the other dataset like it.
FOUND = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 2)), max_size=6)


@given(FOUND, st.booleans())
def test_a_row_that_is_elsewhere_is_dropped_for_that_and_others_as_before(
    rows: list[tuple[int, int]], bare: bool
) -> None:
    count = len(rows)
    partner, other = (np.array([row[side] for row in rows], np.int64) for side in (0, 1))
    leaked = NearestKept(
        np.where(other >= 0, count + other, -1), np.where(other >= 0, 0.75, np.nan)
    )
    score = np.where(partner >= 0, 0.5, np.nan)
    given_ = {} if bare else {"score": score, "partner": partner}
    found = Verdicts(np.where(partner >= 0, 0, -1), ("a duplicate",), **given_)
    origins = [*[None] * count, "test.jsonl:1", "test.jsonl:2", "test.jsonl:3"]
    sketches = pa.table({ORIGIN: pa.array(origins, pa.string())})
    told = with_leaks(found, leaked, sketches, "stands elsewhere")
    assert told.reasons == ("a duplicate", "stands elsewhere")
    for place, (own, theirs) in enumerate(rows):
        said = (
            told.code[place],
            told.score[place],
            told.partner[place],
            told.details[place],
        )
        if theirs >= 0:
            assert said == (1, 0.75, -1, {"against": f"test.jsonl:{theirs + 1}"})
        else:
            assert (said[0], said[3]) == (0 if own >= 0 else -1, None)
            assert said[2] == (-1 if bare else own)
            assert math.isnan(said[1]) if bare or own < 0 else said[1] == 0.5
    order = np.arange(count)[::-1]
    stay = [place for place in order.tolist() if rows[place][1] < 0]
    assert not_leaked(order, leaked).tolist() == stay
    assert not_leaked(order, None) is order
