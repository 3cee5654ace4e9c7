"""The score that a reply states most often."""

import pytest

from curate.prompts.replies.stated_scores import most_stated


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Final score: 7", 7),
        ("a. It asks for 3 tips.\nb. It gives 2 of them.\nFinal score: 6", 6),
        ("The helpfulness score is 4, for it lacks 2 steps.", 4),
        ("8/9", 8),
        ("I would give it 5 out of 9 points.", 5),
        ("6.5", 6.5),
        ("**Final score:** 7", 7),
        # The most common one, and of equals the first.
        ("Score: 4\nThe score is 8.\nFinal score: 8", 8),
        ("Score: 4\nFinal score: 8", 4),
        # One number in one place is one statement, whatever forms it has.
        ("Final score: 8/9 points\nscore: 3\nrating: 3", 3),
        ("Correctness: 0", 0),
        ("Score: 12\nFinal score: 9", 9),
    ],
)
def test_it_is_read(text, score):
    assert most_stated(text, 0, 9, ("helpfulness", "correctness")) == score


@pytest.mark.parametrize(
    "text",
    ["", "It is good.", "Score: 12", "Final score: 7-8", "Score: 7/10", "Score: n/a", "in 1999"],
)
def test_what_states_none_is_unusable(text):
    with pytest.raises(ValueError, match="states no score from 0 to 9"):
        most_stated(text, 0, 9, ("helpfulness",))
