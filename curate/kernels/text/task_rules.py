"""The rules by which Self-Instruct and Alpaca refuse a task before it is compared with others.

They are heuristics for English tasks of a model that reads and writes text alone, and each refuses
some good tasks: "file" and "map" stand in many. Whoever applies them says which.
"""

from __future__ import annotations

import re
import string

from curate.kernels.text.phrase_lists import listed_search
from curate.kernels.text.words import words

# Wang et al. 2022, github.com/yizhongw/self-instruct, bootstrap_instructions.py.
SELF_INSTRUCT_WORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps",
    "draw", "plot", "go to",
)  # fmt: skip
# Taori et al. 2023, github.com/tatsu-lab/stanford_alpaca, generate_instruction.py.
ALPACA_WORDS = (*SELF_INSTRUCT_WORDS, "video", "audio", "music", "flowchart", "diagram")
# All that a text is not made of: C0 and C1 but tab, line feed and carriage return.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def broken_by_task(
    text: str, least: int, most: int, banned: tuple[str, ...], english: bool
) -> str | None:
    """Return the rule that the text of a task breaks, or `None`.

    It has from `least` to `most` words and holds none of the words `banned`. An `english` one
    neither begins with punctuation or a character outside ASCII, nor with "Write a program", with
    which a model extends tasks that it was shown.
    """
    count = len(words(text))
    if not count:
        return "no words"
    if holds_control_characters(text):
        return "control characters"
    if count < least:
        return f"fewer than {least} words"
    if count > most:
        return f"more than {most} words"
    if any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in banned):
        return "asks for what a text model cannot do"
    if english and text.startswith("Write a program"):
        return 'begins with "Write a program"'
    if english and text[0] in string.punctuation:
        return "begins with punctuation"
    if english and not text[0].isascii():
        return "begins with a character outside ASCII"
    return "refuses" if listed_search("refusal").count(text) else None


def holds_control_characters(text: str) -> bool:
    """Tell whether a text holds control characters other than tabs and ends of lines."""
    return _CONTROL.search(text) is not None
