"""A proof as people read it: the verdict first, what it rests on, and a drawing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.evaluate.proof.claims import figure, p_text
from curate.evaluate.text import columns
from curate.row import printable

Record = Mapping[str, Any]


def proof_text(record: Record) -> str:
    """Return verdicts, tests, arms and notes; effects above 0 speak for what is tested."""
    parts = []
    for one in record["verdicts"]:
        named = one["question"] and not one["text"].startswith(one["question"])
        parts.append(printable(f"{one['question']}: {one['text']}" if named else one["text"]))
    rows = []
    for one in record["verdicts"]:
        for test in one["tests"]:
            rank = "" if test["rank"] is None else f"{test['rank']} of {test['draws'] + 1}"
            low, high = (figure(test[end]) for end in ("low", "high"))
            rows.append(
                [one["question"], one["metric"], test["against"], figure(test["effect"]),
                 f"{low} to {high}", p_text(test["p"]), p_text(test["p_adjusted"]),
                 f"{test['visible']:.4f}", f"{test['draw_sd']:.4f}", rank]
            )  # fmt: skip
    interval = f"{100 * (1 - record['alpha']):g} % interval"
    titles = ["", "metric", "against", "effect", interval, "p", "adjusted",
            "seen from", "sd of draws", "rank"]  # fmt: skip
    if rows:
        parts.append(_table(titles, rows))
    names = list(next((a["scores"] for a in record["arms"] if "scores" in a), {}))
    arms = []
    for name, group in grouped(record["arms"]).items():
        cells = [name, str(len(group))]
        for field, form in (("rows", ",.0f"), ("tokens", ",.0f"), ("distinct_rows", ",.0f"),
                            ("epochs", ".2f")):  # fmt: skip
            cells.append(f"{statistics.fmean(arm[field] for arm in group):{form}}")
        for metric in names:
            values = [arm["scores"][metric] for arm in group]
            spread = f" (sd {statistics.stdev(values):.4f})" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.4f}{spread}")
        arms.append(cells)
    parts.append(
        _table(["trained on", "runs", "rows", "tokens", "distinct rows", "epochs", *names], arms)
    )
    parts.append(
        f"every run: {record['steps']:,} steps, {record['supervised_tokens']:,} supervised tokens; "
        f"{record['held_out_rows']:,} held-out rows in {record['prompt_groups_held_out']:,} groups "
        "of prompts"
    )
    if "judge" in record:
        parts.append(judge_text(record))
    failed = [f"{a['name']} failed: {a['failed']}" for a in record["arms"] if "failed" in a]
    parts += [printable(text) for text in failed]
    parts += [f"note: {printable(note)}" for note in record["notes"]]
    return "\n\n".join(parts)


def judge_text(record: Record) -> str:
    """Return how many answers were judged, and what the judge's errors come to where known."""
    own = record["judge"]
    text = (
        f"judge: {own['judged']:,} of {own['prompts']:,} prompts have a verdict for every run; "
        f"{own['failed']:,} of {own['comparisons']:,} comparisons failed "
        f"({own['failed_share']:.1%}); of the answers {own['answers_empty']:,} are empty and "
        f"{own['answers_cut']:,} cut off"
    )
    if "calibration" not in own:
        return text
    known = own["calibration"]
    lines = [
        f"{text}\ncorrected by {known['pairs']:,} labelled pairs (sensitivity "
        f"{known['sensitivity']:.2f}, specificity {known['specificity']:.2f}):"
    ]
    for one in record["verdicts"]:
        for test in one["tests"]:
            if "corrected" in test:
                low, high = (figure(test["corrected"][end]) for end in ("low", "high"))
                lines.append(f"  against {test['against']} {figure(test['corrected']['effect'])} "
                             f"({low} to {high})")  # fmt: skip
    return "\n".join(lines)


def grouped(arms: Sequence[Record]) -> dict[str, list[Record]]:
    """Return arms by what they are draws of, those that failed left out."""
    groups: dict[str, list[Record]] = {}
    for arm in arms:
        if "scores" in arm:
            groups.setdefault(arm["group"], []).append(arm)
    return groups


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns, those without any entry left out."""
    shown = [n for n in range(len(head)) if head[n] or any(row[n] for row in rows)]
    return "\n".join(columns([[row[n] for n in shown] for row in (head, *rows)]))


def draw_proof(record: Record, path: Path) -> None:
    """Draw every arm's score and each effect with its interval, a row for each metric."""
    import matplotlib.figure

    def label(text: str) -> str:
        # What stands between two of them would be read as mathematics.
        return printable(text).replace("$", r"\$")

    groups = grouped(record["arms"])
    metrics = list(next(iter(groups.values()))[0]["scores"]) if groups else []
    tests = [(v, t) for v in record["verdicts"] for t in v["tests"]]
    lines = max(len(groups), len(tests) // max(1, len(metrics)), 3)
    picture = matplotlib.figure.Figure(
        figsize=(11, (1.2 + 0.4 * lines) * max(1, len(metrics))), layout="constrained"
    )
    axes = picture.subplots(max(1, len(metrics)), 2, squeeze=False)
    for (left, right), metric in zip(axes, metrics, strict=True):
        for place, arms in enumerate(groups.values()):
            values = [arm["scores"][metric] for arm in arms]
            left.plot(values, [place] * len(values), "o", alpha=0.6)
        left.set_yticks(range(len(groups)), list(map(label, groups)))
        left.invert_yaxis()
        left.set_title(f"{metric} of each run")
        own = [(v, t) for v, t in tests if v["metric"] == metric]
        for place, (_, test) in enumerate(own):
            right.plot([test["low"], test["high"]], [place, place], "-", color="0.4")
            right.plot([test["effect"]], [place], "s", color="black")
        named = [label(" ".join(filter(None, (v["question"], t["against"])))) for v, t in own]
        right.set_yticks(range(len(own)), named)
        right.invert_yaxis()
        right.axvline(0, color="0.7")
        right.set_title(f"effect, {100 * (1 - record['alpha']):g} % interval (right: better)")
    picture.savefig(path, dpi=120)
