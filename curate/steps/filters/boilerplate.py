"""Keep rows without a model's set phrases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curate.steps.filters._matches import ListedPhrases


@dataclass(frozen=True, kw_only=True)
class Boilerplate(ListedPhrases):
    """Drop rows whose answer speaks of being a model, or in set phrases.

    The score is the number of set phrases such as "as an AI language model" or "I hope this helps"
    (a list of some forty, English and Chinese, in `kernels/phrases.json`; `more` adds to it).
    Above `max` (0) a row is dropped.
    """

    version: ClassVar[int] = 2
    source: ClassVar[str] = (
        "phrase lists of the kind used to clean ShareGPT (Chiang et al. 2023, Vicuna)"
    )
    reason: ClassVar[str] = "set phrases of a model"
