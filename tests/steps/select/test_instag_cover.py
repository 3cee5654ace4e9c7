import json

import numpy as np
import pyarrow as pa
import pytest

from curate.row import Message, Row
from curate.steps.select.instag_cover import InstagCover


def kept(verdicts):
    return np.flatnonzero(verdicts.code < 0).tolist()


def row(notes=None, extra=None):
    turns = {"messages": (Message("user", "a"), Message("assistant", "b"))}
    return Row("0" * 32, (0,), "sft", turns, notes=json.dumps(notes) if notes else None,
               extra=json.dumps(extra) if extra else None)  # fmt: skip


@pytest.mark.parametrize(
    ("notes", "extra", "tags"),
    [
        (None, {"tags": ["a", "b"]}, ["a", "b"]),
        (None, {"tags": [{"tag": "a", "explanation": "why"}]}, ["a"]),
        ({"tags": {"tags": ["c"]}}, {"tags": ["a"]}, ["c"]),
        (None, None, None),
    ],
)
def test_tags_are_read_from_notes_and_columns(notes, extra, tags):
    assert InstagCover().sketch(row(notes, extra)) == {"tags": tags}


@pytest.mark.parametrize("value", ["maths", [1], [{"name": "a"}]])
def test_what_is_no_list_of_tags_is_refused(value):
    with pytest.raises(ValueError, match="'tags' must hold a list of tags, and holds"):
        InstagCover().sketch(row(None, {"tags": value}))


def test_instag_cover_keeps_the_rows_that_cover_the_tags():
    tags = pa.table({"tags": [["a"], ["a", "b"], None, ["b"], ["c"], ["a", "b", "a"]]})
    step = InstagCover(count=3)
    verdicts = step.decide(np.arange(6), tags)
    assert kept(verdicts) == [1, 4, 5]
    assert verdicts.reasons[verdicts.code[2]] == "no tags"
    assert verdicts.score.tolist() == [1, 2, 0, 1, 1, 2]
    assert kept(InstagCover().decide(np.arange(6), tags)) == list(range(6))
    with pytest.raises(ValueError, match="no row has tags under 'tags'"):
        step.decide(np.arange(2), pa.table({"tags": pa.array([None, []], pa.list_(pa.string()))}))
