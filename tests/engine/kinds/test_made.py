"""What a step returns is checked, at a price that does not grow with rows times items."""

import pytest

from curate.engine.kinds.made import made_items
from curate.row import Message, Record
from curate.step import Drop
from curate.steps.pairs.pairs import Pairs
from tests.steps.pairs.answers import answer


class Counted(list):
    """Rows that count how often they are gone through."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


def made(parents):
    return Record("prompt", {"prompt": (Message("user", "Why?"),)}, None, parents)


def test_rows_are_gone_through_once_for_all_parents_and_not_at_all_for_none():
    rows = Counted(answer(n, f"answer {n}") for n in range(5))
    made_items([made(None) for _ in range(9)], Pairs(), rows)
    assert rows.times == 0
    items = [made((row.id,)) for row in list(rows)]
    rows.times = 0
    made_items([*items, Drop("no", record=made(None))], Pairs(), rows)
    assert rows.times == 1


def test_a_strange_parent_is_named_wherever_it_stands():
    rows = [answer(n, f"answer {n}") for n in range(2)]
    strange = "e" * 32
    for item in (made((rows[0].id, strange)), Drop("no", record=made((strange,)))):
        with pytest.raises(ValueError, match=f"names the parent {strange}, a row that it was not"):
            made_items([made((rows[1].id,)), item], Pairs(), rows)
