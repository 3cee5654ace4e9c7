"""Words by which texts are compared, in every script."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.normalize import composed_column
from curate.kernels.text.words import ALONE, compared_words, composed

TEXT = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from("aZ9_ .\u0301e\u00e9\u0e01\u0e34\u4e2d\u30ab\u30fc\u30fb\uac00\u1100\u1161")
)
SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "ARABIC", "HEBREW", "DEVANAGARI", "TAMIL", "ETHIOPIC")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("你好\u3002x1世界", ["你", "好", "x1", "世", "界"]),
        ("コーヒーを・飲む", list("コーヒーを飲む")),
        ("한국어 공부", list("한국어공부")),
        ("กินข้าว ๑๒", ["ก", "ิ", "น", "ข", "้", "า", "ว", "๑๒"]),
        ("ລາວ", list("ລາວ")),
        ("ខ្មែរ\u17d4", list("ខ្មែរ")),
        ("မြန်မာ\u104b", list("မြန်မာ")),
        ("السلام عليكم", ["السلام", "عليكم"]),
        ("Cafe\u0301 CAFÉ", ["café", "café"]),
        ("\u1112\u1161\u11ab", ["한"]),
        ("snake_case 3.14 don't", ["snake_case", "3", "14", "don", "t"]),
        ("", []),
    ],
)
def test_what_a_compared_word_is(text: str, words: list[str]) -> None:
    assert compared_words(text) == words


@given(TEXT)
def test_stored_accents_make_no_difference(text: str) -> None:
    forms = {tuple(compared_words(unicodedata.normalize(form, text))) for form in ("NFC", "NFD")}
    assert forms == {tuple(compared_words(text))}


@given(TEXT)
def test_other_scripts_keep_their_words(text: str) -> None:
    rest = ALONE.sub("", unicodedata.normalize("NFC", text))
    rest = ALONE.sub("", unicodedata.normalize("NFC", rest))
    assert compared_words(rest) == re.findall(r"\w+", composed(rest).lower())


def test_letters_and_marks_stand_alone_and_nothing_else() -> None:
    names = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")
    found = {name: 0 for name in names}
    for point in range(0x110000):
        character = chr(point)
        category = unicodedata.category(character)
        if category == "Cn":
            continue
        alone = ALONE.match(character) is not None
        assert not alone or category[0] in "LM" or category == "Nl" or point == 0x3006, hex(point)
        name = unicodedata.name(character, "")
        script = next((one for one in names if name.startswith(one)), None)
        if alone and script:
            found[script] += 1
        if script and category[0] == "L" and "SQUARED" not in name:
            assert alone, f"{hex(point)} {name}"
        if name.startswith(SCRIPTS):
            assert not alone, f"{hex(point)} {name}"
    assert all(count > 50 for count in found.values()), found


@given(st.lists(TEXT, max_size=8))
def test_columns_are_composed_as_texts_are(texts: list[str]) -> None:
    column = composed_column(pa.array(texts, pa.string()))
    assert column.to_pylist() == list(map(composed, texts))
