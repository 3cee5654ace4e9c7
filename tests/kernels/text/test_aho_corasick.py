"""The automaton misses no text that `re` finds a phrase in, whatever the case and the spaces."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.text.aho_corasick import texts_holding
from curate.kernels.text.patterns import phrase_search
from curate.kernels.text.phrase_lists import listed_search

PHRASES = ("I can't", "as an AI", "sick", "抱歉,我", "a b a", "don\u2019t")
LETTERS = ["I", "i", "\u0130", "\u0131", "\u017f", "\u212a", "s", "S", "c", "k", "K", "a", "b", "x"]
WORDS = ["can't", "don’t", "as", "an", "AI", "ai", "抱歉,我", "é", "\U0001f600", "\0", ""]
SPACES = [" ", "\n", "\t", "\u3000", "\xa0", "\x1c", "\x85", "\u2003"]
PIECES = st.sampled_from([*LETTERS, *WORDS, *SPACES])
# Short texts of any characters, and those in ASCII (which are read four at a time) of any length.
ASCII = st.sampled_from([*"IisSckKabx", "can't", "as", "an", "AI", "\n", " ", "\x1c", "z" * 250])
TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=20)
TEXTS |= st.lists(st.lists(ASCII, max_size=12).map("".join), min_size=1, max_size=20)


@pytest.mark.parametrize("ignore_case", [False, True])
@given(texts=TEXTS)
@settings(max_examples=300)
def test_holds_exactly_where_the_bare_phrases_match(ignore_case: bool, texts: list[str]) -> None:
    pattern = "|".join(r"\s+".join(map(re.escape, p.split())) for p in PHRASES)
    wanted = re.compile(pattern, re.IGNORECASE if ignore_case else re.NOFLAG)
    found = texts_holding(pa.array(texts, pa.string()), PHRASES, ignore_case=ignore_case)
    assert found.tolist() == [wanted.search(text) is not None for text in texts]


def test_a_slice_is_read_from_its_own_first_byte() -> None:
    texts = pa.array(["sick", "well", "so sick", "sic", "k"], pa.string()).slice(1, 3)
    assert texts_holding(texts, ("sick",), ignore_case=False).tolist() == [False, True, False]


def test_the_shipped_lists_are_read_by_the_automaton() -> None:
    for name in ("refusal", "boilerplate"):
        search = listed_search(name)
        assert search.anchors or search.phrases
    assert not phrase_search(("\u00c9tat",), whole_words=True, ignore_case=True).phrases
