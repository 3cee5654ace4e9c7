"""Keep rows whose answer does not refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curate.steps.filters._matches import ListedPhrases


@dataclass(frozen=True, kw_only=True)
class Refusal(ListedPhrases):
    """Drop rows whose answer refuses to answer.

    The score is the number of refusal phrases (a list of about sixty, English and Chinese, in
    `kernels/phrases.json`). `more` adds phrases to the list. An answer that quotes a refusal
    counts, too, and one that refuses in other words does not; a judge detects more. Rows with more
    than `max` (0) of them are dropped.
    """

    version: ClassVar[int] = 3
    source: ClassVar[str] = (
        "phrase lists of the kind used to clean ShareGPT (Chiang et al. 2023, Vicuna)"
    )
    reason: ClassVar[str] = "refuses to answer"
