"""Columns, cuts and two columns of texts, whatever the texts hold."""

import pytest

from curate.cli.text_layout import (
    Tinted,
    beside,
    clipped,
    columns,
    headed,
    squeezed,
    table,
    width,
    wrapped,
)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "41")


def test_width_follows_the_terminal_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for size in ("10", "90", "999"):
        monkeypatch.setenv("COLUMNS", size)
        found.append(width())
    assert found == [40, 90, 160]


def test_columns_line_up_and_escape() -> None:
    assert table(["a", "bb"], [["xxx", "y"], ["\x1b", ""]]) == "a     bb\nxxx   y\n\\x1b"


def test_the_head_of_every_paragraph_is_bold() -> None:
    bold, plain = "\x1b[1m", "\x1b[0m"
    said = headed("sum\n\nhead\n  line\n  line\n\n1 s")
    assert said == f"{bold}sum{plain}\n\n{bold}head{plain}\n  line\n  line\n\n1 s"


def test_a_text_is_cut_to_one_line() -> None:
    assert clipped("two\nlines  here", 20) == "two lines here"
    assert clipped("much too long for this", 10) == "much to..."
    assert clipped("\x07", 10) == "\\x07"


def test_a_text_is_squeezed_to_its_beginning_and_end() -> None:
    assert squeezed("two\nlines  here", 20) == "two lines here"
    assert squeezed("abcdefghijklmnopqrstuvwxyz", 20) == "abcdefghij ... vwxyz"
    assert len(squeezed("x" * 99, 41)) == 41
    assert squeezed("one two three four five six seven", 24) == "one two ... seven"


def test_lines_are_wrapped_and_counted() -> None:
    assert wrapped("aaa bbb\n\nccc", 4) == ["aaa", "bbb", "", "ccc"]
    assert wrapped("a\nb\nc\nd", 4, 3) == ["a", "...", "d"]
    text = "\n".join("abcdefgh")
    assert wrapped(text, 4, 6, "({} more)") == ["a", "b", "c", "(3 more)", "g", "h"]
    assert wrapped(text, 4, 8) == list("abcdefgh")


def test_texts_stand_beside_each_other_and_hang_below_themselves() -> None:
    assert beside(["one two three four five", "six"], ["x", "  to be or not to be"]) == (
        "one two three four  | x\n"
        "five                |   to be or not to\n"
        "six                 |   be"
    )
    assert beside(["a\nb\nc"], [], most=2) == "a                   |\n...                 |"


def test_wide_characters_take_two_columns_and_combining_ones_none() -> None:
    texts = ("abc", "\u65e5\u672c", "e\u0301", "\uff21", "\U0001f600")
    assert [columns(text) for text in texts] == [3, 4, 1, 2, 2]
    assert wrapped("\u65e5\u672c\u8a9e ab", 4) == ["\u65e5\u672c", "\u8a9e", "ab"]
    assert wrapped("a\u65e5\u672c\u8a9e", 4) == ["a\u65e5", "\u672c\u8a9e"]
    mixed = wrapped("e\u0301" * 9 + "\u65e5" * 9, 4)
    assert "".join(mixed) == "e\u0301" * 9 + "\u65e5" * 9 and max(map(columns, mixed)) == 4
    assert wrapped("\x00\u65e5", 9) == ["\\x00\u65e5"]
    assert table([], [["\u65e5", "x"], ["abc", "y"]]) == "\u65e5   x\nabc  y"
    # Ten of them would take a column more than there is.
    first, second = "\u65e5" * 9, "\u65e5" * 2
    assert beside([first + second], ["x", "y"]) == f"{first}  | x\n{second}                | y"


def test_colours_are_of_the_head_and_take_no_room() -> None:
    left = [Tinted("user: one\ntwo: x", "cyan"), Tinted("\x1b[31m: y"), Tinted("z", "red")]
    assert beside(left, ["a"]) == (
        "\x1b[36muser:\x1b[0m one           | a\n"
        "two: x              |\n"
        "\\x1b[31m: y         |\n"
        "\x1b[31mz\x1b[0m                   |"
    )
