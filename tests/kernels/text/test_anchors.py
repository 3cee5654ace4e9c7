import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.text.anchors import OUTSIDE, anchors_of, literal_runs
from curate.kernels.text.anchors_compiled import texts_with
from curate.kernels.text.patterns import phrase_search, regex_search
from curate.kernels.text.words import composed


@pytest.mark.parametrize(
    ("pattern", "runs"),
    [
        (r"https?://\S+", [["http", "://"]]),
        (r"(?:http|ftp)://x|www\.", [["://x"], ["www."]]),
        (r"ab+c*d{2}e", [["ab", "e"]]),
        (r"ab+?c", [["ab", "c"]]),
        (r"a[b\]c]d(e[)](f)\))g", [["a", "d", "g"]]),
        (r"\bfoo\.\d", [["foo."]]),
        (r"a.b^c", [["a", "b", "c"]]),
        (r"x|", [["x"], []]),
    ],
)
def test_runs_that_every_match_holds(pattern, runs):
    found = [[run for run in some if run] for some in literal_runs(pattern)]
    assert found == runs


def test_takes_few_and_rare_anchors_or_none():
    assert anchors_of([["the", "xylo"]], ignore_case=False)[0] in (b"xyl", b"ylo")
    assert len(anchors_of([["fjord"], ["fjords"]], ignore_case=True)) == 1
    assert anchors_of([["hello"], ["a"]], ignore_case=True) == ()
    assert anchors_of([["kiss"]], ignore_case=True)[1:] == (OUTSIDE,)
    assert len(anchors_of([["kiss"]], ignore_case=False)) == 1
    assert anchors_of([["the"]], ignore_case=False) == ()
    assert anchors_of([["你好"]], ignore_case=True)[0].decode() in "你好"
    many = [[f"{c}q{c}"] for c in "abcdefg"]
    assert anchors_of(many, ignore_case=False) == ()
    assert len(anchors_of(many[:6], ignore_case=False)) == 6


TEXT = st.text(st.sampled_from("abcABC:/. 你é\x00k\u212a"), max_size=20)
LONG = st.tuples(TEXT, st.integers(240, 270), TEXT).map(lambda t: t[0] + "a" * t[1] + t[2])


@settings(max_examples=200)
@given(
    st.lists(TEXT | LONG, min_size=1, max_size=6), st.sampled_from(["abc", "://", "你", "a\x00b"])
)
def test_misses_no_text_that_holds_an_anchor(texts, literal):
    column = pa.array(["slice me off", *texts]).slice(1)
    found = texts_with(column, (literal.encode(),))
    for text, mark in zip(texts, found.tolist(), strict=True):
        assert mark or literal not in text.lower()


PIECE = st.sampled_from(
    ["abc", "b", "c+", "(?:ab|c)", "[abc]", "a?", "://", r"\.", "|", "a{2}", "B*"]
)


@settings(max_examples=300)
@given(st.lists(PIECE, min_size=1, max_size=6).map("".join), TEXT, st.booleans())
def test_every_match_of_a_pattern_holds_an_anchor(pattern, text, ignore_case):
    try:
        search = regex_search(pattern, ignore_case=ignore_case)
    except re.error:
        return
    if search.anchors and search.count(text):
        assert texts_with(pa.array([composed(text)]), search.anchors)[0]


@settings(max_examples=300)
@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=3), TEXT, st.booleans())
def test_every_match_of_a_phrase_holds_an_anchor(phrases, text, ignore_case):
    search = phrase_search(tuple(phrases), whole_words=False, ignore_case=ignore_case)
    if search.anchors and search.count(text):
        assert texts_with(pa.array([composed(text)]), search.anchors)[0]
