"""What a vote says, in every way in which tools write it."""

import pytest

from curate.read.shapes.people.vote_values import (
    VoteValue,
    parse_scale,
    sides_among,
    strength_of,
    vote_value,
)

LETTERS, NUMBERS = ("response_a", "response_b"), ("answer1", "answer2")
FIRST, SECOND, TIE = VoteValue(1, None), VoteValue(-1, None), VoteValue(0, 0.0)


@pytest.mark.parametrize(
    ("value", "sides", "verdict"),
    [
        ("A", LETTERS, FIRST),
        ("response_b", LETTERS, SECOND),
        ("Model B", LETTERS, SECOND),
        ("left", NUMBERS, FIRST),
        ("second", LETTERS, SECOND),
        (1, NUMBERS, FIRST),
        ("2", NUMBERS, SECOND),
        (2.0, NUMBERS, SECOND),
        (0, ("response_0", "response_1"), FIRST),
        ("gpt", ("gpt_answer", "llama_answer"), FIRST),
        ("Tie", LETTERS, TIE),
        ("tie (bothbad)", LETTERS, TIE),
        ("neither", LETTERS, TIE),
        ("A and B are equally good", LETTERS, TIE),
        ("no preference", LETTERS, TIE),
        ("negligibly better / unsure", LETTERS, TIE),
        ("A is much better", LETTERS, VoteValue(1, 3.0)),
        ("significantly better: B", LETTERS, VoteValue(-1, 3.0)),
        ("B is better", LETTERS, VoteValue(-1, 2.0)),
        ("A is better than B", LETTERS, VoteValue(1, 2.0)),
        ("a bit better: b", LETTERS, VoteValue(-1, 1.0)),
        ("B is slightly worse", LETTERS, VoteValue(1, 1.0)),
        ("slightly better", ("chosen", "rejected"), VoteValue(1, 1.0)),
        ([{"selected": "right"}], NUMBERS, SECOND),
        ('[{"selected": "right"}]', NUMBERS, SECOND),
        ({"choices": ["B is better"]}, LETTERS, VoteValue(-1, 2.0)),
    ],
)
def test_a_vote_says_who_wins_and_by_how_much(value, sides, verdict):
    assert vote_value(value, sides) == verdict


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " ",
            "not A",
            "no, B",
            "A great answer by B",
            "A>B",
            "A=B",
            "C",
            "perhaps",
            "maybe A",
        ),
        *(3, 1.5, True, None, [], ["A", "B"], {"a": 1}, float("nan"), float("inf"), "slightly"),
    ],
)
def test_a_vote_is_not_guessed_at(value):
    with pytest.raises(ValueError, match="a vote is the name of an answer's column"):
        vote_value(value, LETTERS)


@pytest.mark.parametrize(
    ("value", "scale", "verdict"),
    [
        (1, "1-7", VoteValue(1, 3.0)),
        ("4", "1-7", TIE),
        (7, "1-7", VoteValue(-1, 3.0)),
        (-1, "-3..3", VoteValue(1, 1.0)),
        ("5", "1 to 8", VoteValue(-1, 0.5)),
    ],
)
def test_a_number_on_a_scale_is_as_strong_as_it_is_far_from_the_middle(value, scale, verdict):
    assert vote_value(value, LETTERS, parse_scale(scale)) == verdict


def test_a_number_beyond_its_scale_and_a_scale_that_is_none_are_refused():
    with pytest.raises(ValueError, match="the vote 8 lies outside its scale 1-7"):
        vote_value(8, LETTERS, (1, 7))
    for text in ("7", "7-1", "1-1", "a-b", "1-7-9"):
        with pytest.raises(ValueError, match="a scale is written LOW-HIGH"):
            parse_scale(text)


def test_a_strength_may_stand_alone():
    assert [strength_of(v) for v in ("much better", "better", "slightly", 2, "0.5")] == [
        3.0, 2.0, 1.0, 2.0, 0.5,
    ]  # fmt: skip
    for value in (None, "", "great", -1, True):
        with pytest.raises(ValueError, match="a strength is much, better"):
            strength_of(value)


@pytest.mark.parametrize(
    ("names", "sides"),
    [
        (["prompt", "response_b", "response_a"], ("response_a", "response_b")),
        (["Answer 1", "Answer 2"], ("Answer 1", "Answer 2")),
        (["conversation_a", "conversation_b", "model_a", "model_b"],
         ("conversation_a", "conversation_b")),
        (["left", "right"], ("left", "right")),
        (["rejected", "chosen"], ("chosen", "rejected")),
        (["response_1", "response_2", "response_0"], ("response_1", "response_2")),
    ],
)  # fmt: skip
def test_columns_of_answers_are_told_by_their_ends(names, sides):
    assert sides_among(names) == sides


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["prompt", "response"], "no two columns can hold the two answers"),
        (["response_a", "response_b", "answer_1", "answer_2"], "several pairs of columns can hold"),
        (["text_a", "text_b", "text_1", "text_2"], "several pairs of columns can hold"),
    ],
)
def test_columns_that_leave_a_choice_are_named(names, said):
    with pytest.raises(ValueError, match=said):
        sides_among(names)
