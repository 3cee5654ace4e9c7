"""The output file: lines as they came, and rows that steps made between them."""

import json
import time

import pytest

from curate import Pipeline
from curate.errors import RecipeError, UsageError
from curate.row import Message, Record, Row
from curate.step import Generate, dataclass
from curate.steps import Length, Pii, Split
from curate.system.posix import UnfinishedFile
from curate.write import path_of_part


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


ASKED = [
    {"instruction": f"Name {n} of the {n} things.", "output": "So.", "n": n} for n in range(20)
]


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet", "jsonl.gz"])
def test_split_writes_a_file_for_each_side(ending, tmp_path):
    path, out = tmp_path / "in.jsonl", tmp_path / f"out.v1.{ending}"
    path.write_text("".join(json.dumps(row) + "\n" for row in ASKED))
    steps = [Split(share=0.25, similarity=None), Length(min=1)]
    result = Pipeline(steps).run(path, run=tmp_path / "run", output=out)
    assert not out.exists()
    for side in ("train", "test"):
        back = Pipeline([]).run(
            tmp_path / f"out.v1.{side}.{ending}", run=tmp_path / side, store=tmp_path / "s"
        )
        assert [row.fields for row in back.kept] == [r.fields for r in result.kept.split(side)]
    if ending == "jsonl":
        lines = [(tmp_path / f"out.v1.{side}.jsonl").read_text() for side in ("train", "test")]
        # The very lines that came, in their order, each on one side.
        assert sorted("".join(lines).splitlines()) == sorted(path.read_text().splitlines())
        assert [row["n"] for row in map(json.loads, lines[0].splitlines())] == sorted(
            row["n"] for row in map(json.loads, lines[0].splitlines())
        )
    again = Pipeline(steps).run(path, run=tmp_path / "run", output=out)
    assert again.summary["kept"] == 20


def test_rows_that_would_be_on_no_side_are_refused(tmp_path):
    def check(*steps):
        Pipeline(steps).run(ASKED, run=tmp_path / "run", output=tmp_path / "out.jsonl")

    with pytest.raises(RecipeError, match=r"the rows that 'pii' makes after 'split' would be on"):
        check(Split(), Pii())
    with pytest.raises(RecipeError, match="with `only` other rows are on no side"):
        check(Split(only=["preference"]))
    assert not (tmp_path / "run").exists()
    check(Pii(), Split())


@dataclass(frozen=True, kw_only=True)
class Ask(Generate):
    """Make a prompt of every second row, which stays."""

    keep_parent: bool = True

    def make(self, row: Row) -> list[Record] | None:
        if json.loads(row.extra)["n"] % 2:
            return None
        return [Record("prompt", {"prompt": row.messages[:1]}, row.extra)]


@pytest.mark.parametrize("split", [False, True])
def test_rows_of_several_kinds_go_to_a_file_for_each(split, tmp_path):
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ASKED))
    steps = [Ask(), *([Split(share=0.5, similarity=None)] if split else [])]
    result = Pipeline(steps).run(path, run=tmp_path / "run", output=out)
    counts = {kind: len(rows) for kind, rows in result.kept.by_kind().items()}
    assert set(counts) == {"prompt", "sft"}
    assert not out.exists()
    for kind, key in (("sft", "instruction"), ("prompt", "prompt")):
        sides = (".train", ".test") if split else ("",)
        found = [r for s in sides for r in lines_of(tmp_path / f"out{s}.{kind}.jsonl")]
        assert len(found) == counts[kind]
        # The conversations in the shape that they came in.
        assert all(key in record for record in found)
    if not split:
        (tmp_path / "out.sft.jsonl").write_text("mine")
        with pytest.raises(UsageError, match=r"out\.sft\.jsonl exists, and its content is not"):
            Pipeline(steps).run(path, run=tmp_path / "run", output=out)


@pytest.mark.parametrize("side", [None, "train", "test"])
def test_a_file_that_another_command_writes_is_refused_before_anything_is_done(side, tmp_path):
    out = tmp_path / "out.jsonl"
    steps = [Length(min=1)] if side is None else [Length(min=1), Split(count=1)]
    pipeline = Pipeline(steps, inputs=str(written(tmp_path / "in.jsonl")))
    other = UnfinishedFile(path_of_part(out, side))
    with pytest.raises(UsageError, match="another process is writing"):
        pipeline.run(run=tmp_path / "run", output=out)
    other.close()
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl"}
    pipeline.run(run=tmp_path / "run", output=out)
    files = [path_of_part(out, one) for one in ((None,) if side is None else ("train", "test"))]
    assert sum(len(path.read_text().splitlines()) for path in files) == 4


def written(path):
    rows = ({"instruction": f"Say {n} {'abcd'[n] * 9}.", "output": f"It is {n}."} for n in range(4))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_clock_that_is_set_back_does_not_end_a_run_before_it_began(tmp_path, monkeypatch):
    real = time.time

    def sets_it_back(row):
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        return True

    pipeline = Pipeline([sets_it_back], inputs=str(written(tmp_path / "in.jsonl")))
    assert 0 <= pipeline.run(run=tmp_path / "run").summary["seconds"] < 600
