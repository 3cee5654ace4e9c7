"""Sentences and words as the instruction-following benchmarks count them.

Both split with NLTK: Punkt's English model, which comes here from a package that holds it as data
(NLTK itself downloads it), and the Treebank tokenizer with sentences taken one by one.
"""

from __future__ import annotations

import functools
import json
import re
import string
from pathlib import Path
from typing import Any

# What the benchmarks strip off a word.
MARKS = string.punctuation + " "
_NO_MARKS = str.maketrans("", "", string.punctuation)


def sentences(text: str) -> list[str]:
    """Return the sentences of an English text, by Kiss and Strunk's Punkt (2006)."""
    from punkt import sent_tokenize

    return list(sent_tokenize(text))


def tokens(text: str) -> list[str]:
    """Return words and marks as the Penn Treebank parts them (`do`, `n't`, `.`)."""
    return [token for sentence in sentences(text) for token in _treebank().tokenize(sentence)]


def words(text: str) -> list[str]:
    r"""Return the runs of `\w`."""
    return re.findall(r"\w+", text)


def without_marks(text: str) -> str:
    """Return the text without ASCII punctuation."""
    return text.translate(_NO_MARKS)


def plain_words(text: str) -> list[str]:
    """Return the words between white space in lower case, ASCII punctuation left out."""
    return without_marks(text.lower()).split()


@functools.cache
def word_list(name: str) -> tuple[str, ...]:
    """Return a list of words that a constraint names."""
    lists = json.loads(Path(__file__).with_name("word_lists.json").read_text(encoding="utf-8"))
    return tuple(lists[name].split())


@functools.cache
def _treebank() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()
