"""Several chains of tests at one error rate: a graphical procedure (Bretz et al. 2009).

Each chain is a question whose tests have an order: one counts only where those before it were
claimed. All begin with an equal share of alpha. What is claimed hands its share to the next test of
its chain, and the last of a chain hands it to the beginnings of all others. So the chance of any
false claim, in any chain and at any place, is at most alpha. A single chain is a fixed sequence,
and chains of one test each are Holm's procedure (1979).
"""

from __future__ import annotations

from collections.abc import Sequence


def adjusted(chains: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return p values that are claimed where they are below alpha, in the order given.

    Bretz, Maurer, Brannath and Posch 2009, Statistics in Medicine 28, algorithm 1 and the adjusted
    p values of section 2.4.
    """
    nodes = [(i, n) for i, chain in enumerate(chains) for n in range(len(chain))]
    heads = [(i, 0) for i, chain in enumerate(chains) if chain]
    weight = dict.fromkeys(nodes, 0.0) | dict.fromkeys(heads, 1 / max(1, len(heads)))
    edges: dict[tuple[int, int], dict[tuple[int, int], float]] = {}
    for i, n in nodes:
        others = [head for head in heads if head[0] != i]
        after = [(i, n + 1)] if n + 1 < len(chains[i]) else others
        edges[i, n] = {one: 1 / len(after) for one in after}
    found, largest = [[1.0] * len(chain) for chain in chains], 0.0
    while any(weight.values()):
        # Of equal ones the earlier one, so that the order of questions decides nothing else.
        node = min((n for n in weight if weight[n]), key=lambda n: chains[n[0]][n[1]] / weight[n])
        largest = max(largest, min(1.0, chains[node[0]][node[1]] / weight[node]))
        found[node[0]][node[1]] = largest
        share, onward = weight.pop(node), edges.pop(node)
        for one, part in onward.items():
            weight[one] += share * part
        for one, ways in edges.items():
            through = ways.pop(node, 0.0)
            back = through * onward.get(one, 0.0)
            if not through:
                continue
            for other, part in onward.items():
                if other != one and back < 1:
                    ways[other] = ways.get(other, 0.0) + through * part
            if 0 < back < 1:
                edges[one] = {other: part / (1 - back) for other, part in ways.items()}
            elif back >= 1:
                edges[one] = {}
    return found
