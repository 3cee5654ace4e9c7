"""A filter's scores: what is not a number fails its row, and no other."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from curate import Pipeline
from curate.chunk import table_of
from curate.engine.kinds.filter import apply_filter
from curate.engine.ledger import OUTCOMES
from curate.engine.partition import Partition
from curate.row import Message, Row
from curate.step import Filter, Scored, Scores, rule
from curate.steps import Exact, Length
from tests.read.reading import lines_of


@dataclass(frozen=True, kw_only=True)
class Odd(Filter):
    """Score a text | by a number of its own."""

    least: float | None = rule(0.0)

    def score(self, row):
        """Return NaN for a text that says so."""
        return math.nan if row.response == "nan" else float(len(row.response))

    def keep(self, score):
        """Keep all that have a score."""
        return None if score is not None else "no score"


def rows(*answers):
    return [{"instruction": f"Say {n}.", "output": text} for n, text in enumerate(answers)]


def test_a_score_that_is_nan_fails_its_row_and_no_other(tmp_path):
    result = Pipeline([Odd()]).run(
        rows("one", "nan", "two"), run=tmp_path / "r", store=tmp_path / "s", allow_failed=1.0
    )
    assert [row.response for row in result.kept] == ["one", "two"]
    [failure] = result.failures()
    assert "NaN is not one" in failure.error
    assert result.summary["dropped"] == 0
    # A column of the card's table would end at the bar.
    assert "| Score a text \\| by a number" in (tmp_path / "r" / "README.md").read_text()


def test_dropped_rows_of_two_segments_are_in_the_order_of_their_source(tmp_path):
    """The first segment drops rows from the end, the second ones from the beginning."""
    steps = [Length(max=3, on="response", label="first"), Exact(), Length(min=2, on="response")]
    given = rows("a", "b c", "a b c d", "d", "e f", "a b c d e")
    result = Pipeline(steps).run(given, run=tmp_path / "r", store=tmp_path / "s")
    places = [row.seq for row in result.dropped]
    assert len(places) == 4
    assert places == sorted(places)


def test_rows_that_reach_a_step_are_counted_over_all_parts(tmp_path, monkeypatch):
    from curate.read import file, lines, part

    for module in (part, file, lines):
        monkeypatch.setattr(module, "PART_ROWS", 4)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines_of(*rows(*("x " * n for n in range(1, 12)))))
    steps = [Length(min=3, on="response", label="first"), Length(max=9, on="response")]
    told = Pipeline(steps).run(str(path), run=tmp_path / "r", store=tmp_path / "s").summary
    assert [(step["in"], step["dropped"], step["kept"]) for step in told["steps"]] == [
        (11, 2, 9),
        (9, 2, 7),
    ]


@dataclass(frozen=True, kw_only=True)
class Counted(Filter):
    """Count the characters of a text; one of three is more than the rule can take."""

    least: int = rule(2)
    columns: bool = True

    def score(self, row):
        """Count; an empty text has no score, and even counts are noted."""
        count = len(row.instruction)
        return Scored(float(count) if count else None, {"n": count} if count % 2 == 0 else None)

    def score_many(self, chunk):
        """Do the same for a chunk, or leave it to the rows."""
        if not self.columns:
            return None
        counts = [len(text) for text in chunk.texts("instruction").to_pylist()]
        values = np.array([count or np.nan for count in counts], np.float64)
        return Scores(values, [{"n": count} if count % 2 == 0 else None for count in counts])

    def keep(self, score):
        """Refuse to count three, and drop five."""
        if score == 3:
            raise ValueError("no three")
        if score == 5:
            return "five"
        return None if score is None or score >= self.least else f"below {self.least}"


@dataclass(frozen=True, kw_only=True)
class Gone(Filter):
    """Drop the rows of some places."""

    places: tuple[int, ...] = ()

    def score(self, row):
        """Return 0 for a row that goes."""
        return 0.0 if row.seq[-1] in self.places else 1.0

    def keep(self, score):
        """Drop those."""
        return None if score else "gone"


def expected(count, seen):
    """How a row of `count` characters ends: outcome, the line's reason, score and detail."""
    detail = {"n": count} if count % 2 == 0 else None
    if not seen:
        return "passed", None
    if count == 3:
        return "failed", ("ValueError: no three", 3.0, None)
    if count in (1, 5):
        return "dropped", ("below 2" if count == 1 else "five", float(count), None)
    return "passed", (None, float(count) or None, detail)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=9),
    st.sets(st.integers(0, 8)),
    st.booleans(),
    st.sampled_from([1, 2, 99]),
    st.booleans(),
    st.booleans(),
)
@example([(2, False), (2, False), (1, False)], {2}, True, 99, False, True)
def test_columns_and_rows_are_filtered_alike(lengths, gone, large, chunk_rows, routed, columns):
    """Rows of another kind pass where the step is for prompts only, without a line, and so do those
    that a step before it has dropped.
    """
    rows = [
        Row(
            f"{number:032x}", (0, 0, number), "sft" if answered else "prompt",
            {("messages" if answered else "prompt"): (Message("user", "x" * count),)},
        )
        for number, (count, answered) in enumerate(lengths)
    ]  # fmt: skip
    part = Partition(table_of(rows), run_seed=0, large=large, chunk_rows=chunk_rows)
    step = Counted(only=("prompt",) if routed else (), columns=columns)
    apply_filter(part, Gone(places=tuple(sorted(gone))), None)
    apply_filter(part, step, None)
    ends = [
        ("gone", None) if number in gone else expected(count, not (routed and answered))
        for number, (count, answered) in enumerate(lengths)
    ]
    assert [OUTCOMES[code] for code in part.outcome.tolist()] == [
        "dropped" if how == "gone" else how for how, _ in ends
    ]
    lines = [
        (line["row"].hex(), line["outcome"], line["reason"], line["score"],
         line["detail"] and json.loads(line["detail"]))
        for table in part.ledger.get("counted", ())
        for line in table.to_pylist()
    ]  # fmt: skip
    assert lines == [
        (row.id, how, *line) for row, (how, line) in zip(rows, ends, strict=True) if line
        # A row that passes without a score or a detail has none.
        and (how != "passed" or line[1:] != (None, None))
    ]  # fmt: skip
    tally = part.tally("counted")
    hows = [how for how, _ in ends]
    assert (tally.entered, tally.dropped, tally.failed, tally.kept) == (
        len(rows) - hows.count("gone"),
        hows.count("dropped"),
        hows.count("failed"),
        hows.count("passed"),
    )
    assert dict(tally.reasons) == Counter(line[2] for line in lines if line[1] == "dropped")
    assert len(tally.spans) == 1


def test_what_is_no_score_fails_its_row_by_name(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Given(Odd):
        """Give what the text says."""

        def score(self, row):
            """Return it."""
            values = {"text": "x", "list": [1], "true": True, "none": None, "int": 10**400}
            if row.response == "detail":
                return Scored(1.0, ["no mapping"])
            return values[row.response]

    told = Pipeline([Given()]).run(
        rows("text", "list", "true", "none", "int", "detail"),
        run=tmp_path / "r", store=tmp_path / "s", allow_failed=1.0,
    )  # fmt: skip
    assert sorted(failure.error for failure in told.failures()) == [
        "OverflowError: int too large to convert to float",
        "TypeError: a detail must be a mapping or None, not list",
        "TypeError: a score must be a number or None, not list",
        "TypeError: a score must be a number or None, not str",
    ]
    assert [row.response for row in told.kept] == ["true"]
    assert [row.response for row in told.dropped] == ["none"]
