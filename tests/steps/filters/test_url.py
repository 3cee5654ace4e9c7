import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.filters.url import Url


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See https://a.org/x?y=1 and HTTP://B.com.", 2),
        ("[www.python.org](https://www.python.org/doc)", 1),
        ("visit www.site.de", 1),
        ("ftp://host/file é", 1),
        ("http is a protocol; www is a web", 0),
    ],
)
def test_counts_addresses(text, found, conversation, scores_of):
    assert scores_of(Url(), [conversation("q", text)]) == [found]


PIECE = st.sampled_from(
    ["http://", "https://", "www.", "a", ".b", " ", "\n", "é", "\x1c", "<", "\u3000"]
)


@given(st.lists(st.lists(PIECE, max_size=8).map("".join), min_size=1, max_size=5))
def test_both_forms_agree(conversation, scores_of, texts):
    scores_of(Url(), [conversation("q", text) for text in texts])


def test_rules():
    assert Url().keep(9) is None
    assert Url(max=0).keep(1) == "web address found"
    assert Url(max=2).keep(3) == "more than 2 web addresses"
    assert Url(max=2).keep(2) is None
