"""What a checker returns, what it may be told, and what it raises where it cannot read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


class Verification(NamedTuple):
    """The share of the checks that a reply passed, from 0 to 1, with the evidence (JSON data)."""

    share: float
    evidence: Mapping[str, Any]


class UnreadableAnswer(ValueError):
    """Say that `side`, the reply or the gold, holds no answer of the kind: that is not wrong."""

    def __init__(self, side: Literal["reply", "gold"], message: str) -> None:
        """Keep the side apart from the message."""
        self.side = side
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What a checker may be told besides reply and gold.

    `tolerance` is relative, for numbers; `ignore_case` for exact texts. `seconds` (of processor
    time) and `memory_mb` limit what a library or a program may use for one reply. `allow_code` lets
    the programs of replies run, confined.
    """

    tolerance: float = 0.0
    ignore_case: bool = False
    seconds: float = 10.0
    memory_mb: int = 1024
    allow_code: bool = False
