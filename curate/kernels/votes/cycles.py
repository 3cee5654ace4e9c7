"""Circles of preferences among many answers, found in the time that it takes to read them.

`strengths.has_cycle` says of a table of wins whether there is a circle; here wins are a list, so
that a prompt with thousands of answers needs no table of all of them by all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import TypeVar

Answer = TypeVar("Answer", bound=Hashable)


def cyclic(beats: Iterable[tuple[Answer, Answer]]) -> set[tuple[Answer, Answer]]:
    """Return those preferences (a better and a worse answer) that lie on a circle.

    A preference does if the worse answer leads back to the better one: both are in one strongly
    connected component (Tarjan 1972, "Depth-first search and linear graph algorithms").
    """
    edges = list(beats)
    worse: dict[Answer, list[Answer]] = defaultdict(list)
    for one, other in edges:
        worse[one].append(other)
    number: dict[Answer, int] = {}
    lowest: dict[Answer, int] = {}
    component: dict[Answer, int] = {}
    waiting = list[Answer]()
    for root in list(worse):
        if root in number:
            continue
        number[root] = lowest[root] = len(number)
        waiting.append(root)
        path = [(root, iter(worse[root]))]
        while path:
            node, left = path[-1]
            following = next(left, None)
            if following is None:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == number[node]:
                    while node not in component:
                        component[waiting.pop()] = number[node]
            elif following not in number:
                number[following] = lowest[following] = len(number)
                waiting.append(following)
                path.append((following, iter(worse.get(following, ()))))
            elif following not in component:
                lowest[node] = min(lowest[node], number[following])
    return {(one, other) for one, other in edges if component[one] == component[other]}
