import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels.text.repetition import LIMITS, repeated_shares
from curate.steps.filters.repetition import Repetition

# Few words of many sorts, so that equal n-grams, lines and paragraphs are the rule.
WORD = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        "the",
        "é",
        "你",
        "你好",
        "a你",
        "abcdefgh",
        "abcdefghi",
        "bcdefghia",
        "\x00",
        "𠀀",
        "a",
    ]
)
GAP = st.sampled_from([" ", " ", " ", "\n", "\n\n", "\n \n", "\u2028", "\x1f", "\u3000", ""])
TEXT = st.lists(st.tuples(WORD, GAP), max_size=60).map(lambda ws: "".join(w + g for w, g in ws))


def test_limits_are_the_papers():
    assert list(LIMITS.values()) == [
        *(0.30, 0.30, 0.20, 0.20, 0.20, 0.18, 0.16),
        *(0.15, 0.14, 0.13, 0.12, 0.11, 0.10),
    ]


def test_shares_counted_by_hand():
    text = "one two\nthree four\none two\n\nfive\n\nfive"
    shares = repeated_shares(text, 0)
    assert shares["duplicate lines"] == 2 / 5
    assert shares["duplicate paragraphs"] == 1 / 3
    assert shares["characters of duplicate lines"] == 10 / 29
    assert shares["characters of duplicate paragraphs"] == 4 / 29
    assert shares["top 2-gram"] == 12 / 29
    assert shares["top 3-gram"] == 0
    assert sum(repeated_shares(text, 50).values()) == 0


def test_each_word_of_a_repeated_n_gram_counts_once():
    shares = repeated_shares("a b c d e " * 3, 50)
    assert shares["duplicate 5-grams"] == 10 / 15
    assert shares["duplicate 10-grams"] == 10 / 15
    assert repeated_shares("x " * 9, 50)["duplicate 5-grams"] == 8 / 9
    assert repeated_shares("x " * 9, 50)["duplicate 9-grams"] == 0


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("", 0),
        ("one", 0),
        ("Paris is in France. Paris is big.", 0),
        ("no " * 5, 0),
        ("no " * 6, 5.556),
        ("好" * 12, 9.167),
        ("word " + " ".join(f"w{i}" for i in range(60)), 0),
        (" ".join(f"w{i}" for i in range(40)) + "\n" + "same line here\n" * 10, 4.696),
    ],
)
def test_golden_scores(text, score, conversation, scores_of):
    assert scores_of(Repetition(), [conversation("q", text)]) == [score]


@settings(max_examples=300)
@given(st.lists(TEXT, min_size=1, max_size=5), st.sampled_from([0, 5, 50]))
def test_both_forms_agree_on_any_text(conversation, scores_of, texts, min_words):
    scores_of(Repetition(min_words=min_words), [conversation("q", text) for text in texts])


def test_a_text_beyond_a_limit_shows_its_shares(conversation):
    scored = Repetition().score(conversation("q", "go on " * 20))
    assert scored.value > 1
    assert scored.detail["duplicate 5-grams"] == 0.95
    assert Repetition().score(conversation("q", "fine")).detail is None


def test_rules():
    step = Repetition()
    assert step.keep(1.0) is None
    assert step.keep(1.001) == "repeats itself"
    assert Repetition(max=2.5).keep(3) == "repeats itself beyond 2.5 limits"
    assert Repetition(max=None).keep(9) is None
    assert step.keep(None) is None
    with pytest.raises(ValueError, match="must not be negative"):
        Repetition(min_words=-1).check()
