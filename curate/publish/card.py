"""The dataset card: what the rows are, where they come from, what was done and what it says not.

Everything in it comes from the files of the run. It holds no time and no path, so that the same run
makes the same card.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from curate.publish.layout import SplitFiles
from curate.publish.licences import LicensedSource, licence_of, warnings_of
from curate.recipe import catalog
from curate.row import printable
from curate.runs.lookup import examples
from curate.runs.report import public_recipe
from curate.runs.rows import Rows

LONGEST = 300
EXAMPLES = 2
# The Hub's own words for sizes: https://huggingface.co/docs/hub/datasets-cards
SIZES = {
    1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M", 100_000_000: "10M<n<100M",
}  # fmt: skip
TAGS = {"sft": "sft", "preference": "preference", "ranked": "preference", "unpaired": "kto"}


class Facts(NamedTuple):
    """All that a card and a Croissant file say: the run's files as data, and what is pushed."""

    title: str
    folder: Path
    summary: Mapping[str, Any]
    run: Mapping[str, Any]
    parts: Sequence[SplitFiles]
    sources: Sequence[LicensedSource]

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe without local paths and addresses."""
        return public_recipe(self.run.get("recipe") or {})

    @property
    def rows(self) -> int:
        """How many rows are pushed."""
        return sum(part.rows for part in self.parts)

    def steps_called(self, *names: str) -> list[Mapping[str, Any]]:
        """Return what the report says of the steps that are one of these operators."""
        return [step for step in self.summary["steps"] if step["name"] in names]


def card(facts: Facts) -> str:
    """Return the card as Markdown, with the metadata that the Hub reads at its head."""
    kept = Rows(facts.folder / "kept")
    parts = [[f"`{p.config}`", f"`{p.split}`", f"{p.rows:,}"] for p in facts.parts]
    sources = "Rows in memory, of which no source is known."
    if facts.sources:
        cells = [
            [f"`{s.name}`", ", ".join(s.licences), s.url or "", f"`{s.digest}`" if s.digest else ""]
            for s in facts.sources
        ]
        sources = table(["source", "licence", "from", "xxh3-128"], cells)
        warnings = warnings_of(facts.sources)
        sources += "\n\n" + "\n".join(f"- {one}" for one in warnings) if warnings else ""
    reasons = [
        [f"`{step['label']}`", reason, f"{count:,}"]
        for step in facts.summary["steps"]
        for reason, count in step["reasons"].items()
    ]
    # A few rows that were kept, and one that was dropped for each reason.
    shown = [
        f"Kept:\n\n{_quote(row.text('instruction'))}\n\n{_quote(row.text('response'))}"
        for _, row in zip(range(EXAMPLES), kept, strict=False)
    ]
    for found in examples(facts.folder, facts.run.get("labels") or [], 1):
        if found.outcome == "dropped":
            for one in found.ids[:1]:
                text, _ = found.texts.get(one, ("", ""))
                said = f"Dropped by `{found.step}`, {printable(found.reason)}"
                shown.append(f"{said}:\n\n{_quote(text)}")
    lines = [*models_of(facts), *prompts_of(facts)]
    recipe = yaml.safe_dump(facts.recipe, sort_keys=False, allow_unicode=True).rstrip()
    sections = {
        "Rows": table(["configuration", "split", "rows"], parts),
        "Sources and licences": sources,
        "What was done": _funnel(facts),
        "Why rows were dropped": (
            table(["step", "reason", "rows"], reasons) if reasons else "No row was dropped."
        ),
        "Examples": "\n\n".join(shown),
        "Models and prompts": ("\n".join(f"- {line}" for line in lines) or "No model was asked."),
        "Cost": cost(facts),
        "Personal information": personal(facts),
        "Contamination": contamination(facts),
        "Limits": limits(facts),
        "Recipe": (
            "`recipe.yaml` beside this card; with the sources above it makes these rows again:\n"
            f"\n```sh\ncurate run recipe.yaml -o runs/again\n```\n\n```yaml\n{recipe}\n```"
        ),
    }
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    about = "Made by `curate`."
    return f"---\n{_metadata(facts, kept)}---\n\n# {printable(facts.title)}\n\n{about}\n\n{body}\n"


def _metadata(facts: Facts, kept: Rows) -> str:
    """Return the YAML that the Hub reads at the head of a card."""
    configs: dict[str, list[dict[str, str]]] = {}
    for part in facts.parts:
        pattern = f"data/{part.config}/{part.split}-*.parquet"
        configs.setdefault(part.config, []).append({"split": part.split, "path": pattern})
    size = next((word for most, word in SIZES.items() if facts.rows < most), "n>100M")
    kinds = {path.parent.name for path in kept.files()}
    head = {
        "license": licence_of(facts.sources),
        "pretty_name": printable(facts.title),
        "size_categories": [size],
        "tags": sorted({"curate", *(TAGS[kind] for kind in kinds if kind in TAGS)}),
        "configs": [{"config_name": name, "data_files": files} for name, files in configs.items()],
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True)


def _funnel(facts: Facts) -> str:
    s = facts.summary
    names = ("in", "made", "kept", "used", "dropped", "failed")
    counts = (
        f"{s['in']:,} in + {s['made']:,} made = {s['kept']:,} kept + {s['used']:,} used + "
        f"{s['dropped']:,} dropped + {s['failed']:,} failed."
    )
    if rewritten := sum(step.get("rewritten", 0) for step in s["steps"]):
        counts += f" Rewritten: {rewritten:,}, each counted as used and as made in its new form."
    if not s["steps"]:
        return f"{counts} No step: the rows are as they came."
    cells = []
    for step in s["steps"]:
        # What a step does and whose method it is, where it is an operator of this tree.
        summary, source = "", "the user's own"
        if step["name"] in catalog.operators():
            operator = catalog.find(step["name"])
            summary, source = catalog.summary_of(operator), operator.source
        numbers = [f"{step[name]:,}" for name in names]
        cells.append([f"`{step['label']}`", *numbers, summary, source])
    return f"{counts}\n\n{table(['step', *names, 'what it does', 'method'], cells)}"


def _quote(text: str) -> str:
    """Return a text as a block of code, cut: rows may hold Markdown and HTML of their own."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    lines = "\n".join(printable(line) for line in cut.splitlines())
    return "\n".join(f"    {line}".rstrip() for line in lines.splitlines()) or "    (empty)"


