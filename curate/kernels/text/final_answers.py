r"""Find the final answer in a reply: behind `####`, in `\boxed{}`, or where words announce it.

Nothing is guessed from the middle of a text: what cannot be read is `None`, and whoever asked fails
the row instead of calling the answer wrong.
"""

from __future__ import annotations

import bisect
import re
from fractions import Fraction

# Bold type of Markdown, which ends before no word and no bracket: `2**3**2` has two powers.
_BOLD = re.compile(r"(?<![\w)}\]*])\*\*(?=[^\s*])([^*\n]{1,400})(?<=\S)\*\*(?![\w(*])")
_HASHES = re.compile(r"####[ \t]*(\S.*)")
_BOXED = re.compile(r"\\boxed\s*\{")
_LABELLED = re.compile(r"(?im)^[^\w\n]*(?:a|(?:the )?(?:final )?answer)\W*:\W*?(\S.*)$")
_SAID = re.compile(r"(?i)\banswer(?: to [^.\n]{1,60})? is:?[ \t]*(?=\S)")
_SENTENCE_END = re.compile(r"\.\s|\n|\Z")
# How an answer begins that a sentence states: a figure, TeX, a quotation, a capital letter, a
# variable, or one of these words. `The answer is obvious` states none.
_STATES = re.compile(
    r"(?:(?:then|thus|therefore|now|still|just|only|simply|actually|indeed|about|exactly|equal to)"
    r",? )?(?:[^\w\s]|\d|[A-Z]|[b-z]\b|"
    r"(?:yes|no|true|false|none|both|neither|either|unknown)\b)"
)
# All of an answer that stands before other sentences in its line.
_VALUE = re.compile(r"\W*(?:[^\W\d_]+|-?(?:\\?[$€£])?-?[\d.,/]*\d%?(?: [A-Za-z]+)?)\W*")
# An exponent has three figures at most, as a float's has: ten to a longer one fills the memory.
_NUMBER = re.compile(
    r"(?<![\w.])(-?)(?:\\?[$€£]\s?)?(-?)(\d{1,3}(?:,\d{3})+|\d+)?(\.\d+)?"
    r"([eE][-+]?\d{1,3}(?!\d))?(?:\s?/\s?(\d+))?(?!\d)"
)
# In TeX: what parts thousands, a fraction of two numbers (`2\frac{1}{2}` is none), and what stands
# for a space, a font or a degree.
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,!])(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"(?<![\d}])(?<!\d )(-?)\\[dt]?frac\s*\{(-?)(\d+(?:\.\d+)?)\}\s*\{(\d+)\}")
# `2 1/2`; `12/25 1/2` and `3.2 1/2` are none.
_MIXED = re.compile(r"(?<![\w./,])(-?)(\d+) (\d+)/(\d+)(?![\d/])")
# What makes a reckoning of the number before it: `10 - 3`, `5:30`, `2 x 3`.
_RECKONED = re.compile(r"\s?[-+*/:×÷=x]\s?[\d(]")
_READ_OVER = re.compile(r"\\[,;:! ]|\\(?:text|math)[a-z]*|\^\s*(?:\\circ|\{\\circ\})")
# Powers and all other commands, with their arguments: they make another number of what they touch.
_UNREAD = re.compile(
    r"\s?(?:\\[A-Za-z]+\w*|[\w)}]{0,20}\s?(?:\^|\*\*)\s?-?\w*)"
    r"(?:\s?\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})*(?:/\d+)?|\{,\}"
)
_LETTER = re.compile(r"^\W*(?:option |choice )?\(?([A-Z])\)?(?:[).:,]|\s|$)", re.I)
_BRACKETED = re.compile(r"\(([A-Z])\)")


def without_bold(text: str) -> str:
    """Return a text without the stars of Markdown's bold type; powers (`2**10`) keep theirs."""
    return _BOLD.sub(r"\1", text)


def final_answer(text: str) -> str | None:
    """Return the answer that the text marks as its last word, or `None` where it marks none.

    Signs go before words: behind its box a text may say that the answer is correct. Of lines
    (`Answer: …`) and sentences (`The answer is …`) the last one counts that states an answer; a
    sentence behind another statement does so where what it says begins as answers do, with a
    figure, TeX, a quotation, a capital letter or a word like yes.
    """
    text = without_bold(text)
    hashes, boxes = list(_HASHES.finditer(text)), list(_BOXED.finditer(text))
    # Behind `####` may stand a heading, and the answer in a box below it.
    if boxes and (not hashes or hashes[-1].start() < boxes[-1].start()):
        start, depth = boxes[-1].end(), 1
        for place in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                return text[start:place].strip()
        return ""  # It was cut off inside the box.
    if hashes:
        return hashes[-1][1].strip()
    sentences = [match.end() for match in _SAID.finditer(text)]
    stops = [match.start() for match in _SENTENCE_END.finditer(text)] if sentences else []
    # Where what is stated begins, and where it ends.
    stated = {place: stops[bisect.bisect_left(stops, place)] for place in sentences}
    for line in _LABELLED.finditer(text):
        start, end = line.span(1)
        nearest = bisect.bisect_left(sentences, start)
        if nearest < len(sentences) and sentences[nearest] < end:
            # The line is a whole solution, which says at its end what the answer is; or a short
            # answer with a remark behind it.
            end = text.find(". ", start, end)
            if end < 0 or not _VALUE.fullmatch(text, start, end):
                continue
        stated[start] = end
    said, found = set(sentences), None
    for place in sorted(stated):
        if found is None or place not in said or _STATES.match(text, place):
            found = place
    if found is None:
        return None
    answer = text[found : stated[found]].strip()
    return answer.removesuffix(".") if found in said else answer


def number_in(text: str) -> Fraction | None:
    r"""Return the number of the marked answer, or else the last one of the text, exactly.

    Signs of currency and commas between thousands are read over, and so are units that stand apart.
    Of TeX, `\frac{a}{b}`, `{,}` and `\,` are read, and mixed numbers (`2 1/2`). A number that a
    power or another command touches (`2^10`, `2**10`, `2\sqrt{3}`) is part of one that is not
    known; so it is, where the answer is marked or a single word, with a letter (`3k`), and where an
    operator and another number follow (`10 - 3`, `5:30`). Of `3 + 4 = 7` what comes of it is read.
    """
    marked = final_answer(text)
    told = without_bold(text) if marked is None else marked
    whole = _THOUSANDS.sub("", told.replace("−", "-"))
    whole = _FRACTION.sub(lambda m: f"{'-' * (m[1] != m[2])}{m[3]}/{m[4]}", whole)
    whole = _UNREAD.sub("0^", _READ_OVER.sub(" ", whole))
    whole = _MIXED.sub(lambda m: f"{m[1]}{int(m[2]) * int(m[4]) + int(m[3])}/{m[4]}", whole)
    if marked is not None:
        # Of a marked sum the value is what comes of it: `3 + 4 = 7`.
        whole = whole.rpartition("=")[2]
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
    # Nothing but a reckoning has a value that is none of its numbers; so has a marked one.
    ones = [match] if marked is not None else [] if re.search(r"[^\W\d_]{2}", whole) else found
    if any(_RECKONED.match(whole, one.end()) for one in ones):
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
    whole = (without_bold(text) if marked is None else marked).strip()
    begun = _LETTER.match(whole)
    # `A dog` begins with an article: a bare letter stands alone or before a mark.
    if begun and (len(whole) == 1 or begun[0].strip() != begun[1] or begun[0] == whole):
        return begun[1].upper()
    named = set(_BRACKETED.findall(whole))
    return named.pop() if len(named) == 1 else None
