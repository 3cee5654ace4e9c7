import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.filters.truncated import Truncated

LONG = "the committee met on Monday and then agreed on every single point"


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("It is done.", 0),
        ("Paris", 0),
        ("", 0),
        ("Because of the", 2),
        ("First, second,", 2),
        ("苹果、香蕉、", 2),
        ("see (", 2),
        (LONG, 1),
        (LONG + ".", 0),
        ("A title\n" + LONG, 1),
        (LONG + "\n- short item", 0),
        ("Run:\n```\nx = 1\n", 3),
        ("Run:\n```\nx = 1\n```", 0),
        ("a", 0),
        ("Version 3 of\n\n", 2),
    ],
)
def test_signs_of_a_cut(text, sign, conversation, scores_of):
    assert scores_of(Truncated(), [conversation("q", text)]) == [sign]


PIECE = st.sampled_from(
    ["```", "\n", " ", "the", "word", ".", ",", "(", "-", "é", "\u3000", "\x1f", "3", ")"]
)


@given(st.lists(st.lists(PIECE, max_size=16).map("".join), min_size=1, max_size=5))
def test_both_forms_agree(conversation, scores_of, texts):
    scores_of(Truncated(min_words=3), [conversation("q", text) for text in texts])


def test_rules():
    assert Truncated().keep(1) is None
    assert Truncated().keep(2) == "ends inside a sentence"
    assert Truncated().keep(3) == "code fence left open"
    assert Truncated(at_least=1).keep(1) == "ends without punctuation"
    assert Truncated(at_least=None).keep(3) is None
    with pytest.raises(ValueError, match="1, 2 or 3, not 5"):
        Truncated(at_least=5).check()
