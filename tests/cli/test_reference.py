"""The reference pages in docs/ say what the code says."""

from pathlib import Path

import pytest

from curate.cli.main import COMMANDS
from curate.cli.reference import FOLDER, pages, write
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
