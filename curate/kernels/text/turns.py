"""The problems a list of turns can have, and the roles that turns may play."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag

from curate.row import FIELD_TYPES, Message, Row


class Problem(IntFlag):
    """What is wrong with a row's turns; several can be at once."""

    EMPTY_TURN = 1
    NO_USER_TURN = 2
    NO_ASSISTANT_TURN = 4
    LATE_SYSTEM_TURN = 8
    STRAY_TOOL_TURN = 16
    ASSISTANT_FIRST = 32
    ROLE_REPEATED = 64
    NO_FINAL_ANSWER = 128
    UNKNOWN_ROLE = 256
    EMPTY_COMPLETION = 512
    CHOSEN_EQUALS_REJECTED = 1024
    TOO_FEW_CANDIDATES = 2048


PROBLEMS = tuple(str(problem.name).lower() for problem in Problem)

# OpenAI's `developer` is its newer name of `system`, and `function` its older one of `tool`.
ROLES = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}


def turns_of(row: Row) -> Iterator[Message]:
    """Yield all turns of a row: of conversation, prompt, every answer and every candidate."""
    for name, value in row.fields.items():
        if FIELD_TYPES[name] == "messages":
            yield from value or ()
        elif FIELD_TYPES[name] == "candidates":
            for candidate in value or ():
                yield from candidate.messages
