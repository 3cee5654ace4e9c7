"""`curate steps`: which operators there are, and what each one takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from curate.cli.failures import say
from curate.cli.flags import Debug, steps_that_begin


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="One operator, described in full.",
            autocompletion=steps_that_begin,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a list of JSON: name, kind, summary, source, fields, extra."
        ),
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of recipes, for editors.")
    ] = False,
    debug: Debug = False,
) -> None:
    """List the operators, or describe one."""
    from curate.cli.text_layout import headed, json_text, width, wrapped
    from curate.recipe import catalog
    from curate.recipe.schema import recipe_schema

    if schema:
        typer.echo(json_text(recipe_schema()))
        return
    classes, problems = ([catalog.find(name)], []) if name is not None else catalog.usable()
    for problem in problems:
        say(f"left out: {problem}")
    found = [catalog.describe(cls) for cls in classes]
    if as_json:
        typer.echo(json_text(found))
    elif name is not None:
        typer.echo(_in_full(classes[0], found[0]))
    else:
        lines: list[str] = []
        families = {step["name"]: catalog.operators()[step["name"]].family for step in found}
        size = max(map(len, families), default=0)
        for family in sorted(set(families.values())):
            lines.append(family)
            for step in found:
                if families[step["name"]] == family:
                    first, *rest = wrapped(step["summary"], width() - size - 4)
                    lines.append(f"  {step['name']:<{size}}  {first}")
                    lines.extend(f"{'':<{size + 4}}{line}" for line in rest)
            lines.append("")
        lines.append("`curate steps NAME` shows one with its fields")
        typer.echo(headed("\n".join(lines)))


def _in_full(cls: type[Any], step: Mapping[str, Any]) -> str:
    """Return everything there is to know about one operator."""
    import inspect
    import json

    from curate.cli.text_layout import table
    from curate.system.package_data import install_command

    lines = [f"{step['name']} ({step['kind']})", "", inspect.cleandoc(cls.__doc__ or ""), ""]
    fields = [
        [
            f["name"],
            "required" if f["required"] else json.dumps(f["default"], ensure_ascii=False),
            f["type"],
            "rule" if f["rule"] else "",
        ]
        for f in step["fields"]
    ]
    lines += [table(["field", "default", "type", ""], fields), ""]
    if step["source"]:
        lines.append(f"source: {step['source']}")
    if step["extra"]:
        lines.append(f"needs:  {install_command(step['extra'])}")
    if any(field["name"] == "encoder" for field in step["fields"]):
        lines.append(f"needs:  for the default encoder: {install_command('local')}")
    default = next((f["default"] for f in step["fields"] if f["name"] == "prompt"), None)
    if isinstance(default, str):
        from curate.prompts import load

        # The default prompt as its file has it, and where to copy it from.
        prompt = load(default)
        text = prompt.path.read_text(encoding="utf-8").rstrip()
        lines += ["", f"prompt '{default}', from {prompt.path}:", "", text]
    return "\n".join(lines).rstrip()
