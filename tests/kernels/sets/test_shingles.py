from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.kernels.sets.shingles import shingle_set, word_hash
from curate.kernels.sets.shingles_compiled import shingle_column, word_characters
from curate.kernels.text.words import ALONE, RUN

# Characters whose lower case is longer, shorter or of another class, marks, digits, joiners.
HOSTILE = (
    "aAzZ09_ .\n\0\x7f\u00df\u0130\u0131\u0307\u1e9e\u03a3\u03c2\u212a\u01c5\u0345\u00aa\u00b2"
)
HOSTILE += "e\u0301\u00e9\uac00\u1100\u1161\u11a8\u1780\u17d2\u1019\u102c\u0ea5\u30fb"
HOSTILE += "\u0915\u093f\u0e33\u200d\u3002\u4e00\u30ab\ufb01\uff21\U0001d400\U00010400\U0001f600"
TEXTS = st.lists(st.text(st.sampled_from(HOSTILE) | st.characters(exclude_categories=["Cs"])))


def test_what_a_shingle_is():
    assert len(shingle_set("One two, THREE four", 3)) == 2
    assert shingle_set("one TWO three", 3).tolist() == shingle_set("One, two; three!", 3).tolist()
    assert len(shingle_set("a b a b a b", 2)) == 2
    assert shingle_set("a b", 3).tolist() != shingle_set("b a", 3).tolist()
    assert len(shingle_set("one two", 3)) == len(shingle_set("one", 3)) == 1
    assert len(shingle_set("", 3)) == len(shingle_set(" ?!\n", 3)) == 0


def test_words_of_every_length_have_their_own_hash():
    words = ["a" * n for n in range(1, 40)] + ["ab" * n for n in range(1, 20)]
    assert len({word_hash(word) for word in words}) == len(set(words))


def test_real_sized_vocabularies_do_not_collide():
    words = [f"{a}{b}{n}" for a in "abcdefgh" for b in ("", "x", "longer_") for n in range(4000)]
    assert len({word_hash(word) for word in words}) == len(words)
    assert len(shingle_set(" ".join(words), 2)) == len(words) - 1


def test_word_characters_are_those_of_re():
    table = word_characters()
    for point in [*range(0x3000), *range(0x3000, sys.maxunicode, 97)]:
        words = RUN.fullmatch(chr(point)) is not None
        assert table[point] == (2 if ALONE.fullmatch(chr(point)) else words)


@settings(max_examples=300)  # the first example compiles
@given(TEXTS, st.integers(1, 5))
@example(["\u0130stanbul \u0130\u0130 A\u03a3", "STRASSE \u1e9e", ""], 1)
@example(["Ab" * 9 + " x " * 30, "abcdefgh", "abcdefgh abcdefghi"], 3)
def test_columns_and_rows_agree(texts, shingle):
    column = shingle_column(pa.array(texts, pa.string()), shingle)
    assert column.to_pylist() == [shingle_set(text, shingle).tolist() for text in texts]


@pytest.mark.parametrize("words", [21, 4096, 4099, 30_000])
def test_long_rows_agree(words):
    dice = np.random.default_rng(words)
    texts = [" ".join(map(str, dice.integers(0, top, words))) for top in (2, 50, 10**6)]
    column = shingle_column(pa.array(texts), 3)
    assert column.to_pylist() == [shingle_set(text, 3).tolist() for text in texts]


def test_a_sliced_column_is_read_from_its_offset():
    texts = pa.array(["zero one two", "three four five six", "seven \u00c9t\u00e9"])
    assert shingle_column(texts.slice(1), 3).to_pylist() == shingle_column(texts, 3).to_pylist()[1:]
