import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.text.patterns import phrase_search, re2_form, regex_search
from curate.kernels.text.words import composed


@pytest.mark.parametrize(
    ("pattern", "form"),
    [
        (r"https?://\w+", r"https?://\w+"),
        (r"a\sb", r"a[\t-\r\x1c- ]b"),
        (r"[\s,]x", r"[\t-\r\x1c- ,]x"),
        (r"(?:ab){2,3}", r"(?:ab){2,3}"),
        (r"\bfoo\b", r"\bfoo\b"),
        (r"a$", None),
        (r"(?<!x)a", None),
        (r"(a)\1", None),
        (r"a{,3}b", None),
        (r"[\S]a", None),
        (r"[]a]", None),
        (r"[^]a]", None),
        (r"[a[:]x", None),
        (r"(?i)a", None),
        (r"\Aa", None),
        (r"é", None),
        (r"x*", None),
        (r"\b", None),
    ],
)
def test_translates_only_what_both_engines_read_alike(pattern, form):
    assert re2_form(pattern) == form


PIECES = (
    r"a B k [a-c] [^a] \w \W \d \s \S . \b ^ x? ab|b (?:a|ab) a+? b* (a|b)* c{1,2} [\s_] \. [Z-a]"
)
PIECE = st.sampled_from(PIECES.split())
ASCII = st.text(st.sampled_from("abBcCkKxz_. \n\x0b\x1c\x00123Z["), max_size=25)


@settings(max_examples=400)
@given(st.lists(PIECE, min_size=1, max_size=5).map("".join), ASCII, st.booleans())
def test_re2_agrees_with_re_on_ascii_text(pattern, text, ignore_case):
    search = regex_search(pattern, ignore_case=ignore_case)
    if search.screen is None:
        return
    column = pa.array([text])
    matched = pc.match_substring_regex(column, search.screen)[0].as_py()
    assert matched == (search.count(text) > 0)
    if search.counts:
        assert pc.count_substring_regex(column, search.screen)[0].as_py() == search.count(text)


FOLDS = st.text(st.sampled_from("kKisIS\u212a\u017f\u0130\u0131é AIai\u3000\x1f-"), max_size=12)


@settings(max_examples=400)
@given(FOLDS.filter(str.strip), FOLDS, st.booleans(), st.booleans())
def test_the_screen_of_a_phrase_misses_no_row(phrase, text, whole_words, ignore_case):
    search = phrase_search((phrase,), whole_words=whole_words, ignore_case=ignore_case)
    if search.screen is not None and search.count(text):
        assert search.covers
        assert pc.match_substring_regex(pa.array([composed(text)]), search.screen)[0].as_py()


def test_every_special_character_is_quoted():
    phrase = "".join(chr(c) for c in range(33, 127))
    search = phrase_search((phrase,), whole_words=False, ignore_case=False)
    found = pc.count_substring_regex(pa.array([phrase, "a"]), search.screen)
    assert np.asarray(found).tolist() == [1, 0]
    assert search.count(phrase) == 1
    assert re.compile(search.pattern).search("a") is None
