import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.filters.length import Length

# Valid text only: Arrow columns cannot hold a lone surrogate, readers refuse it.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
SPACES = st.text(
    st.sampled_from("a é你い\x00\x1c\x1f\x85\xa0\u2003\u3000\u200b\r\n\t\x0b𠀀😀"), max_size=30
)


@pytest.mark.parametrize(
    ("text", "words", "chars"),
    [
        ("", 0, 0),
        ("   \n", 0, 4),
        ("Hello, world!", 2, 13),
        ("one\x1ftwo\x85three\u3000four", 4, 18),
        ("zero\u200bwidth is no space", 4, 22),
        ("你好，世界", 5, 5),
        ("用Python写代码 now", 6, 14),
        ("\x00 \x00", 2, 3),
        ("naïve café", 2, 10),
        ("😀 𠀀𠀁", 3, 4),
    ],
)
def test_counts_words_and_characters(text, words, chars, conversation, scores_of):
    row = conversation("question", text)
    assert scores_of(Length(), [row]) == [words]
    assert scores_of(Length(unit="chars"), [row]) == [chars]


@given(st.lists(TEXT | SPACES, min_size=1, max_size=8))
def test_both_forms_agree_on_any_text(conversation, scores_of, texts):
    rows = [conversation("q", text) for text in texts]
    assert scores_of(Length(unit="chars"), rows) == [len(text) for text in texts]
    scores_of(Length(), rows)


def test_reads_the_text_that_on_names(conversation, make_row, scores_of):
    row = conversation("one two", "three four five", system="be brief")
    assert scores_of(Length(on="instruction"), [row]) == [2]
    assert scores_of(Length(on="whole"), [row]) == [7]
    prompt = make_row("prompt", {"prompt": row.messages[:2]})
    assert scores_of(Length(), [row, prompt]) == [3, 0]


def test_limits_are_inclusive_and_name_the_unit():
    step = Length(min=3, max=5)
    assert step.keep(3) is None
    assert step.keep(5) is None
    assert step.keep(2) == "fewer than 3 words"
    assert step.keep(6) == "more than 5 words"
    assert Length(unit="chars", max=5).keep(6) == "more than 5 chars"


def test_without_limits_it_only_annotates():
    assert Length().keep(0) is None
    assert Length().rules() == ("only", "min", "max")


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match="min is -3; a length is 0 or more"):
        Length(min=-3).check()
    Length(min=0, max=0).check()


def test_contradictory_limits_are_refused():
    with pytest.raises(ValueError, match=r"min \(5\) is above max \(3\)"):
        Length(min=5, max=3).check()
