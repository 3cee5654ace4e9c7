r"""Find the final answer in a reply: behind `####`, in `\boxed{}`, or where words announce it.

Nothing is guessed from the middle of a text: what cannot be read is `None`, and whoever asked fails
the row instead of calling the answer wrong.
"""

from __future__ import annotations

import re
from fractions import Fraction

_HASHES = re.compile(r"####[ \t]*(\S.*)")
_BOXED = re.compile(r"\\boxed\s*\{")
_LABELLED = re.compile(r"(?im)^\W*(?:a|(?:the )?(?:final )?answer)\W*:\W*?(\S.*)$")
_SAID = re.compile(r"(?i)\banswer(?: to [^.\n]{1,60})? is:?[ \t]*(\S.*?)(?=\.?\s*$|\.\s|\n)", re.M)
# An exponent has three figures at most, as a float's has: ten to a longer one fills the memory.
_NUMBER = re.compile(
    r"(?<![\w.])(-?)(?:\\?[$€£]\s?)?(-?)(\d{1,3}(?:,\d{3})+|\d+)?(\.\d+)?"
    r"([eE][-+]?\d{1,3}(?!\d))?(?:\s?/\s?(\d+))?(?!\d)"
)
# In TeX: what parts thousands, a fraction of two numbers (`2\frac{1}{2}` is none), and what stands
# for a space, a font or a degree.
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,!])(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"(?<![\d}])(?<!\d )(-?)\\[dt]?frac\s*\{(-?)(\d+(?:\.\d+)?)\}\s*\{(\d+)\}")
_READ_OVER = re.compile(r"\\[,;:! ]|\\(?:text|math)[a-z]*|\^\s*(?:\\circ|\{\\circ\})")
# Powers and all other commands, with their arguments: they make another number of what they touch.
_UNREAD = re.compile(
    r"\s?(?:\\[A-Za-z]+\w*|[\w)}]{0,20}\s?\^\s?-?\w*)"
    r"(?:\s?\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})*(?:/\d+)?|\{,\}"
)
_LETTER = re.compile(r"^\W*(?:option |choice )?\(?([A-Z])\)?(?:[).:,]|\s|$)", re.I)
_BRACKETED = re.compile(r"\(([A-Z])\)")


def final_answer(text: str) -> str | None:
    """Return the answer that the text marks as its last word, or `None` where it marks none."""
    if found := _HASHES.findall(text):
        return str(found[-1]).strip()
    if boxes := list(_BOXED.finditer(text)):
        start, depth = boxes[-1].end(), 1
        for place in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[start:place].strip()
        return ""  # It was cut off inside the box.
    for pattern in (_LABELLED, _SAID):
        if found := pattern.findall(text):
            return str(found[-1]).strip()
    return None


def number_in(text: str) -> Fraction | None:
    r"""Return the number of the marked answer, or else the last one of the text, exactly.

    Signs of currency and commas between thousands are read over, and so are units that stand apart.
    Of TeX, `\frac{a}{b}`, `{,}` and `\,` are read. A number that a power or another command touches
    (`2^10`, `2\sqrt{3}`) is part of one that is not known; so it is, where the answer is marked or
    a single word, with a letter (`3k`).
    """
    marked = final_answer(text)
    whole = _THOUSANDS.sub("", (text if marked is None else marked).replace("−", "-"))
    whole = _FRACTION.sub(lambda m: f"{'-' * (m[1] != m[2])}{m[3]}/{m[4]}", whole)
    whole = _UNREAD.sub("0^", _READ_OVER.sub(" ", whole))
    found = [
        match for match in _NUMBER.finditer(whole) if match[3] is not None or match[4] is not None
    ]
    if not found:
        return None
    # Of a marked answer the first number is it, as in `18 (of 20)`; of a whole text the last.
    match = found[-1] if marked is None else found[0]
    after = whole[match.end() : match.end() + 1]
    # A text may end with a part of its reckoning, as in `= 2x`: its last number is what it is.
    if after == "^" or (after.isalpha() and (marked is not None or len(whole.split()) == 1)):
        return None
    if match[6] is not None and int(match[6]) == 0:
        return None
    value = Fraction((match[3] or "0").replace(",", "") + (match[4] or "") + (match[5] or ""))
    return (-value if match[1] or match[2] else value) / int(match[6] or 1)


def choice_in(text: str) -> str | None:
    """Return the letter of the option that the text chooses, in upper case.

    It is the one that a marked answer, or the text itself, begins with; or the only one in
    brackets.
    """
    marked = final_answer(text)
    whole = (text if marked is None else marked).strip()
    begun = _LETTER.match(whole)
    # `A dog` begins with an article: a bare letter stands alone or before a mark.
    if begun and (len(whole) == 1 or begun[0].strip() != begun[1] or begun[0] == whole):
        return begun[1].upper()
    named = set(_BRACKETED.findall(whole))
    return named.pop() if len(named) == 1 else None
