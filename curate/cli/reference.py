"""Write the reference pages from the code: `python -m curate.cli.reference [FOLDER]`.

The pages are kept in the repository so that they can be read there and in changes; a test says when
they are out of date.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.cli.main import COMMANDS, app, load
from curate.recipe import catalog
from curate.recipe.schema import recipe_schema

WIDTH = 100
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
NOTE = "<!-- Written by `python -m curate.cli.reference`; do not edit. -->\n"


def pages() -> dict[str, str]:
    """Return every page of the reference by file name."""
    import typer

    commands = []
    root = typer.main.get_command(app)
    top = root.context_class(root, info_name="curate", max_content_width=WIDTH, **_SETTINGS)
    commands += [NOTE, "# Command line", "", _help(root, top), ""]
    for name in COMMANDS:
        command = load(name)
        here = command.context_class(command, info_name=name, parent=top, **_SETTINGS)
        commands += [f"## curate {name}", "", _help(command, here), ""]
        for inner in getattr(command, "commands", {}).values():
            within = inner.context_class(inner, info_name=inner.name, parent=here, **_SETTINGS)
            commands += [f"### curate {name} {inner.name}", "", _help(inner, within), ""]
    return {
        "cli.md": "\n".join(commands),
        "steps.md": "\n".join(_steps()),
        "shapes.md": "\n".join(_shapes()),
        "recipe.schema.json": json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n",
    }


def write(folder: Path) -> None:
    """Write the pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


_SETTINGS: Mapping[str, Any] = {"terminal_width": WIDTH, "help_option_names": ["-h", "--help"]}


def _help(command: Any, context: Any) -> str:
    return f"```text\n{command.get_help(context).rstrip()}\n```"


def _steps() -> Iterator[str]:
    """Yield the page of operators, family by family."""
    own = [op for op in catalog.operators().values() if op.distribution == "curate-align"]
    yield from (NOTE, "# Steps", "")
    yield "Fields marked as a rule only decide: changing one asks no model again."
    yield ""
    for family in sorted({operator.family for operator in own}):
        yield from (f"## {family.capitalize()}", "")
        for operator in own:
            if operator.family == family:
                cls = catalog.find(operator.name)
                step = catalog.describe(cls)
                yield from (f"### {step['name']}", "", f"*{step['kind']}*", "")
                prose = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")[0]
                yield from (prose.rstrip(), "")
                if step["fields"]:
                    yield "| field | default | value | |"
                    yield "|---|---|---|---|"
                    for field in step["fields"]:
                        text = json.dumps(field["default"], ensure_ascii=False)
                        text = text if len(text) <= 60 else text[:57] + "..."
                        default = "required" if field["required"] else f"`{text}`"
                        rule = "rule" if field["rule"] else ""
                        cells = [f"`{field['name']}`", default, field["type"], rule]
                        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
                    yield ""
                if step["extra"]:
                    yield from (f"Needs `pip install 'curate-align[{step['extra']}]'`.", "")
                yield from (f"Source: {step['source']}", "")


def _shapes() -> Iterator[str]:
    """Yield the page of shapes: those that are read and written, and those only written."""
    from curate.read.shapes import shapes
    from curate.write.formats import by_module

    yield from (NOTE, "# Shapes", "")
    yield "How a file is told apart and read, and what `--as` writes. Columns that a shape does not"
    yield "know travel along. A file is recognised by its first records; `--shape` overrides that."
    yield from ("", "## Read and written", "", "| shape | rows | |", "|---|---|---|")
    for found in shapes().values():
        first = found.doc.partition("\n")[0].replace("|", "\\|")
        yield f"| `{found.name}` | {found.kind} | {first} |"
    yield from ("", "## Written for trainers and tools", "")
    for module, formats in by_module().items():
        yield from (inspect.cleandoc(module.__doc__ or ""), "", "| format | rows |", "|---|---|")
        yield from (f"| `{name}` | {form.kind} |" for name, form in formats.items())
        yield ""


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
