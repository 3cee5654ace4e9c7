"""Patterns of users are Python's, and none of them takes longer than it may."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.system import bounded_patterns
from curate.system.bounded_patterns import BoundedPattern, TooSlow

BACKTRACKS, TEXT = "(a|aa)+$", "a" * 80 + "b"
PIECES = r"a B k \w \W \d \s \S . \b ^ $ x? (?:a|ab) (?=k) (?<!a) [^a\s] a+? (a|b)* \. é (b)\1 İ ſ"
TEXTS = st.text(st.sampled_from("abBkKxz_. \n\x1c\x1f1éİıſ\u212a"), max_size=20)


@given(st.lists(st.sampled_from(PIECES.split()), min_size=1, max_size=4), TEXTS, st.booleans())
def test_matches_are_those_of_python(pieces, text, ignore_case):
    pattern = "".join(piece for piece in pieces if not (piece == r"(b)\1" and pieces[0] != piece))
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    wanted = [match.span() for match in re.finditer(pattern, text, flags) if match.group()]
    found = BoundedPattern(pattern, ignore_case=ignore_case).spans(text)
    assert [span for span in found if span[0] < span[1]] == wanted


OWN = r"\w+ \W+ [^\W\d_]+ [\W] [\S]+ [^\S] \b\w \B. (?a)\w+\s [\b]a a{i} \w{e<=1} x{1}{s} fo{,2}"
OWN += r" {name} \{\w+\} [[:alpha:]] fo{1,} (?#[)\s\[ [(?#]+\s (?x)[#]\s"
PATTERNS = [*OWN.split(), "(?x)a # [\n\\s", r"\N{LATIN SMALL LETTER A}b"]
NAMASTE, COMBINED = "\u0928\u092e\u0938\u094d\u0924\u0947", "e\u0301 m² ½ ‿_ (?#\t[a] :]"
ASCII = "abc a{i} x{s} {name} fooo ab \x08a \x1c# (?#\t[a] :] \x0b"


@pytest.mark.parametrize("text", [ASCII, f"{ASCII} {NAMASTE} {COMBINED}"], ids=["ascii", "other"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_the_engine_reads_otherwise_is_read_as_python_does(pattern, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of nested sets
        wanted = [match.span() for match in re.finditer(pattern, text)]
        assert list(BoundedPattern(pattern).spans(text)) == wanted


@pytest.mark.parametrize(
    "pattern",
    [
        "i",
        "I",
        "ı",
        "İ",
        "[i]",
        "[^i]x",
        "(?P<i>ı)",
        "(?x) i # i\n I",
        "(?:i)(?=I)",
        "(?<=ı)i",
        "x(?i:I)",
    ],
)
def test_i_without_a_dot_is_the_letter_that_it_is_to_python(pattern):
    for text in ("i", "I", "ı", "İ", "iıİI", "xı", "ix", "ıı"):
        wanted = [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
        assert list(BoundedPattern(pattern, ignore_case=True).spans(text)) == wanted, text


def test_a_pattern_that_backtracks_stops_and_finds_what_it_did_before(monkeypatch):
    monkeypatch.setattr(bounded_patterns, "SECONDS", 0.05)
    pattern = BoundedPattern(BACKTRACKS)
    for _ in range(5):
        with pytest.raises(
            TooSlow, match=r"\(a\|aa\)\+\$ takes longer than 0.05 s on a text of 81"
        ):
            pattern.is_in(TEXT)
        assert pattern.is_in("a")


@pytest.mark.parametrize("pattern", ["(", "a{1,2}{3}", "(?P<a>x)(?P<a>y)", "(" * 3000])
def test_what_is_no_pattern_is_refused_in_words(pattern):
    with pytest.raises(ValueError, match="not a regular expression"):
        BoundedPattern(pattern)
