"""Passages are ranges of the text: nothing of it is lost, and each can be found again."""

from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.passages import passages

PIECES = st.sampled_from(
    [
        "Words. ",
        "word",
        "\n",
        "\n\n",
        "# Head\n\n",
        "```\ncode\n\nmore\n```\n",
        "語。",
        " ",
        "x" * 90,
    ]
)


@given(st.lists(PIECES, max_size=60).map("".join), st.integers(20, 200))
def test_nothing_but_white_space_lies_between_passages(text: str, most: int) -> None:
    found = passages(text, most)
    rest, done = "", 0
    for start, end in found:
        assert done <= start < end
        assert text[start:end] == text[start:end].strip()
        rest += text[done:start]
        done = end
    assert not (rest + text[done:]).strip()
    assert all(end - start <= most for start, end in found[:-1])
    assert not found or found[-1].end - found[-1].start <= most + most // 4


def cut(text: str, most: int) -> list[str]:
    return [span.of(text) for span in passages(text, most)]


def test_a_passage_ends_with_a_paragraph_and_begins_with_its_heading() -> None:
    text = "Intro words here.\n\n## Head\n\nThe first paragraph of it.\n\nThe second one."
    assert cut(text, 40) == [
        "Intro words here.",
        "## Head\n\nThe first paragraph of it.",
        "The second one.",
    ]


def test_fenced_code_stays_whole() -> None:
    code = "```python\na = 1\n\n# not a heading\nb = 2\n```"
    assert cut(f"Before it.\n\n{code}\n\nBehind it, a longer text.", 60) == [
        f"Before it.\n\n{code}",
        "Behind it, a longer text.",
    ]


def test_a_long_paragraph_is_cut_behind_sentences_else_between_words() -> None:
    assert cut("One is short. Two is short. Three is.", 28) == [
        "One is short. Two is short.",
        "Three is.",
    ]
    assert cut("alpha beta gamma delta", 12) == ["alpha beta", "gamma delta"]
    assert cut("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


def test_a_few_last_words_join_the_passage_before() -> None:
    assert cut("A paragraph of forty characters, or so.\n\nEnd.", 40) == [
        "A paragraph of forty characters, or so.\n\nEnd."
    ]
