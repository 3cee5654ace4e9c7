"""The score that a reply states most often: SCAR's way of reading a judge that thinks aloud.

A statement names the score or the aspect before the number ("Final score: 7", "helpfulness is 7"),
gives the scale after it ("7/9", "7 out of 9", "7 points"), or is a line with the number alone. A
range, and a number on another scale ("7/10"), state nothing.
Li et al. 2024, arXiv 2406.10882, and the authors' code. Where they take 0 for a reply without any
score, it is unusable here: a failure is not a judgement.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from curate.prompts.replies.plain_lines import lines, shown

_NUMBER = r"(?<![\d.,-])(\d+(?:\.\d+)?)(?!\d|[,.]\d|\s*[-–]\s*\d)"


def most_stated(text: str, low: float, high: float, names: Sequence[str]) -> float:
    """Return the number on the scale that `text` states most often; of equals the first one.

    Raises:
        ValueError: it states none.
    """
    number = rf"{_NUMBER}(?!\s*(?:/|out\s+of)\s*(?!{high:g}\b)\d)"
    words = "|".join(map(re.escape, ("score", "rating", *names)))
    forms = [
        re.compile(rf"(?i)\b(?:{words})(?:\s+score)?\s*(?:\bis\b|\bof\b|[:=–—-])*\s*{number}"),
        re.compile(rf"(?i){number}\s*(?:/\s*|out\s+of\s+){high:g}\b"),
        re.compile(rf"(?i){number}\s*points?\b"),
        re.compile(rf"^{number}\.?$"),
    ]
    # One number in one place is one statement, in however many forms.
    found = {
        (number, match.start(1)): float(match[1])
        for number, line in enumerate(lines(text))
        for form in forms
        for match in form.finditer(line)
    }
    stated = [found[place] for place in sorted(found) if low <= found[place] <= high]
    if not stated:
        raise ValueError(f"it states no score from {low:g} to {high:g}: {shown(text)}")
    return Counter(stated).most_common(1)[0][0]
