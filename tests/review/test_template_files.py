"""Templates saved into files: nothing is overwritten unasked, nothing else in a file changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import UsageError
from curate.prompts import collection as collections
from curate.prompts.collection import TaskTemplate
from curate.review.local_page import Conflict
from curate.review.template_files import TemplateFolder, template_of

JINJA = "{{ text }}\n\nWhat is it?\n|||\n{{ answer_choices[label] }}"


def template(name: str = "kind", jinja: str = JINJA, **fields: Any) -> TaskTemplate:
    return template_of({"name": name, "jinja": jinja, **fields})


def digest(folder: TemplateFolder, name: str) -> str:
    return next(one.digest for one in folder.files() if one.name == name)


def test_a_new_file_is_what_the_step_reads(tmp_path: Path) -> None:
    folder = TemplateFolder(tmp_path / "templates")
    one = template(answer_choices="a ||| b", metadata={"choices_in_prompt": True, "x": ["y"]})
    folder.save("news", "my news", one, seen=None)
    found = collections.load(str(tmp_path / "templates" / "news.yaml"))
    assert (found.title, found.templates) == ("my news", (one,))
    assert [path.name for path in (tmp_path / "templates").iterdir()] == ["news.yaml"]
    # A request that is sent again, because its reply got lost, changes nothing.
    assert folder.save("news.yaml", "my news", one, seen=None).templates == (one,)


WRITTEN = """# by hand
dataset: d
templates:
    one:  # the first
        name: first
        jinja: |-
          # a heading, no comment
          {{ x }}   |||  y

    # about the second
    two: !Template
        name: second
        jinja: "{{x}} ||| z"
        metadata: !TemplateMetadata {choices_in_prompt: true}
# the end
source: s
"""


def test_what_stands_in_a_file_stays_to_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_bytes(WRITTEN.replace("\n", "\r\n").encode())
    folder = TemplateFolder(tmp_path)
    folder.save("d", "ignored", template("third"), seen=digest(folder, "d.yaml"))
    lines = path.read_bytes().decode().splitlines(keepends=True)
    start = lines.index("    third:\n")
    end = next(k for k in range(start + 1, len(lines)) if not lines[k].startswith("     "))
    # One of the added lines is blank: it stands in the template.
    end = end if lines[end].strip() else lines.index("source: s\r\n")
    assert "".join(lines[:start] + lines[end:]) == WRITTEN.replace("\n", "\r\n")
    assert [one.name for one in collections.load(str(path)).templates] == [
        "first",
        "second",
        "third",
    ]


@pytest.mark.parametrize("name", ["first", "second"])
def test_replacing_one_leaves_the_others_and_their_comments(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d.yaml"
    path.write_text(WRITTEN)
    folder = TemplateFolder(tmp_path)
    new = template(name, "{{ y }} ||| new")
    with pytest.raises(Conflict, match=f"has a template '{name}' already"):
        folder.save("d", "", new, seen=digest(folder, "d.yaml"))
    assert path.read_text() == WRITTEN
    folder.save("d", "", new, seen=digest(folder, "d.yaml"), replace=True)
    text = path.read_text()
    for comment in ("# by hand", "# about the second", "# the end", "source: s"):
        assert comment in text
    by_name = {one.name: one for one in collections.load(str(path)).templates}
    assert list(by_name) == ["first", "second"]
    assert by_name[name].jinja == new.jinja
    assert by_name[name].id == {"first": "one", "second": "two"}[name]
    assert ("# a heading" in text) is (name == "second")


def test_a_file_that_the_page_does_not_know_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "d.yaml"
    path.write_text(WRITTEN)
    folder = TemplateFolder(tmp_path)
    before = digest(folder, "d.yaml")
    with pytest.raises(Conflict, match="is there already and holds 'first', 'second'"):
        folder.save("d", "d", template(), seen=None)
    path.write_text(WRITTEN.replace("by hand", "by another hand"))
    with pytest.raises(Conflict, match="was changed since it was read"):
        folder.save("d", "d", template(), seen=before)
    assert "by another hand" in path.read_text() and "kind" not in path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("dataset: d\ntemplates: {a: {name: a, jinja: x ||| y}}\n", "in braces"),
        ("", "must be a mapping"),
    ],
)
def test_a_file_that_cannot_take_one_says_why(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "d.yaml"
    path.write_text(text)
    folder = TemplateFolder(tmp_path)
    with pytest.raises(UsageError, match=message):
        folder.save("d", "d", template(), seen=digest(folder, "d.yaml"))
    assert path.read_text() == text


@pytest.mark.parametrize(
    "name",
    [
        "../d",
        "a/b",
        "/etc/d",
        ".hidden",
        "..",
        "",
        "d\n",
        "d\0",
        "ü",
        "a" * 90,
        None,
        3,
        "d.yaml/x",
    ],
)
def test_a_name_leads_nowhere_else(tmp_path: Path, name: Any) -> None:
    with pytest.raises(UsageError, match="the file's name is"):
        TemplateFolder(tmp_path / "inner").save(name, "d", template(), seen=None)
    assert not list(tmp_path.rglob("*.yaml"))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("theirs")
    (tmp_path / "d.yaml").symlink_to(tmp_path / "other.txt")
    with pytest.raises(UsageError, match="is a link"):
        TemplateFolder(tmp_path).save("d", "d", template(), seen=None)
    assert (tmp_path / "other.txt").read_text() == "theirs"


@pytest.mark.parametrize(
    "given",
    [
        {"name": " "},
        {"name": "a\x1b[31m"},
        {"name": "n" * 201},
        {"jinja": 3},
        {"jinja": "\ud800"},
        {"metadata": [1]},
        {"metadata": {"a": {"b": 1}}},
    ],
)
def test_what_is_no_template_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        template_of({"name": "a", "jinja": "b", **given})


def test_two_names_may_give_one_id(tmp_path: Path) -> None:
    folder = TemplateFolder(tmp_path)
    folder.save("d", "d", template("a b"), seen=None)
    folder.save("d", "d", template("a-b"), seen=digest(folder, "d.yaml"))
    folder.save("d", "d", template("日本"), seen=digest(folder, "d.yaml"))
    ids = [one.id for one in collections.load(str(tmp_path / "d.yaml")).templates]
    assert ids[:2] == ["a_b", "a_b_2"] and len(set(ids)) == 3


@settings(max_examples=60)
@given(
    before=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    choices=st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    place=st.sampled_from(["new", "added", "replaced"]),
)
def test_any_text_comes_back_as_it_was_written(
    before: str, choices: str | None, place: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = before.replace("{", "").replace("|", "").replace("#", "")
    one = template("it", f"{plain}|||{plain}", answer_choices=choices and choices.replace("{", ""))
    folder = TemplateFolder(tmp_path_factory.mktemp("t"))
    if place == "new":
        found = folder.save("d", "d", one, seen=None)
    else:
        name = "it" if place == "replaced" else "other"
        folder.save("d", "d", template(name, "a ||| b"), seen=None)
        folder.save("d", "d", template("z", "z ||| z"), seen=digest(folder, "d.yaml"))
        found = folder.save("d", "d", one, seen=digest(folder, "d.yaml"), replace=True)
    kept = next(t for t in found.templates if t.name == "it")
    assert (kept.jinja, kept.answer_choices) == (one.jinja, one.answer_choices)
    assert collections.load(str(found.path)).templates == found.templates
