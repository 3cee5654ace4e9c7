"""The ranks that a listwise judge gives: one whole number for each answer, 1 for the best."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from curate.prompts.replies.objects import object_in
from curate.prompts.replies.plain_lines import shown


def ranks_in(text: str, schema: Mapping[str, Any] | None, count: int) -> dict[str, Any]:
    """Return the object of a ranking reply, with a rank from 1 to `count` for each answer.

    Without a schema the reply is the ranks alone ("2, 1, 3"). Answers may share a rank.

    Raises:
        ValueError: it holds another number of ranks, others than 1 to `count`, or no first one.
    """
    if schema is None:
        line = text.strip().rstrip(".")
        if not re.fullmatch(r"\d{1,3}(?:\s*,\s*\d{1,3})*", line):
            raise ValueError(f"it is not a list of ranks: {shown(text)}")
        found: dict[str, Any] = {"ranks": [int(rank) for rank in line.split(",")]}
    else:
        found = object_in(text, schema)
    ranks = found.get("ranks", ())
    if len(ranks) != count or not all(1 <= rank <= count for rank in ranks):
        raise ValueError(f"ranks is {ranks!r}; it must be {count} whole numbers from 1 to {count}")
    if 1 not in ranks:
        raise ValueError(f"ranks is {ranks!r}; the best answers have rank 1")
    return found
