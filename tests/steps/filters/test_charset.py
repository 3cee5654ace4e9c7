import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.filters.charset import Charset

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("abc", 1.0),
        ("ab 1", 0.666),
        ("1234 !!", 0.0),
        ("naïve!", 0.833),
        ("你好。", 0.666),
        ("", None),
        (" \n\x1f", None),
        ("a\x00", 0.5),
    ],
)
def test_share_of_letters(text, share, conversation, scores_of):
    assert scores_of(Charset(on="response"), [conversation("q", text)]) == [share]


@pytest.mark.parametrize(
    ("text", "scripts", "share"),
    [
        ("Hello", ("latin",), 1.0),
        ("Hello мир", ("latin",), 0.625),
        ("Hello мир", ("latin", "cyrillic"), 1.0),
        ("你好 hello", ("han",), 0.285),
        ("123", ("latin",), None),
        ("हिन्दी", ("devanagari",), 1.0),
    ],
)
def test_share_of_scripts(text, scripts, share, conversation, scores_of):
    step = Charset(on="response", scripts=scripts)
    assert scores_of(step, [conversation("q", text)]) == [share]


@given(st.lists(TEXT, min_size=1, max_size=6), st.sampled_from([(), ("latin",), ("han", "greek")]))
def test_both_forms_agree_on_any_text(conversation, scores_of, texts, scripts):
    rows = [conversation("q", text) for text in texts]
    scores_of(Charset(scripts=scripts), rows)


def test_min_is_inclusive_and_an_unscored_row_stays():
    step = Charset(min=0.5)
    assert step.keep(0.5) is None
    assert step.keep(None) is None
    assert step.keep(0.499) == "share of letters below 0.5"
    latin = Charset(min=0.9, scripts=("latin",))
    assert latin.keep(0.1) == "share of letters in latin below 0.9"
    assert Charset().keep(0.0) is None


def test_wrong_fields_are_refused():
    with pytest.raises(ValueError, match="unknown script 'klingon'; allowed are arabic"):
        Charset(scripts=("klingon",)).check()
    with pytest.raises(ValueError, match="from 0 to 1, not 80"):
        Charset(min=80).check()
