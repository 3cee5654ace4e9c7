"""Groups linked by similarity: the compiled walk gives those of the plain one, and of all pairs."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from curate.kernels.sets.components import Links, link_equal, link_similar_small
from curate.kernels.sets.components_compiled import link_similar_large
from curate.row import seed_of


def column(sets: list[set[int]]) -> pa.ChunkedArray:
    """Return sets as two parts, hashed so that their members spread."""
    values = [sorted(map(seed_of, one)) for one in sets]
    half = len(values) // 2
    type_ = pa.list_(pa.uint64())
    return pa.chunked_array([pa.array(values[:half], type_), pa.array(values[half:], type_)])


def related_sets(seed: int, count: int) -> list[set[int]]:
    """Return sets of which many are copies, neighbours, or neighbours of neighbours."""
    dice, out = random.Random(seed), []
    common = set(range(-12, 0))
    for _ in range(count):
        choice = dice.random()
        if not out or choice < 0.3:
            own = set(dice.sample(range(5000), dice.randrange(0, 40)))
            out.append(own | common if dice.random() < 0.5 else own)
        else:
            own = set(dice.choice(out))
            for member in dice.sample(sorted(own), min(len(own), dice.randrange(4))):
                own.remove(member)
            out.append(own if choice < 0.4 else own | {dice.randrange(5000)})
    return out


def by_all_pairs(sets: list[set[int]], threshold: Fraction) -> list[int]:
    links = Links(len(sets))
    for one in range(len(sets)):
        for other in range(one):
            union = len(sets[one] | sets[other])
            if union and len(sets[one] & sets[other]) >= threshold * union:
                links.join(one, other)
    return [links.root(place) for place in range(len(sets))]


@pytest.mark.parametrize("threshold", [Fraction(4, 5), Fraction(1, 2), Fraction(1)])
@pytest.mark.parametrize("seed", range(4))
def test_both_walks_give_the_groups_of_all_pairs(seed: int, threshold: Fraction) -> None:
    sets = related_sets(seed, 250)
    wanted = by_all_pairs(sets, threshold)
    assert 1 < len(set(wanted)) < len(sets)
    small = Links(len(sets))
    link_similar_small(small, column(sets), threshold)
    large = Links(len(sets))
    parents = np.array(large.parents)
    link_similar_large(parents, column(sets), threshold)
    large.parents = parents.tolist()
    for links in (small, large):
        assert [links.root(place) for place in range(len(sets))] == wanted


def test_groups_that_were_there_are_kept() -> None:
    links = Links(4)
    link_equal(links, np.array([7, 0, 7, 0], np.uint64))
    assert [links.root(place) for place in range(4)] == [0, 1, 0, 3]
    parents = np.array(links.parents)
    sets = [{1, 2}, {8, 9}, {3, 4}, {3, 4}]
    link_similar_large(parents, column(sets), Fraction(4, 5))
    links.parents = parents.tolist()
    assert [links.root(place) for place in range(4)] == [0, 1, 0, 0]


def test_nothing_and_empty_sets_are_linked_to_nothing() -> None:
    parents = np.arange(3)
    link_similar_large(parents, column([set(), set(), {1}]), Fraction(4, 5))
    assert parents.tolist() == [0, 1, 2]
    link_similar_large(np.arange(0), column([]), Fraction(4, 5))
