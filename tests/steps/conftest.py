"""Rows for the tests of steps, and the law that both forms of a step agree."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings

from curate.chunk import Chunk, table_of
from curate.row import Message, Row, canonical_bytes, digest
from curate.step import Filter, Scored, Verdicts, Whole

# A kernel's first call may compile it: no example has a deadline.
settings.register_profile("steps")
settings.load_profile("steps")


def sft(*turns: str, system: str | None = None) -> Row:
    """Return a conversation whose turns are the user's and the assistant's in turn."""
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], text) for i, text in enumerate(turns))
    if system is not None:
        messages = (Message("system", system), *messages)
    return row_of("sft", {"messages": messages})


def row_of(kind: str, fields: dict[str, object], *, seq: int = 0, **rest: object) -> Row:
    """Return a row of `kind`, its id made of its content."""
    row_id = digest(canonical_bytes(kind, fields)).hex()
    return Row(row_id, (0, 0, seq), kind, fields, **rest)  # type: ignore[arg-type]


def both_scores(step: Filter, rows: Sequence[Row]) -> list[float | None]:
    """Return the scores of `rows`, once `score` and `score_many` have given the same ones."""
    plain = [step.score(row) for row in rows]
    expected = [score if isinstance(score, Scored) else Scored(score) for score in plain]
    many = step.score_many(Chunk(table_of(rows), large=True))
    assert many is not None
    values = [None if math.isnan(value) else value for value in many.values.tolist()]
    assert values == [score.value for score in expected]
    details = many.details or [None] * len(rows)
    assert list(details) == [score.detail for score in expected]
    return values


def both_decisions(step: Whole, rows: Sequence[Row]) -> Verdicts:
    """Return the verdicts on `rows`, once both forms have given the same sketches."""
    schema = pa.schema([(n, _arrow_type(t)) for n, t in step.sketch_types().items()])
    plain = pa.Table.from_pylist([step.sketch(row) for row in rows], schema=schema)
    many = step.sketch_many(Chunk(table_of(rows, _labels(rows)), large=True))
    if many is not None:
        assert pa.table(many).select(schema.names).cast(schema).equals(plain)
    return step.decide(np.arange(len(rows)), plain)


def _arrow_type(text: str) -> pa.DataType:
    if text == "binary16":
        return pa.binary(16)
    return pa.list_(_arrow_type(text[5:-1])) if text[:5] == "list<" else pa.type_for_alias(text)


def _labels(rows: Sequence[Row]) -> list[str]:
    return sorted({label for row in rows for label in row.scores})


@pytest.fixture(scope="session")
def decide() -> Callable[[Whole, Sequence[Row]], Verdicts]:
    """Sketch rows in both forms, which must agree, and decide on them."""
    return both_decisions


@pytest.fixture(scope="session")
def conversation() -> Callable[..., Row]:
    """Make an `sft` row from texts."""
    return sft


@pytest.fixture(scope="session")
def make_row() -> Callable[..., Row]:
    """Make a row of any kind."""
    return row_of


@pytest.fixture(scope="session")
def scores_of() -> Callable[[Filter, Sequence[Row]], list[float | None]]:
    """Score rows in both forms, which must agree."""
    return both_scores
