"""Texts to keep: whole, not empty, without control characters, and not stuck in a loop."""

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.prompts.replies.usable_text import is_loop, written

SONG = "Row, row, row your boat gently down the stream. " * 4
TABLE = "| a | b |\n|---|---|\n" + "".join(f"| {n} | {n * n} |\n" for n in range(40))


@pytest.mark.parametrize("text", ["A text.", SONG, TABLE, "No! No! No!", "=" * 120, "哈哈哈哈"])
def test_what_people_write_is_kept(text: str) -> None:
    assert written(Reply(text=f" {text}\n"), "the answer") == text.strip()


def test_reasoning_before_it_is_no_part_of_it() -> None:
    assert written(Reply(text="<think>Hm.</think>Yes."), "the answer") == "Yes."


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(text=" \n"), "the answer is empty"),
        (Reply(text="<think>Hm.</think>  "), "the answer is empty"),
        (Reply(text="Half of", finish_reason="length"), "cut off at max_tokens"),
        (Reply(text="A\x00B"), r"control character \(U\+0000\)"),
        (Reply(text="\x1b[31mred"), "control character"),
        (Reply(text="word " * 10_000), "repeats itself over and over"),
        (Reply(text="So it begins. " + "a b c d e f g h " * 40), "repeats itself over and over"),
        (Reply(text="の" * 10_000), "repeats itself over and over"),
        (Reply(text="ab" * 5_000), "repeats itself over and over"),
    ],
)
def test_what_is_none_fails_and_keeps_its_reply(reply: Reply, why: str) -> None:
    keyed = Reply(**{**vars(reply), "key": "k"})
    with pytest.raises(UnusableReply, match=why) as error:
        written(keyed, "the answer")
    assert error.value.key == "k"


def test_a_loop_is_more_than_half_of_the_text() -> None:
    varied = " ".join(f"word{n}" for n in range(80))
    assert not is_loop(f"{varied} " + "again " * 60)
    assert is_loop(f"{varied} " + "again " * 90)
