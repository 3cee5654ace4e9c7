"""Columns, cuts and two columns of texts, whatever the texts hold."""

import pytest

from curate.cli.text_layout import beside, clipped, headed, squeezed, table, width, wrapped


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "41")


def test_width_follows_the_terminal_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for columns in ("10", "90", "999"):
        monkeypatch.setenv("COLUMNS", columns)
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
