"""Write the reference pages from the code: `python -m curate.cli.reference [FOLDER]`.

The pages are kept in the repository so that they can be read there and in changes; a test says when
they are out of date. So is `llms.txt`, the manual's list of pages for programs
(https://llmstxt.org), which is made of the navigation.
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
from curate.system.package_data import recipes

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


def llms_text(docs: Path) -> str:
    """Return the pages of the manual in `docs` as a list for programs, section by section."""
    import yaml

    config = docs / "material" / "mkdocs.yml"
    nav = yaml.safe_load(config.read_text(encoding="utf-8"))["nav"]
    sections: dict[str, list[Any]] = {"Pages": [], "Optional": []}
    for entry in nav:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            sections[title] = target
        else:
            # Long, and about how it came to be: a program may leave them out.
            optional = target in ("log.md", "CHANGELOG.md")
            sections["Optional" if optional else "Pages"].append(entry)
    sections["Optional"] = sections.pop("Optional")
    start = (docs / "index.md").read_text(encoding="utf-8")
    lines = ["# curate", "", f"> {' '.join(start.split(chr(10) * 2)[1].split())}", "", _FOR_AGENTS]
    for name, entries in sections.items():
        lines += ["", f"## {name}", ""]
        for entry in entries:
            title, path = next(iter(entry.items())) if isinstance(entry, dict) else ("", entry)
            head = (docs / path).read_text(encoding="utf-8").partition("# ")[2].partition("\n")[0]
            about = f": {head}" if title and head != title else ""
            lines.append(f"- [{title or head}]({path}){about}")
    return "\n".join(lines) + "\n"


_FOR_AGENTS = (
    "The command `curate agent` prints what an agent needs in one read: rules, exit codes,\n"
    "recipes, commands, steps. [SKILL.md](agents/curate/SKILL.md) says when to use it."
)
_SETTINGS: Mapping[str, Any] = {"terminal_width": WIDTH, "help_option_names": ["-h", "--help"]}


def _help(command: Any, context: Any) -> str:
    return f"```text\n{command.get_help(context).rstrip()}\n```"


def _steps() -> Iterator[str]:
    """Yield the page of operators, family by family."""
    own = [op for op in catalog.operators().values() if op.distribution == "curate-align"]
    yield from (NOTE, "# Steps", "")
    yield "Fields marked as a rule only decide: changing one asks no model again. Every step also"
    yield "takes `label` (its name in reports and scores) and `only` (the kinds or inputs it sees)."
    yield ""
    examples = step_examples()
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
                    yield "| field | default | value | | meaning |"
                    yield "|---|---|---|---|---|"
                    first: dict[str, str] = {}
                    for field in step["fields"]:
                        # One sentence may speak of several fields.
                        other = first.setdefault(field["doc"], field["name"])
                        said = field["doc"] if other == field["name"] else f"see `{other}`"
                        text = json.dumps(field["default"], ensure_ascii=False)
                        text = text if len(text) <= 60 else text[:57] + "..."
                        default = "required" if field["required"] else f"`{text}`"
                        rule = "rule" if field["rule"] else ""
                        cells = [f"`{field['name']}`", default, field["type"], rule, said]
                        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
                    yield ""
                yield from ("```yaml", examples[operator.name].rstrip(), "```", "")
                if step["extra"]:
                    command = f"pip install -c constraints.txt -e '.[{step['extra']}]'"
                    yield from (f"Needs the extra `{step['extra']}`: `{command}` in the clone.", "")
                yield from (f"Source: {step['source']}", "")


def step_examples() -> dict[str, str]:
    """Return an example of every step as the end of a recipe: the shortest of the ready ones.

    Steps that no ready recipe uses have theirs in `step_examples.yaml`.
    """
    import yaml

    from curate.system.plain_yaml import parse, read_text

    own = Path(__file__).with_name("step_examples.yaml")
    found: dict[str, list[Any]] = dict(parse(*read_text(own)).data)
    written = set(found)
    for path in recipes().values():
        for step in parse(*read_text(path)).data["steps"]:
            name = step if isinstance(step, str) else next(iter(step))
            best = found.get(name)
            shorter = best is None or len(str([step])) < len(str(best))
            if name not in written and shorter:
                found[name] = [step]
    form: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": WIDTH - 4}
    # Recipes read `on` as a text.
    return {
        name: str(yaml.dump({"steps": steps}, **form)).replace("'on':", "on:")
        for name, steps in found.items()
    }


def _shapes() -> Iterator[str]:
    """Yield the page of shapes: those that are read and written, and those only written."""
    from curate.read.part import GROUP_BYTES, LINE_BYTES, MOST_VALUES
    from curate.read.shapes import shapes
    from curate.write.formats import by_module

    yield from (NOTE, "# Shapes", "")
    yield "How a file is told apart and read, and what `--as` writes. Columns that a shape does not"
    yield "know travel along. A file is recognised by its first records; `--shape` overrides that."
    yield ""
    most, group = LINE_BYTES >> 20, GROUP_BYTES >> 20
    yield f"A record may have {most} MB and {MOST_VALUES:,} values; those of one session, tree or"
    yield f"thread {group} MB together. A larger one is a failed row. Behind it a JSON array may be"
    yield "unreadable, which its failure says; JSON lines are read on."
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
    if len(sys.argv) == 1:
        (FOLDER.parent / "llms.txt").write_text(llms_text(FOLDER.parent), encoding="utf-8")
