"""Options of a run given in Python are held to what the command line allows."""

import pytest

from curate.engine.options import RunOptions
from curate.errors import UsageError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": -1}, "limit is -1; it must be a whole number from 0 on"),
        ({"limit": "5"}, "limit is '5'"),
        ({"workers": 0}, "workers is 0"),
        ({"chunk_rows": 0}, "chunk_rows is 0"),
        ({"chunk_rows": None}, "chunk_rows is None"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"allow_failed": 2}, "a share from 0 to 1"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RunOptions(**options)  # type: ignore[arg-type]


def test_the_least_values_are_allowed() -> None:
    RunOptions(limit=0, workers=1, chunk_rows=1, concurrency=1, allow_failed=1)
