import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.filters.refusal import Refusal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I'm sorry, but I can't do it. I cannot assist with that.", 2),
        ("I\u2019m sorry, but I can\u2019t assist with this.", 1),
        ("I AM SORRY, but I cannot do it", 1),
        ("抱歉,我无法回答这个问题。", 1),
        ("很抱歉\uff0c我无法回答这个问题。", 1),
        ("对不起\uff0c我不能这么做。", 1),
        ("You cannot provide a refund twice.", 0),
        ("Sorry seems to be the hardest word", 0),
        ("", 0),
    ],
)
def test_counts_refusing_phrases(text, found, conversation, scores_of):
    assert scores_of(Refusal(), [conversation("q", text)]) == [found]


def test_own_phrases_are_added(conversation, scores_of):
    row = conversation("q", "Das darf ich nicht.")
    assert scores_of(Refusal(more=("darf ich nicht",)), [row]) == [1]
    with pytest.raises(ValueError, match="empty phrase"):
        Refusal(more=("",)).check()


PIECE = st.sampled_from(
    ["I'm sorry, ", "but I ", "cannot", "can\u2019t", " provide", "I", " é", "抱歉,我不能", "\n"]
)


@given(st.lists(st.lists(PIECE, max_size=6).map("".join), min_size=1, max_size=5))
def test_both_forms_agree(conversation, scores_of, texts):
    scores_of(Refusal(), [conversation("q", text) for text in texts])


def test_rules():
    assert Refusal().keep(1) == "refuses to answer"
    assert Refusal().keep(0) is None
    assert Refusal(max=1).keep(1) is None
    assert Refusal(max=None).keep(5) is None
