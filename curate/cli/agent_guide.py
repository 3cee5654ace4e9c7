"""What a coding agent needs to use `curate`, in one read: made of the code, so that it stays true.

The prose is `agent_guide.md`, beside this module; commands, steps, kinds, shapes, models and ready
recipes are filled in from where they are defined. A test runs what the prose says. Tools cut a long
output in its middle, so the guide is short and its rules come first; fields of steps and columns of
shapes, two thirds of what there is to know, are lists of their own.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from curate.cli.flags import Flags
from curate.cli.main import COMMANDS, load
from curate.recipe import catalog
from curate.recipe.fields import brief_field, types_of
from curate.row import KINDS

TEXT = Path(__file__).with_suffix(".md")
EXIT_CODES = {
    0: "done",
    1: "finished, but more rows failed than --allow-failed allows: look at them",
    2: "recipe, arguments or input are wrong, nothing was spent: fix what the message names",
    3: "a ceiling was reached: raise it and run the same command; the message names the amount",
    4: "stopped short (disk, store, server, a target out of reach): fix it, same command again",
    130: "interrupted: the same command continues",
}
RUN_FOLDER = {
    "kept/ used/ dropped/": "the rows, as Parquet, a folder per record kind",
    "failed/": "rows and unreadable lines, with step, error, file and line",
    "ledger/": "a folder per step: what it did to which row, with reason, score and partner",
    "report.json": "the funnel, reasons, requests, tokens and cost",
    "run.yaml": "the resolved recipe, versions, seed, input fingerprints; it is a recipe, too",
    "README.md": "a dataset card",
}
REPORT = (
    *("in", "made", "kept", "used", "dropped", "failed", "seconds", "peak_memory_mb", "steps"),
    *("figures", "requests", "tokens", "cost_usd", "unreadable"),
)
REPORT_STEPS = (
    *("label", "name", "in", "made", "kept", "used", "dropped", "failed", "reasons", "seconds"),
)
EXAMPLE = """\
name: example                       # the run folder is runs/example, unless -o names another
inputs:                             # of two equal rows the one read first stays
  ours: raw.jsonl
  theirs: {path: more.csv, columns: {instruction: question, response: answer}}
  # blank: {count: 100} would be 100 empty prompts, for steps that make something of nothing
models:
  judge: {model: "openai:NAME", base_url: "http://127.0.0.1:8000/v1", max_tokens: 256}
steps:
  - structure                       # a step without fields
  - length: {on: response, min: 3}
  - near: {similarity: 0.8, keep: longest}
  - contamination: {against: [test.jsonl], n: 13}
  - rubric: {label: quality, model: judge, at_least: 7}
  - top: {by: quality, count: 1000}
outputs:                            # kept rows by kind; of pairs it would be
  sft: clean.jsonl                  #   preference: {path: pairs.jsonl, shape: trl_dpo}
