"""The named lists of phrases in `phrases.json`, as compiled searches."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from curate.kernels.text.patterns import PatternSearch, phrase_search


@functools.cache
def listed_search(name: str, more: tuple[str, ...] = ()) -> PatternSearch:
    """Return the search for the phrases of a list and for `more`, case and line breaks ignored."""
    lists = json.loads(Path(__file__).with_name("phrases.json").read_text("utf-8"))
    straight = (*lists[name], *more)
    # Both the typewriter's and the printer's apostrophe are common.
    curly = tuple(phrase.replace("'", "\u2019") for phrase in straight if "'" in phrase)
    return phrase_search((*straight, *curly), whole_words=True, ignore_case=True)
