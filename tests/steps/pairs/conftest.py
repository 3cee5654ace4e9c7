"""A model that says what a function of the prompt says, as a file of replies."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from curate.step import Asking


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., str]:
    """Write lines of a scripted model, the first that applies wins, and return its address."""

    def write(lines: Iterable[dict[str, Any]], name: str = "replies.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return f"scripted:{path}"

    return write


@pytest.fixture
def drive() -> Callable[..., Any]:
    """Answer what a step asks by a function of one request; return what the step makes."""

    def driven(work: Asking, says: Callable[[Any], Any]) -> Any:
        try:
            wanted = next(work)
            while True:
                many = isinstance(wanted, list)
                replies = [says(one) for one in (wanted if many else [wanted])]
                wanted = work.send(replies if many else replies[0])
        except StopIteration as end:
            return end.value

    return driven
