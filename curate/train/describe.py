"""What a training leaves for people: curves, and a card that says what was trained on what.

The card is written after the last checkpoint, because trainers write cards of their own with each.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from curate.row import printable
from curate.system.posix import write_atomically
from curate.train.job import Job, Prepared
from curate.train.preflight import memory_text
from curate.train.rewards import reward_text

_SAMPLE_TOKENS = 64
# Of the last lines of a history, what says how training went.
_TOLD = ("loss", "accuracy", "rewards/accuracies", "rewards/margins", "reward", "kl", "margin")


def write_description(job: Job, prepared: Prepared, report: dict[str, Any]) -> None:
    """Write curves and card, and add a sample of the trained model to `report`."""
    from curate.models.inprocess.chat import turns_for
    from curate.read.shapes.record_fields import rendering_options
    from curate.train.data import extras, prompt_turns
    from curate.train.weights import free_memory, load_trained, sample

    history = report.pop("history")
    write_curves(history, job.out)
    if job.method.name != "reward":
        # A prompt, one that was not learnt where there is such, and the model's answer.
        rows, report["sample"] = prepared.data.held_out or prepared.data.rows, None
        if turns := turns_for(prompt_turns(rows[0])) if rows else []:
            quantized = job.settings.adapter.kind == "qlora"
            free_memory()
            model, tokenizer = load_trained(job.out, quantized=quantized)
            model = model if quantized else model.to(prepared.device)
            options = rendering_options(extras(rows[0]))
            asked = prepared.chat.render(turns, ask=True, **options)
            said = sample(model, tokenizer, asked, max_tokens=_SAMPLE_TOKENS)
            report["sample"] = {"prompt": str(turns[-1]["content"]), "answer": said}
    write_atomically(job.out / "README.md", card(job, prepared, report, history))


def write_curves(history: Sequence[Mapping[str, Any]], out: Path, *, by: str = "step") -> None:
    """Write the lines of a history as a table, and as a drawing where matplotlib is installed."""
    names = sorted({name for line in history for name in line} - {by})
    text = io.StringIO()
    writer = csv.DictWriter(text, [by, *names])
    writer.writeheader()
    writer.writerows(history)
    write_atomically(out / "curves.csv", text.getvalue())
    if find_spec("matplotlib") is None:
        return
    import matplotlib.figure

    shown = [n for n in _TOLD if any(n in line or f"eval_{n}" in line for line in history)]
    figure = matplotlib.figure.Figure(figsize=(6, 2.5 * max(1, len(shown))), layout="constrained")
    for axis, name in zip(
        figure.subplots(max(1, len(shown)), 1, squeeze=False)[:, 0], shown, strict=False
    ):
        for label in (name, f"eval_{name}"):
            points = [(line[by], line[label]) for line in history if label in line]
            if points:
                axis.plot(*zip(*points, strict=True), label=label)
        axis.set_title(name)
        axis.set_xlabel(by)
        axis.legend()
    figure.savefig(out / "curves.png", dpi=120)


def card(
    job: Job, prepared: Prepared, report: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> str:
    """Return the model's card: method, data, recipe and run, figures, and how to use it."""
    source = prepared.data.source
    adapted = job.settings.adapter.kind != "full"
    head = {
        "base_model": job.model,
        "library_name": "peft" if adapted else "transformers",
        "pipeline_tag": "text-classification" if job.method.name == "reward" else "text-generation",
        "tags": ["curate", job.method.name],
    }
    rows = [["steps", "", f"{report['steps']:,}"], ["seconds", "", f"{report['seconds']:,}"]]
    for name in _TOLD:
        if name in report["after"]:
            before, after = report["before"].get(name), report["after"][name]
            rows.append(
                [f"held-out {name}", "" if before is None else f"{before:.4f}", f"{after:.4f}"]
            )
        learnt = [line[name] for line in history if name in line]
        if learnt:
            rows.append([f"training {name}", f"{learnt[0]:.4f}", f"{learnt[-1]:.4f}"])
    figures = table_text(["", "before", "after"], rows)
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {job.out.name}",
        f"`{printable(job.model)}`, trained by `curate train {job.method.name}` "
        f"({job.settings.adapter.kind}). {job.method.summary} Method and defaults: "
        f"{job.method.source}.",
        _data_text(job, prepared),
        "## Settings\n\n```yaml\n" + yaml.safe_dump(report["settings"], sort_keys=False) + "```",
        f"## Figures\n\n{figures}\n\nCurves: `curves.csv`.",
    ]
    if report.get("sample"):
        asked, said = (printable(report["sample"][name]) for name in ("prompt", "answer"))
        parts.append(f"## A sample\n\n> {asked}\n\n{said}")
    if source.run is not None:
        parts.append(
            f"Every row can be looked up: `curate explain {source.run} ROW`, with the ids of "
            "`check.json`."
        )
    return "\n\n".join(parts) + "\n"


def table_text(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first column holds names, and the others numbers."""
    lines = [names, ["---", *["--:"] * (len(names) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _data_text(job: Job, prepared: Prepared) -> str:
    source, figures = prepared.data.source, prepared.checked.figures
    lines = [
        "## Data",
        f"- dataset: `{printable(source.name)}`, {int(figures['rows']):,} rows, "
        f"{int(figures['tokens']):,} tokens, {figures['supervised_share']:.1%} of them learnt; "
        f"{len(prepared.checked.held_out):,} rows held out",
    ]
    if source.run is not None:
        lines.append(f"- run: `{source.run}`, recipe: `{source.recipe or 'not recorded'}`")
    if job.reward:
        lines.append(f"- reward: `{printable(reward_text(job.reward) or '')}`")
    found = [f"{f.code} ({f.times:,})" for f in prepared.checked.findings if f.severity != "note"]
    lines.append(f"- the check found: {', '.join(found) or 'nothing'}")
    if prepared.checked.memory is not None:
        lines.append(f"- memory, estimated: {memory_text(prepared.checked.memory)}")
    return lines[0] + "\n\n" + "\n".join(lines[1:])


def summary_text(report: Mapping[str, Any]) -> str:
    """Return a finished training as text for a terminal."""
    lines = [f"{report['method']}: {report['steps']:,} steps in {report['seconds']:,} s"]
    for name, after in report["after"].items():
        before = report["before"].get(name)
        if name in _TOLD and before is not None:
            lines.append(f"held-out {name}: {before:.4f} before, {after:.4f} after")
    sample = report.get("sample")
    if sample:
        lines.append(f"a sample: {json.dumps(sample, ensure_ascii=False)}")
    return "\n".join(lines)
