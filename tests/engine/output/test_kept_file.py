"""The output file: lines as they came, and rows that steps made between them."""

import json

from curate import Pipeline
from curate.row import Message, Record, Row
from curate.step import Generate, dataclass


@dataclass(frozen=True, kw_only=True)
class Echo(Generate):
    """Make a louder row of every second one, which stays."""

    keep_parent: bool = True

    def make(self, row: Row) -> list[Record] | None:
        text = row.instruction
        if int(text) % 2:
            return None
        turns = (Message("user", text), Message("assistant", row.response + "!"))
        return [Record("sft", {"messages": turns})]


def test_made_rows_stand_behind_their_parents_and_others_leave_as_they_came(tmp_path):
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [f'{{"instruction":  "{n}", "output": "é{n}", "more": [{n}]}}\n' for n in range(7)]
    path.write_text("\n".join(lines)[:-1])
    Pipeline([Echo()]).run(path, run=tmp_path / "run", output=out)
    found = out.read_text().splitlines(keepends=True)
    assert [line for line in found if "!" not in line] == lines
    answers = [json.loads(line)["output"] for line in found]
    assert answers == ["é0", "é0!", "é1", "é2", "é2!", "é3", "é4", "é4!", "é5", "é6", "é6!"]


def test_only_made_rows(tmp_path):
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"instruction": "2", "output": "a"}\n{"instruction": "4", "output": "b"}\n')
    Pipeline([Echo(keep_parent=False)]).run(path, run=tmp_path / "run", output=out)
    assert [json.loads(line)["output"] for line in out.read_text().splitlines()] == ["a!", "b!"]