def models_of(facts: Facts) -> list[str]:
    """Return a line for each model and encoder of the recipe, with its sampling."""
    out = []
    for section in ("models", "encoders"):
        for name, spec in (facts.recipe.get(section) or {}).items():
            if isinstance(spec, Mapping):
                rest = {k: v for k, v in spec.items() if k not in ("model", "price", "identity")}
                said = ", ".join(f"{key} {json.dumps(value)}" for key, value in rest.items())
                out.append(f"`{name}`: `{spec.get('model')}`{f' ({said})' if said else ''}")
            else:
                out.append(f"`{name}`: `{spec}`")
    return out


def prompts_of(facts: Facts) -> list[str]:
    """Return a line for each step that uses a prompt, with the prompt's name."""
    out = []
    for step in facts.recipe.get("steps") or ():
        for name, fields in step.items() if isinstance(step, Mapping) else ():
            if isinstance(fields, Mapping) and isinstance(fields.get("prompt"), str):
                out.append(f"`{fields.get('label', name)}` asks with `{fields['prompt'][:80]}`")
    return out


def cost(facts: Facts) -> str:
    """Return what the run spent, over all its executions."""
    requests, tokens = facts.summary["requests"], facts.summary["tokens"]
    if not requests["sent"] and not requests["replayed"]:
        return "Nothing: no request was sent."
    return (
        f"{requests['sent']:,} requests ({requests['failed']:,} failed, {requests['retried']:,} "
        f"tried again), {tokens['input']:,} tokens in, {tokens['output']:,} out, "
        f"${facts.summary['cost_usd'] or 0:,.4f}; {requests['replayed']:,} replies came from the "
        "store."
    )


def personal(facts: Facts) -> str:
    """Return what was done about personal information."""
    found = facts.steps_called("pii")
    if not found:
        return "Not looked for: the recipe has no step `pii`."
    return " ".join(
        f"`{step['label']}` looked for e-mail addresses, phone numbers, cards and the like: "
        f"{step['used']:,} of {step['in']:,} rows were masked, {step['dropped']:,} dropped. Names "
        "and addresses in prose are not recognised."
        for step in found
    )


def contamination(facts: Facts) -> str:
    """Return what was found of test sets."""
    found = facts.steps_called("contamination")
    if not found:
        return "Not looked for: the recipe has no step `contamination`."
    fields = [
        step["contamination"]
        for step in facts.recipe.get("steps") or ()
        if isinstance(step, Mapping) and isinstance(step.get("contamination"), Mapping)
    ]
    against = ", ".join(f"`{one}`" for each in fields for one in each.get("against", ()))
    return " ".join(
        f"`{step['label']}` compared {step['in']:,} rows with {against or 'test sets'} and dropped "
        f"{step['dropped']:,}."
        for step in found
    )


def limits(facts: Facts) -> str:
    """Return what a reader should not expect of the rows."""
    lines = [
        "Rows passed the steps above and nothing else; what no step looked for may be in them.",
        "Answers were not checked for being true unless a step above says so.",
    ]
    if facts.recipe.get("models"):
        lines.append("Models judged or wrote; their preferences and errors are in the rows.")
    if facts.summary["failed"]:
        lines.append(f"{facts.summary['failed']:,} rows failed and are in neither side.")
    return "\n".join(f"- {line}" for line in lines)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; what would break a cell is escaped."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = (printable(cell).replace("|", "\\|").replace("<", "&lt;") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
