"""Cells are counted as plans name them; rows without a value are a cell of their own."""

import json

import pytest

from curate.row import Message
from curate.steps.select.cell_coverage import MOST_CELLS, CellCoverage


@pytest.fixture
def rows(make_row):
    def make(columns):
        return [
            make_row("prompt", {"prompt": (Message("user", f"{n}"),)}, extra=json.dumps(one))
            for n, one in enumerate(columns)
        ]

    return make


def test_values_and_pairs_are_counted(rows, decide):
    columns = [{"topic": "law", "level": 1}, {"topic": "law", "level": 2}, {"level": 1}]
    found = decide(CellCoverage(columns=("topic", "topic/level")), rows(columns))
    assert found.figures == {
        "rows": 3,
        "topic=law": 2,
        "topic=null": 1,
        "topic/level=law/1": 1,
        "topic/level=law/2": 1,
        "topic/level=null/1": 1,
    }
    assert found.code.tolist() == [-1, -1, -1]


def test_a_column_of_many_values_has_their_number(rows, decide):
    columns = [{"n": n} for n in range(MOST_CELLS + 1)]
    assert decide(CellCoverage(columns=("n",)), rows(columns)).figures["n values"] == MOST_CELLS + 1
    with pytest.raises(ValueError, match="columns must name"):
        CellCoverage().check()
