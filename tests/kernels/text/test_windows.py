"""Windows hold every text that lies between sentences, nearly or exactly as it is."""

import random

from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.windows import LONGEST_WINDOW, window_lengths, windows
from curate.kernels.text.words import compared_words

SENTENCES = [
    "One two three.",
    "How many are there?",
    "A; b: c",
    "（一。二）。",
    "x" * 9,
    "",
    " \n",
    "1.5 $",
    "e\u0301!",
]


@given(st.lists(st.sampled_from(SENTENCES)), st.sampled_from([(4,), (4, 8), (8, 64), ()]))
def test_a_window_is_a_part_of_the_text_once_and_of_its_length(parts, lengths):
    text = " ".join(parts)
    found = list(windows(text, lengths))
    assert len(found) == len(set(found)) or len(set(parts)) < len(parts)
    for one in found:
        assert one in text and one == one.strip() != ""
        counts = len(compared_words(one))
        assert any(length / 2 <= counts <= 2 * length for length in lengths)


def test_a_hidden_text_of_sentences_is_a_window():
    dice = random.Random("windows")
    words = [f"word{n}" for n in range(60)]

    def sentence(least, most):
        return " ".join(dice.choices(words, k=dice.randint(least, most))) + "."

    exact = 0
    for _ in range(200):
        hidden = " ".join(sentence(6, 20) for _ in range(dice.randint(1, 4)))
        around = [" ".join(sentence(4, 20) for _ in range(dice.randint(1, 6))) for _ in range(2)]
        lengths = window_lengths([len(compared_words(hidden))])
        found = list(windows(f"{around[0]} {hidden}\n{around[1]}", lengths))
        own = len(compared_words(hidden))
        nearest = max(found, key=lambda one: _shared(one, hidden))
        assert _shared(nearest, hidden) >= 0.5 * own
        assert len(compared_words(nearest)) <= 2 * own
        exact += hidden in found
    assert exact >= 80


def _shared(one, hidden):
    """Count the words of the longest common part that begins or ends `hidden`."""
    if hidden in one or one in hidden:
        return len(compared_words(min(one, hidden, key=len)))
    size = min(len(one), len(hidden))
    lengths = [n for n in range(size) if one.endswith(hidden[:n]) or one.startswith(hidden[-n:])]
    return len(compared_words(hidden[: max(lengths, default=0)]))


def test_lengths_are_powers_of_two_between_the_shortest_and_the_longest():
    assert window_lengths([1, 3, 10, 45, 47, 5000, 0]) == (4, 8, 32, 64, LONGEST_WINDOW)
    assert window_lengths([]) == window_lengths([0]) == ()


def test_a_sentence_without_end_is_read_in_pieces():
    found = list(windows("x " * 1000, (LONGEST_WINDOW,)))
    assert {len(one.split()) for one in found} == {LONGEST_WINDOW, 1000 % LONGEST_WINDOW}
    assert sum(len(one.split()) for one in found) == 1000