seed: 7"""
_SHARED = frozenset(item.name for item in dataclasses.fields(Flags)) - {"debug"}
# A command with more options than these is shown with those that bound what it does.
_MOST_OPTIONS = 3
_ALWAYS = frozenset(
    ("-n", "-o", "--as", "--on", "--step", "--judge", "--reward", "--check-only", "--dry-run",
     "--export", "--public", "--max-cost", "--max-requests", "--steps", "--shapes")
)  # fmt: skip
# Kinds of rows with one answer: what most scores are about, and left out of the guide.
_ANSWERED = frozenset(("sft", "preference", "unpaired"))
# Shapes that data mostly has: their columns stand in the guide, those of all in a list of its own.
COMMON = frozenset(
    ("alpaca", "sharegpt", "kto", "question_preference", "safe_rlhf", "responses", "output_pair")
)  # fmt: skip
# What is not printed unless asked for.
FIELDS, COLUMNS_OF_SHAPES = "Fields of steps", "Columns of shapes"
_LENGTH = "00,000"
_JSON = (bool, int, float, str)
_KIND_OF_STEP = {
    "filter": "keeps or drops one row by its score",
    "generate": "makes rows of one row, which becomes used",
    "whole": "decides over the whole dataset",
    "gather": "makes rows of a group, such as all answers to a prompt",
    "grow": "grows a pool in rounds, until a target or a budget",
}


def guide(names: Sequence[str] = ()) -> dict[str, Any]:
    """Return what there is to know as data; with `names`, the steps of these names only.

    Raises:
        RecipeError: there is no step of that name.
    """
    from curate.cli.commands.models import ABOUT
    from curate.models.model import COMMON_OPTIONS, SAMPLING, options_of_prefix, prefixes
    from curate.read.paths import ENDINGS
    from curate.read.shapes import shapes
    from curate.read.shapes.mapped import KEYS as COLUMNS
    from curate.recipe.parse import KEYS
    from curate.system.package_data import recipes
    from curate.write.formats import by_module

    classes, problems = ([catalog.find(n) for n in names], []) if names else catalog.usable()
    models = {
        prefix: {
            "is": " = ".join(ABOUT.get(prefix, (f"{prefix}:NAME", "of another distribution"))),
            "options": list(options_of_prefix(prefix)),
        }
        for prefix in prefixes()
    }
    steps = []
    for cls in classes:
        step, types, own = catalog.describe(cls), types_of(cls), catalog.operators().get(cls.name)
        for field in step["fields"]:
            field["short"] = brief_field(field, types[field["name"]])
        made = None
        if not any(field["required"] for field in step["fields"]):
            made = cls().kinds_made(frozenset(cls.kinds))
        kinds = {"takes": sorted(cls.kinds), "makes": None if made is None else sorted(made)}
        steps.append({**step, "family": own.family if own else "", **kinds})
    written = [pair for forms in by_module().values() for pair in forms.items()]
    found: dict[str, Any] = {
        "version": version("curate-align"),
        "commands": [command for name in COMMANDS for command in _commands(name)],
        "shared_options": _options(load("run").params, shared=True),
        "recipe": {"parts": list(KEYS), "example": EXAMPLE, "ready": sorted(recipes())},
        "kinds": {kind: list(fields) for kind, fields in KINDS.items()},
        "shapes": {
            shape.name: {
                "kind": shape.kind,
                "columns": [list(columns) for columns in shape.signatures],
                "about": shape.doc.partition("\n")[0],
            }
            for shape in shapes().values()
        },
        "files": list(ENDINGS),
        "formats": {name: form.kind for name, form in written},
        "columns": list(COLUMNS),
        "models": models,
        "model_options": [*COMMON_OPTIONS, *SAMPLING],
        "exit_codes": {str(code): what for code, what in EXIT_CODES.items()},
        "run_folder": RUN_FOLDER,
        "report": {"keys": list(REPORT), "steps": list(REPORT_STEPS)},
        "steps": steps,
        "left_out": list(map(str, problems)),
    }
    prose = _filled(TEXT.read_text(encoding="utf-8"), found)
    parts = re.split(r"(?m)^## (.+)\n", prose)[1:]
    found["sections"] = dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
    return found


def guide_text(found: Mapping[str, Any]) -> str:
    """Return the guide as one text of Markdown, without the lists that are printed when asked for.

    Its first line says how long it is.
    """
    text = TEXT.read_text(encoding="utf-8").partition(f"\n## {FIELDS}\n")[0]
    text = _filled(text.rstrip(), found)
    return text.replace(_LENGTH, f"{len(text):,}", 1)


def _filled(text: str, found: Mapping[str, Any]) -> str:
    """Return the prose with what the code knows in it."""
    from curate.engine.estimate import ENOUGH_REPLIES

    recipe, kinds = found["recipe"], found["kinds"]
    by_kind: dict[str, list[str]] = {}
    for name, shape in found["shapes"].items():
        columns = f" ({', '.join(shape['columns'][0])})" if name in COMMON else ""
        by_kind.setdefault(shape["kind"], []).append(name + columns)
    formats: dict[str, list[str]] = {}
    for name in found["formats"]:
        consumer, _, form = name.partition("_")
        formats.setdefault(consumer, []).append(form)
    commands = []
    for command in found["commands"]:
        words, few = [command["usage"]], len(command["options"]) <= _MOST_OPTIONS
        for option in command["options"]:
            flags = option["flags"]
            if option["required"]:
                words.append(flags)
            elif flags != "--json" and (few or flags.split()[0] in _ALWAYS):
                words.append(f"[{flags}]")
        words += [] if few else ["[...]"]
        commands.append(f"- `{' '.join(words)}` {command['summary']}")
    values = {
        "version": found["version"],
        "commands": "\n".join(commands),
        "length": _LENGTH,
        "enough": str(ENOUGH_REPLIES),
        "run_json": next(
            o["help"] for o in found["commands"][0]["options"] if o["flags"] == "--json"
        ).removeprefix("Print "),
        "shared": ", ".join(f"`{option['flags']}`" for option in found["shared_options"]),
        "parts": ", ".join(f"`{part}`" for part in recipe["parts"]),
        "example": recipe["example"],
        "recipes": ", ".join(recipe["ready"]),
        "kinds": "; ".join(f"`{kind}` ({', '.join(own)})" for kind, own in kinds.items()),
        "shapes": "; ".join(f"{kind}: {', '.join(names)}" for kind, names in by_kind.items()),
        "files": " ".join(found["files"]),
        "formats": ", ".join(f"{name}_{{{','.join(forms)}}}" for name, forms in formats.items()),
        "columns": ", ".join(found["columns"]),
        "models": "; ".join(model["is"] for model in found["models"].values()),
        "options": ", ".join(found["model_options"]),
        "exit_codes": "\n".join(f"- {code}: {what}" for code, what in found["exit_codes"].items()),
        "run_folder": "\n".join(f"- {name}: {what}" for name, what in found["run_folder"].items()),
        "report": ", ".join(found["report"]["keys"]),
        "steps": "\n".join(_step_lines(found["steps"], fields=False)),
        "fields": "\n".join(_step_lines(found["steps"], fields=True)),
        "every_shape": "\n".join(
            f"- {name} ({shape['kind']}): "
            f"{' or '.join(', '.join(one) for one in shape['columns'][:3])}. {shape['about']}"
            for name, shape in found["shapes"].items()
        ),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda hole: values[hole[1]], text)


def _commands(name: str) -> Iterator[dict[str, Any]]:
    """Yield a command, or those inside it, as data."""
    command = load(name)
    for one in getattr(command, "commands", {}).values() or [command]:
        title = name if one is command else f"{name} {one.name}"
        words = [f"curate {title}"]
        for argument in (p for p in one.params if p.param_type_name == "argument"):
            word = argument.metavar.removesuffix("...") + ("..." if argument.nargs == -1 else "")
            bare = argument.required or word.startswith("[")
            words.append(word if bare else f"[{word}]")
        yield {
            "name": title,
            "usage": " ".join(words),
            "summary": " ".join((one.help or "").split("\n\n")[0].split()),
            "options": _options(one.params, shared=False),
            "shared_options": {param.name for param in one.params} >= _SHARED,
        }


def _options(params: Sequence[Any], *, shared: bool) -> list[dict[str, Any]]:
    """Return options as data: those that all runs share, or a command's own."""
    every = {param.name for param in params}
    return [
        {
            "flags": "/".join(param.opts) + ("" if param.is_flag else f" {param.metavar or 'X'}"),
            "help": param.help,
            "required": param.required,
            "default": param.default if isinstance(param.default, _JSON) else None,
        }
        for param in params
        if param.param_type_name == "option" and param.name not in ("help", "debug")
        if shared == (param.name in _SHARED and every >= _SHARED)
    ]


def _step_lines(steps: Sequence[Mapping[str, Any]], *, fields: bool) -> Iterator[str]:
    """Yield the steps by kind, and in each kind by family, a line each, with or without fields."""
    for kind, what in _KIND_OF_STEP.items():
        own = sorted((s for s in steps if s["kind"] == kind), key=lambda s: s["family"])
        if own:
            yield f"\n### {kind}: {what}\n"
        family = None
        for step in own:
            if step["family"] != family:
                family = step["family"]
                yield f"{family}:"
            # Said once, above all steps.
            short = [f["short"] for f in step["fields"] if f["short"] != "keep_parent=false"]
            takes = "|".join(step["takes"]) if set(step["takes"]) != set(KINDS) else ""
            if not fields and set(step["takes"]) == _ANSWERED:
                takes = ""
            makes = "|".join(step["makes"] or ()) if step["makes"] != step["takes"] else ""
            kinds = f" [{f'{takes} -> {makes}'.strip() if makes else takes}]"
            extra = f" (extra {step['extra']})" if step["extra"] else ""
            said = f"- {step['name']}{kinds if takes or makes else ''}{extra}: {step['summary']}"
            yield f"{said} | {' '.join(short)}".rstrip(" |") if fields else said
