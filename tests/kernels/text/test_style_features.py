"""Style counts: by hand, against slow definitions, and the compiled form against the plain one."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.text.style_compiled import count_style, openings
from curate.kernels.text.style_features import (
    FEATURES,
    StyleCounts,
    opening,
    style_counts,
    style_features,
    style_rules,
    syllables,
)
from curate.kernels.text.words import ALONE

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
PIECES = [
    *("the", "Dr", "e", "g", "don", "t", "tables", "queue", "creat", "ÉTÉ", "naïve", "ſ", "İ"),
    *("中", "か", "กิน", "12", "3", "_", "🙂", "\u0301", "Straße", "'", "’", "'s", "**", "*", "***"),
    *(".", "?", "!", "…", "。", "”", ")", "`", ",", "-", "•", "#", "##", "1.", "2)", "(3)"),
    *(" ", " ", " ", "\t", "\n", "\n\n", "\r\n", "\u2028", "\u00a0", "\x1f"),
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=50).map("".join)


def counted(*texts: str) -> list[StyleCounts]:
    """Return the counts of texts, which both forms must agree on."""
    column = count_style(pa.array(texts, pa.string()))
    found = [StyleCounts(*row) for row in column.counts.tolist()]
    assert found == [style_counts(text) for text in texts]
    assert openings(column) == [opening(text) for text in texts]
    return found


def features(text: str, min_words: int = 50) -> dict[str, float]:
    values = style_features(np.array([style_counts(text)]), min_words)[0]
    return dict(zip(FEATURES, values.tolist(), strict=True))


def test_layout_is_neither_word_nor_punctuation() -> None:
    text = "## A Title\n\n- **Cats**: they purr!\n2. Dogs (they bark).\n\n* * *"
    (found,) = counted(text)
    assert (found.lines, found.headers, found.list_items, found.bold) == (4, 1, 3, 1)
    assert found.words == 8
    # A colon, an exclamation mark, two brackets, a full stop, and two stars of the rule.
    assert found.punctuation == 1 + 1 + 2 + 1 + 2
    assert found.sentences == 3
    assert opening(text) == "a title cats"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three!", 3),
        ("Wait... what", 2),
        ("He said “stop.” Then he left.", 2),
        ("It costs 3.14 dollars, e.g. here, says Dr. Who.", 1),
        ("It was **bold.** And then not.", 2),
        ("no end", 1),
        ("A list\n- of two\n- items", 3),
        ("第一句。第二句！", 2),
        ("... !!!", 0),
        ("What?! No.", 2),
        ("Really e.g.? Yes.", 2),
        ("", 0),
    ],
)
def test_what_a_sentence_is(text: str, sentences: int) -> None:
    assert counted(text)[0].sentences == sentences


def test_words_and_their_letters() -> None:
    (found,) = counted("Don’t don't __init__ snake_case 3.14 naïve 中文")
    words = ["don't", "don't", "init", "snake", "case", "3", "14", "naïve", "中", "文"]
    assert (found.words, found.types) == (len(words), len(set(words)))
    assert found.characters == sum(len(word.replace("'", "")) for word in words)
    assert (found.letters, found.latin) == (28, 25)
    assert found.function_words == 2


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "the cat make makes walked called friend league once eyes played they're 中 xyz 12 é"),
        (2, "table boxes wanted something every player science create being poem doesn't café"),
        (3, "area everything everyone radio museum employee completely idea family"),
        (4, "reality geography ability"),
        (5, "association university experience's"),
    ],
)
def test_syllables(count: int, words: str) -> None:
    assert {word: syllables(word) for word in words.split()} == dict.fromkeys(words.split(), count)


def test_a_full_stop_behind_a_title_or_a_letter_ends_no_sentence() -> None:
    assert {"mr", "dr", "e", "g"} <= style_rules().abbreviations
    assert "the" in style_rules().function_words


def test_features_by_hand() -> None:
    found = features("The cat sat on the mat. The dog ran.", min_words=5)
    assert found["words"] == 9
    assert found["type_token_ratio"] == 7 / 9
    assert found["sentence_length"] == 4.5
    assert found["flesch"] == 206.835 - 1.015 * 4.5 - 84.6 * 1
    assert found["word_length"] == 26 / 9
    assert found["function_words"] == 4 / 9
    assert found["punctuation"] == 2 / 9
    # Forward a factor ends at "the cat sat on the mat the" (5 of 7), and two new words are left;
    # backward none does, and 7 of 9 words leave 0.2222 / 0.28 of one.
    assert found["mtld"] == pytest.approx((9 / 1 + 9 / ((1 - 7 / 9) / 0.28)) / 2, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "...", "Short.", "word " * 49, " ".join(f"w{n}" for n in range(60))]
)
def test_mtld_of_a_short_text_is_missing_and_not_zero(text: str) -> None:
    assert math.isnan(features(text)["mtld"])
    assert not math.isnan(features("word " * 50)["mtld"])


def test_what_is_made_for_english_is_missing_elsewhere() -> None:
    found = features("Привет, мир. Как дела?")
    assert math.isnan(found["flesch"])
    assert math.isnan(found["function_words"])
    assert found["sentence_length"] == 2
    empty = features("—")
    assert empty["words"] == 0
    assert all(math.isnan(value) for name, value in empty.items() if name != "words")


@settings(max_examples=300)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_both_forms_count_the_same(texts: list[str]) -> None:
    counted(*texts)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=4))
def test_both_forms_count_the_same_in_any_text(texts: list[str]) -> None:
    counted(*texts)


def slow_words(line: str) -> list[str]:
    """Return the words of a line, found character by character."""
    words, current = [], ""
    for at, character in enumerate(line):
        if ALONE.match(character):
            words += [current] * bool(current) + [character]
            current = ""
        elif character.isalnum() or (
            character == "'" and current and line[at + 1 : at + 2].isalnum()
        ):
            current += character
        else:
            words += [current] * bool(current)
            current = ""
    return words + [current] * bool(current)


def slow_mtld(words: list[str]) -> float:
    """Return MTLD as McCarthy and Jarvis define it, in floating point."""
    values = []
    for tokens in (words, words[::-1]):
        factors, begin, ratio = 0.0, 0, 1.0
        for end in range(1, len(tokens) + 1):
            ratio = len(set(tokens[begin:end])) / (end - begin)
            if ratio <= 0.72:
                factors, begin, ratio = factors + 1, end, 1.0
        values.append(len(tokens) / (factors + (1 - ratio) / (1 - 0.72)))
    return sum(values) / 2


def slow_features(text: str) -> dict[str, float]:
    """Return the features of an answer in English, each from its definition."""
    rules = style_rules()
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    lines = [line for line in text.split("\n") if line.strip()]
    items = [bool(re.match(r"\s*([-*+•]|\d{1,3}[.)])[ \t]", line)) for line in lines]
    headers = [bool(re.match(r"\s*#{1,6}[ \t]", line)) for line in lines]
    # What marks a line is its first piece between blanks.
    bodies = [
        re.sub(r"^\s*\S+\s*", "", line) if marked else line
        for line, marked in zip(lines, map(max, items, headers), strict=True)
    ]
    words = [word for body in bodies for word in slow_words(body)]
    sentences = 0
    for body in bodies:
        piece: list[str] = []
        for chunk in body.split():
            piece += slow_words(chunk)
            bare = chunk.rstrip("\"')]}»”’*_`」』）】〉》")
            stop = bare != bare.rstrip(".!?…")
            last = bare.rstrip(".")
            title = bare == last + "." and (slow_words(last) or [""])[-1] in rules.abbreviations
            if stop and not (title and last[-1:].isalnum()) and piece:
                sentences, piece = sentences + 1, []
        sentences += bool(piece)
    marks = re.sub(r"\*{2,}", " ", "\n".join(bodies))
    inner = len(re.findall(r"(?<=[^\W_])'(?=[^\W_])", marks))
    punctuation = sum(unicodedata.category(c).startswith("P") for c in marks) - inner
    count = len(words)
    return {
        "words": count,
        "type_token_ratio": len(set(words)) / count,
        "mtld": slow_mtld(words) if count >= 50 and len(set(words)) < count else math.nan,
        "flesch": 206.835 - 1.015 * (count / sentences) - 84.6 * sum(map(syllables, words)) / count,
        "sentence_length": count / sentences,
        "word_length": sum(len(word.replace("'", "")) for word in words) / count,
        "function_words": sum(word in rules.function_words for word in words) / count,
        "punctuation": punctuation / count,
        "list_items": sum(items) / len(lines),
        "headers": sum(headers) / len(lines),
        "bold": sum(len(re.findall(r"\*{2,}", body)) // 2 for body in bodies) / len(lines),
    }


def real_answers() -> list[str]:
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    human = json.loads((DATA / "dolly" / "dolly_3k.json").read_text("utf-8"))
    mixed = json.loads((DATA / "scar" / "mix_gpt35_id_1000.json").read_text("utf-8"))
    machine = json.loads((DATA / "alpaca" / "alpaca_5000.json").read_text("utf-8"))
    texts = [row["conversations"][1]["value"] for row in mixed]
    texts += [row["output"] for row in (*human, *machine)]
    return texts[:5000]


@pytest.mark.real
def test_features_of_5000_real_answers_equal_slow_definitions() -> None:
    texts = real_answers()
    column = count_style(pa.array(texts, pa.string()))
    assert [StyleCounts(*row) for row in column.counts.tolist()] == list(map(style_counts, texts))
    assert openings(column) == list(map(opening, texts))
    found, compared = style_features(column.counts, 50), 0
    for text, values in zip(texts, found.tolist(), strict=True):
        if not values[0]:
            continue
        expected = slow_features(text)
        for name, value in zip(FEATURES, values, strict=True):
            if math.isnan(value) and name in ("flesch", "function_words"):
                continue
            assert value == pytest.approx(expected[name], rel=1e-12, nan_ok=True), (name, text)
            compared += 1
    assert compared > 54_000


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_diversity_of_real_answers_equals_lexicalrichness() -> None:
    richness = pytest.importorskip("lexicalrichness")
    texts = [text for text in real_answers() if style_counts(text).words >= 50][:1000]
    found = style_features(np.array([style_counts(text) for text in texts]), 50)
    for text, values in zip(texts, found.tolist(), strict=True):
        words = [word for line in text.split("\n") for word in re.findall(r"\w+", line.lower())]
        if style_counts(text).words != len(words):
            continue  # another word: an apostrophe, an underscore, the number of a list item
        other = richness.LexicalRichness(words, preprocessor=None, tokenizer=None)
        assert values[FEATURES.index("type_token_ratio")] == other.ttr
        if other.terms < other.words:
            assert values[FEATURES.index("mtld")] == pytest.approx(other.mtld(0.72), rel=1e-12)
