"""YAML is read as plain data, with lines, and with nothing that runs."""

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.system.plain_yaml import dump, parse, read_text

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
)
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(DATA)
@example("\x85")
@example({"\u2028a ": "b\u2029 \n c\ufeff"})
def test_what_is_dumped_is_read_back(data: object) -> None:
    assert parse(dump(data)).data == data


def test_keys_are_text_and_dates_stay_text() -> None:
    assert parse("{on: x, 1: y, null: z, day: 2024-01-02}").data == {
        "on": "x",
        "1": "y",
        "null": "z",
        "day": "2024-01-02",
    }


def test_values_are_those_of_safe_load() -> None:
    text = "a: [1, 0x10, 1.5, true, no, ~, 'x', 12:30, 1_000]\nb: |\n  two\n  lines\n"
    assert parse(text).data == yaml.safe_load(text)


def test_aliases_and_merges_work() -> None:
    document = parse("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nsame: *b\n")
    assert document.data["more"] == {"x": 1, "y": 3}
    assert document.data["same"] == {"x": 1, "y": 2}
    assert parse("&name a: 1\nb: *name\n").data == {"a": 1, "b": "a"}


def test_every_value_knows_its_line() -> None:
    document = parse("steps:\n- length:\n    min: 3\n\n- near\n", "r.yaml")
    assert document.line(("steps", 0, "length", "min")) == 3
    assert document.line(("steps", 1)) == 5
    assert document.line(("steps", 0, "length", "absent")) == 2
    assert str(document.error(("steps", 1), "no", step="near")) == "r.yaml:5: step 'near': no"


REFUSED = [
    ("a: 1\na: 2\n", 2, "'a' is there twice .first in line 1."),
    ("a: {b: 1, b: 2}", 1, "'b' is there twice"),
    ("a:\n  - !!python/object/apply:os.system [ls]\n", 2, "plain data"),
    ("a: !!binary aGk=", 1, "plain data"),
    ("a: !!set {x}", 1, "plain data"),
    ("x: 1\na: [", 2, "not valid YAML"),
    ("? [1]\n: 2\n", 1, "a key must be a name"),
    ("a: *nowhere", 1, "undefined alias"),
    ("a: &a [*a]", 1, "contains itself"),
    ("ok: 1\nbad: a\x07b", 2, r"U\+0007"),
    ("--- 1\n--- 2\n", 2, "single document"),
    ("a: !!int x", 1, "cannot be read"),
    ("ok: 1\na: !!bool maybe", 2, "'maybe' cannot be read: it is not a valid bool"),
    ("a: !!int ''", 1, "'' cannot be read: it is not a valid int"),
    ("a: !!float '-'", 1, "'-' cannot be read"),
    ("a: {<<: 3}", 1, "takes a mapping"),
    ("[" * 5000, 1, "deeply"),
]


@pytest.mark.parametrize(("text", "line", "says"), REFUSED, ids=lambda v: str(v)[:25])
def test_what_is_refused_names_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as caught:
        parse(text, "r.yaml")
    assert caught.value.file == "r.yaml"
    assert caught.value.line == line


def test_aliases_cannot_blow_up() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    with pytest.raises(RecipeError, match="too often"):
        parse(bomb)


def test_a_path_is_told_from_a_text(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"\xef\xbb\xbfsteps: []\n")
    assert read_text(file) == read_text(str(file)) == ("steps: []\n", str(file))
    assert read_text("steps: []") == ("steps: []", None)
    with pytest.raises(RecipeError, match=r"absent.yaml: cannot be read: No such file"):
        read_text("absent.yaml")
    file.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_text(file)
