"""Keep rows without a model's set phrases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curate.steps.filters._matches import ListedPhrases


@dataclass(frozen=True, kw_only=True)
class Boilerplate(ListedPhrases):
    """Drop rows whose answer mentions being an AI model, or uses stock phrases.

    The score is the number of stock phrases such as "as an AI language model" or "I hope this
    helps" (a list of about forty, English and Chinese, in `kernels/phrases.json`). `more` adds
    phrases to the list. Rows with more than `max` (0) of them are dropped.
    """

    version: ClassVar[int] = 2
    source: ClassVar[str] = (
        "phrase lists of the kind used to clean ShareGPT (Chiang et al. 2023, Vicuna)"
    )
    reason: ClassVar[str] = "set phrases of a model"
