"""The reference pages in docs/ say what the code says."""

import re
from pathlib import Path

import pytest
import yaml

from curate.cli.main import COMMANDS
from curate.cli.reference import FOLDER, llms_text, pages, write
from curate.recipe.catalog import operators
from curate.write import format_names, kind_of


@pytest.mark.parametrize("name", ["cli.md", "steps.md", "shapes.md", "recipe.schema.json"])
def test_the_reference_is_up_to_date(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == pages()[name], "run: python -m curate.cli.reference"


def test_it_names_every_command_and_step(tmp_path: Path) -> None:
    write(tmp_path)
    commands = (tmp_path / "cli.md").read_text()
    assert all(f"\n## curate {name}\n" in commands for name in COMMANDS)
    assert "### curate store gc" in commands
    assert "--retry-failed" in commands
    steps = (tmp_path / "steps.md").read_text()
    own = [name for name, op in operators().items() if op.distribution == "curate-align"]
    assert all(f"\n### {name}\n" in steps for name in own)
    shapes = (tmp_path / "shapes.md").read_text()
    assert all(f"\n| `{name}` | {kind_of(name)} |" in shapes for name in format_names())


def test_pages_do_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = pages()
    monkeypatch.setenv("COLUMNS", "50")
    assert pages() == wide


def test_the_list_of_pages_for_programs_is_that_of_the_navigation() -> None:
    docs = FOLDER.parent
    text = (docs / "llms.txt").read_text(encoding="utf-8")
    assert text == llms_text(docs), "run: python -m curate.cli.reference"
    # The form of llmstxt.org: one title, a quotation, sections of links.
    title, _, quotation, *_ = text.splitlines()
    assert title == "# curate" and quotation.startswith("> `curate` turns raw instructions")
    sections = re.findall(r"(?m)^## (.+)$", text)
    assert sections[0] == "Pages" and sections[-1] == "Optional" and "How to" in sections
    listed = re.findall(r"(?m)^- \[[^\]]+\]\(([^)]+)\)", text)
    nav = re.findall(r"(\S+\.md)$", (docs / "material/mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(nav)
    assert all((docs / path).is_file() for path in [*listed, "agents/curate/SKILL.md"])


def test_the_skill_has_a_head_and_names_commands_that_exist() -> None:
    text = (FOLDER.parent / "agents" / "curate" / "SKILL.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    about = yaml.safe_load(head)
    assert set(about) == {"name", "description"} and about["name"] == "curate"
    # The limits that agents' tools have.
    assert len(about["description"]) <= 1024 and len(body.splitlines()) < 60
    named = re.findall(r"`curate ([a-z]+)", body)
    assert "agent" in named and set(named) <= set(COMMANDS)
