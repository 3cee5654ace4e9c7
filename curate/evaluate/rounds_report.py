"""What a training in rounds leaves for people: a line per round, curves, and the model's card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from curate.row import printable
from curate.train.describe import table_text
from curate.train.job import Job

_HELD_OUT = "held_out_reward"


def line_text(line: Mapping[str, Any]) -> str:
    """Return what a round brought, in a line."""
    parts = [f"reward {line['reward']:.4f} of {line['answers']:,} answers"]
    parts += [f"{line['failed']:,} rows failed"] if line["failed"] else []
    parts.append(f"{line['learnt']:,} rows learnt in {line['steps']:,} steps")
    if _HELD_OUT in line:
        parts.append(f"held-out reward {line[_HELD_OUT]:.4f} afterwards")
    return ", ".join(parts)


def rounds_text(report: Mapping[str, Any]) -> str:
    """Return a finished loop as text for a terminal."""
    lines = [f"{report['method']}: {len(report['rounds'])} in {report['seconds']:,} s"]
    if _HELD_OUT in report["before"]:
        lines.append(f"before: held-out reward {report['before'][_HELD_OUT]:.4f}")
    return "\n".join(
        [*lines, *(f"{line['round']}: {line_text(line)}" for line in report["rounds"])]
    )


def history_of(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a report as lines of curves: each model by the number of rounds that made it."""
    models = [report["before"], *report["rounds"]]
    lines: list[dict[str, Any]] = [{"round": number} for number in range(len(models))]
    for line, model in zip(lines, models, strict=True):
        if _HELD_OUT in model:
            line["eval_reward"] = model[_HELD_OUT]
    # The answers of a round were sampled from the model of the one before.
    for line, one in zip(lines, report["rounds"], strict=False):
        line["reward"] = one["reward"]
    return lines


def rounds_card(job: Job, report: Mapping[str, Any]) -> str:
    """Return the model's card: method, prompts, reward, figures of each round, settings."""
    head = {
        "base_model": job.model,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["curate", job.method.name, "online"],
    }
    before = report["before"].get(_HELD_OUT)
    rows = [["0", "", "", "", "", "" if before is None else f"{before:.4f}"]]
    for line in report["rounds"]:
        held_out = f"{line[_HELD_OUT]:.4f}" if _HELD_OUT in line else ""
        counts = (line[name] for name in ("round", "answers", "failed", "learnt"))
        rows.append([*(f"{count:,}" for count in counts), f"{line['reward']:.4f}", held_out])
    names = ["round", "answers", "failed", "learnt", "reward", "held-out reward"]
    judge = f", asked of `{printable(report['judge'])}`" if report["judge"] else ""
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n# {job.out.name}\n\n"
        f"`{printable(job.model)}`, trained by `curate train {job.method.name} --rounds "
        f"{len(report['rounds'])}` ({job.settings.adapter.kind}): in each round answers are "
        "sampled from the model of the round before, scored, and learnt from. "
        f"{job.method.summary} Method and defaults: {job.method.source}.\n\n## Data\n\n"
        f"- prompts: `{printable(job.data)}`, {report['prompts']:,}, and {report['held_out']:,} "
        f"held out\n- reward: `{printable(report['reward'])}`{judge}\n"
        "- every answer with its score, and why it was not learnt: "
        f"`curate explain {job.out}/rounds/1/answers`\n\n"
        f"## Figures\n\n{table_text(names, rows)}\n\n"
        "The reward of a round is that of the model before it; the held-out reward is that of the "
        "model after it, on prompts that nothing was learnt from. Curves: `curves.csv`.\n\n"
        f"## Settings\n\n```yaml\n{yaml.safe_dump(report['settings'], sort_keys=False)}```\n"
    )
