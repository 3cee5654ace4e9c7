"""LLaMA-Factory's columns beside Alpaca's: a system prompt, and the turns before."""

import json

import pytest

from curate.errors import UsageError
from curate.write import as_shape
from tests.read.reading import alpaca, lines_of, read_all

HISTORY = [["Hi.", "Hello."], ["And you?", "Fine."]]
BESIDE = {"system": "Be brief.", "history": HISTORY}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
@pytest.mark.parametrize("answer", ["output", "response"])
def test_system_and_history_are_turns(tmp_path, name, answer):
    source = {"instruction": "Sum up.", "input": "a b", answer: "c", **BESIDE}
    path = tmp_path / name
    path.write_bytes(
        lines_of(source) * 2 if name == "rows.jsonl" else json.dumps([source]).encode()
    )
    row = read_all(str(path)).rows[-1]
    assert [turn.role for turn in row.messages] == ["system", *["user", "assistant"] * 3]
    assert [turn.content for turn in row.messages][-2:] == ["Sum up.\n\na b", "c"]
    assert row.instruction == "Hi."
    shape = "alpaca" if answer == "output" else "alpaca_response"
    assert as_shape(row, shape) == source
    if answer == "output":
        assert as_shape(row, "llamafactory_alpaca") == source


def test_a_shortened_talk_has_a_shorter_history():
    [row] = read_all([alpaca(**BESIDE)]).rows
    shorter = row._replace(fields={"messages": row.messages[:1] + row.messages[3:]})
    assert as_shape(shorter, "alpaca")["history"] == HISTORY[1:]
    odd = row._replace(fields={"messages": row.messages[:-1]})
    with pytest.raises(UsageError, match="one user and one assistant turn"):
        as_shape(odd, "alpaca")


def test_columns_of_these_names_that_hold_no_turns_are_extra():
    for odd in ({"system": 3, "history": "none"}, {"system": "", "history": []}):
        [row] = read_all([alpaca(**odd)]).rows
        assert len(row.messages) == 2
        assert json.loads(row.extra) == odd
