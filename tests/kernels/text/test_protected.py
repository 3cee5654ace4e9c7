"""Protected spans: what a translation must not change is found, and compared by kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.protected import differences, protected

TEXT = """Run `pip install x` for {name}, then see https://a.b/c?d=1.

```python
x = 1  # 7 lines
```

It costs 1,234.5 EUR (3.14 %), says me@x.org to <b>[NAME]</b>, %s and {{ item.id }}."""


def test_each_kind_is_found_and_none_inside_another() -> None:
    found = protected(TEXT)
    assert found.code == ("`pip install x`", "```python\nx = 1  # 7 lines\n```")
    assert found.urls == ("https://a.b/c?d=1", "me@x.org")
    assert found.variables == ("{name}", "<b>", "[NAME]", "</b>", "%s", "{{ item.id }}")
    assert [set(values) for values in found.numbers] == [{"1234.5"}, {"3.14"}]
    assert not any(piece in found.prose for piece in ("pip", "http", "name", "1"))


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("code", "pip install x", "pip install y"),
        ("code", "x = 1  # 7 lines", "x = 1  # 7 Zeilen"),
        ("URLs", "?d=1", "?d=2"),
        ("URLs", "me@x.org", "ich@x.org"),
        ("variables", "{name}", "{nom}"),
        ("variables", "%s", ""),
        ("variables", "</b>", ""),
        ("numbers", "3.14", "31.4"),
        ("numbers", "1,234.5", "1,234"),
    ],
)
def test_a_change_is_named_by_its_kind(kind: str, old: str, new: str) -> None:
    assert old in TEXT
    found = differences(TEXT, TEXT.replace(old, new))
    assert list(found) == [kind]
    assert any(entry.startswith("-") for entry in found[kind])


def test_words_order_and_the_marks_of_numbers_may_change() -> None:
    other = (
        TEXT.replace("1,234.5", "1.234,5").replace("3.14", "3,14").replace("It costs", "Es kostet")
    )
    assert differences(TEXT, other) == {}
    assert differences("a {x} b {y} 1 2", "2 {y} a 1 {x}") == {}
    assert differences("12,000 and 7", "12\u202f000 et 7") == {}
    assert differences("in 2024", "\u0662\u0660\u0662\u0664") == {}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1,234", "1.234", True),
        ("1,234", "1234", True),
        ("1,234.50", "1 234,5", True),
        ("1,234,567", "1.234.567", True),
        ("5.0", "5", True),
        # A number that can be read in two ways is taken in either: 1,000 is 1 to a German.
        ("1,000", "1", True),
        ("0.5", "0,5", True),
        ("0.5", "5", False),
        ("3.1.2", "3.1.3", False),
        ("3.1.2", "3.1.2", True),
        ("007", "7", False),
        ("10", "10 10", False),
    ],
)
def test_numbers_are_compared_by_value(one: str, other: str, equal: bool) -> None:
    assert (differences(one, other) == {}) is equal


@given(st.text(st.sampled_from("a1.,`{}% \n<>[]A@:/$_"), max_size=80))
def test_any_text_equals_itself_and_differs_from_one_number_more(text: str) -> None:
    assert differences(text, text) == {}
    if not protected(text).code:
        assert "numbers" in differences(f"{text} und", f"{text} und 4711")


def test_of_two_readings_of_one_length_the_same_is_shown_in_every_run() -> None:
    # Sets of texts have another order in each process: of many, one would show it.
    for number in (n for n in range(11, 100) if n % 10):
        assert differences(f"1,{number}0", "") == {"numbers": [f"-1.{number}"]}
        assert differences("", f"1,{number}0") == {"numbers": [f"+1.{number}"]}


# By a look at every rest of the text, or at every pair of numbers, these would take minutes.
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    ["a." * 200_000, "1a" * 50_000, " ".join(str(n) for n in range(40_000))],
    ids=["a word like an address", "a word of digits and letters", "many numbers"],
)
def test_long_texts_are_compared(text: str) -> None:
    assert differences(text, text) == {}
