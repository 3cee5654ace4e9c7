"""Rows with answers to one prompt, for the steps that pair them."""

import json
from typing import Any

from hypothesis import strategies as st

from curate.row import Message, Row
from curate.step import Drop, Made
from tests.steps.conftest import row_of


def answer(
    number: int, text: str, score: float | None = None, model: str = "m", made: int | None = None
) -> Row:
    """Return an answer to one prompt, as `respond` makes it where `made` is given."""
    extra: dict[str, Any] = {"topic": "t", "model": model}
    if made is not None:
        extra["answered"] = {"by": model, "of": "f" * 32, "made": made}
        del extra["model"]
    fields = {"messages": (Message("user", "Why?"), Message("assistant", text))}
    row = row_of("sft", fields, seq=number, extra=json.dumps(extra))
    return row._replace(id=f"{number:032x}", scores={"rated": score})


def made_of(step: Any, rows: list[Row]) -> tuple[list[Made], list[Drop]]:
    out = step.make(rows)
    return [o for o in out if isinstance(o, Made)], [o for o in out if isinstance(o, Drop)]


def texts(made: Made) -> tuple[str, str]:
    fields = made.record.fields
    return fields["chosen"][0].content, fields["rejected"][0].content


FIVE = [("a", 1.0), ("bb bb", 5.0), ("c", 3.0), ("d", 5.0), ("e", 0.5)]


def five() -> list[Row]:
    return [answer(n, text, score, made=5) for n, (text, score) in enumerate(FIVE)]


# Texts, scores and models.
GROUPS = st.lists(
    st.tuples(
        st.text("ab ", min_size=1, max_size=12).filter(str.strip),
        st.integers(0, 4),
        st.sampled_from(["own", "big", "small"]),
    ),
    min_size=2,
    max_size=7,
)
