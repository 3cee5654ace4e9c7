"""Preferences on circles, against a search of all paths."""

from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.votes.cycles import cyclic
from curate.kernels.votes.strengths import has_cycle

EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24)


def leads_to(edges, start):
    reached, waiting = set(), [start]
    while waiting:
        node = waiting.pop()
        for one, other in edges:
            if one == node and other not in reached:
                reached.add(other)
                waiting.append(other)
    return reached


@given(EDGES)
def test_a_preference_is_on_a_circle_where_it_leads_back(edges):
    expected = {(one, other) for one, other in edges if one in {other, *leads_to(edges, other)}}
    assert cyclic(edges) == expected


@given(EDGES)
def test_it_agrees_with_the_table_of_wins(edges):
    edges = {(one, other) for one, other in edges if one != other and (other, one) not in edges}
    wins = [[float((i, j) in edges) for j in range(8)] for i in range(8)]
    assert has_cycle(wins) == bool(cyclic(edges))


def test_a_long_circle_needs_no_recursion():
    count = 5000
    circle = [(n, (n + 1) % count) for n in range(count)]
    assert len(cyclic([*circle, (0, "end")])) == count
