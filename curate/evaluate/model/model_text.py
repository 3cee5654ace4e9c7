"""What a model is worth as a text for people: each measure with its interval and its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.evaluate.rank_statistics import Interval
from curate.evaluate.text import columns
from curate.row import printable

# What is shown of comparisons with a baseline, in this order.
_CONTESTS = {
    "win_rate": "win rate",
    "win_rate_counted": "  wins and half of the ties",
    "win_rate_longest": "  if the longer answer won",
    "ties": "ties",
    "consistency": "same verdict in both orders",
    "shown_first_wins": "the answer shown first wins",
    "same_place_wins": "one place wins in both orders",
}


def contests_text(found: Mapping[str, Any]) -> str:
    """Return comparisons of a model with a baseline: win rates, order, length, groups."""
    head = f"{found['prompts']:,} prompts"
    if found["without_verdict"]:
        head += f", {found['without_verdict']:,} of them without a verdict"
    rows = [(text, shown(found[name])) for name, text in _CONTESTS.items() if name in found]
    controlled = found.get("length_controlled", {})
    if "win_rate" in controlled:
        weights = ", ".join(f"{name} {value:+.2f}" for name, value in controlled["weights"].items())
        rows.insert(1, ("  length-controlled", f"{controlled['win_rate']:.2%} ({weights})"))
    elif controlled:
        rows.insert(1, ("  length-controlled", f"not measured: {controlled['not_measured']}"))
    if "length" in found:
        lengths = f"{found['length']:,.0f} and {found['baseline_length']:,.0f}"
        rows.append(("characters, model and baseline", lengths))
    if "soft_labels" in found:
        own = found["soft_labels"]
        gap = f"{own['rows']:,} rows, at most {own['largest_difference']:.2g} from preferences"
        rows.append(("log-probabilities", gap))
    constant = found.get("constant")
    if constant is not None:
        rows.append(("a constant answer in its place", shown(constant["win_rate"])))
        test = found.get("against_constant")
        if test is not None:
            rows.append(("  difference", f"{signed(test['difference'])}, p = {test['p']:.4f}"))
    other = found.get("against")
    if other is not None:
        rows.append((f"difference from {printable(other['run'])}",
                     f"{signed(other['difference'])}, p = {other['p']:.4f}"))  # fmt: skip
    lines = [head, "", *named(rows)]
    for kind, groups in found.get("groups", {}).items():
        table = [
            [f"  {printable(name)}", f"{one['prompts']:,}", shown(one["win_rate"])]
            for name, one in groups.items()
        ]
        lines += ["", *columns([[kind, "prompts", "win rate"], *table])]
    if "warning" in found:
        lines += ["", f"warning: {printable(found['warning'])}"]
    return "\n".join(lines)


def named(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and values as two columns."""
    size = max((len(name) for name, _ in rows), default=0)
    return [f"{name:<{size}}  {value}" for name, value in rows]


def shown(value: Interval | None) -> str:
    """Return a share with its interval."""
    if value is None:
        return "-"
    return f"{value.value:.2%} ({value.low:.1%} to {value.high:.1%})"


def signed(value: Interval) -> str:
    """Return a difference of shares, in points, with its interval."""
    low, high = 100 * value.low, 100 * value.high
    return f"{100 * value.value:+.1f} points ({low:+.1f} to {high:+.1f})"


def evaluation_text(found: Mapping[str, Any]) -> str:
    """Return all parts of a model's evaluation that were asked for."""
    parts = list[str]()
    if "win_rate" in found:
        parts.append("win rate against the baseline: " + contests_text(found["win_rate"]))
    if "mt_bench" in found:
        own = found["mt_bench"]
        rows = [("mean rating, 1 to 10", number(own["rating"]))]
        head = f"MT-bench: {own['rated']:,} of {own['answers']:,} answers rated, to "
        lines = [f"{head}{own['questions']:,} questions", "", *named(rows)]
        parts.append("\n".join([*lines, *_groups(own["groups"], "answers", "rating")]))
    if "held_out" in found:
        own = found["held_out"]
        rows = [
            (
                "loss per token",
                f"{own['loss_per_token']:.4f} (perplexity {own['perplexity']:,.2f})",
            ),
            ("loss per row", number(own["loss_per_row"])),
            ("prompt contrast", number(own.get("prompt_contrast"))),
        ]
        head = f"held-out loss: {own['rows']:,} rows, {own['tokens']:,} tokens"
        groups = _groups(own["groups"], "rows", "loss_per_row")
        parts.append("\n".join([head, "", *named(rows), *groups]))
    if "pairs" in found:
        own = found["pairs"]
        rows = [("chosen answer first", shown(own["accuracy"]))]
        if "accuracy_per_token" in own:
            rows[0] = ("chosen answer likelier", shown(own["accuracy"]))
            rows.append(("  per token", shown(own["accuracy_per_token"])))
        test = own["against_longest"]
        rows += [
            ("  if the longer answer were", shown(own["accuracy_longest"])),
            ("  difference", f"{signed(test['difference'])}, p = {test['p']:.4f}"),
            ("margin", number(own["margin"])),
        ]
        head = f"order of pairs, by {own['by']}: {own['pairs']:,} pairs"
        parts.append("\n".join([head, "", *named(rows), *_groups(own["groups"], "pairs",
                                                                 "accuracy")]))  # fmt: skip
    if "tasks" in found:
        from curate.evaluate.model.harness import task_rows

        table = [
            [f"  {task}", measure, f"{value:.4f}", "-" if error is None else f"{error:.4f}"]
            for task, measure, value, error in task_rows(found["tasks"])
        ]
        head = f"closed-ended benchmarks, by lm-eval {found['tasks']['harness']}"
        parts.append(
            "\n".join([head, "", *columns([["task", "measure", "value", "std. error"], *table])])
        )
    return "\n\n\n".join(parts)


def _groups(groups: Mapping[str, Any], count: str, measure: str) -> list[str]:
    """Return a table for each kind of group."""
    lines = list[str]()
    for kind, own in groups.items():
        table = [
            [f"  {printable(name)}", f"{one[count]:,}", number(one[measure])]
            for name, one in own.items()
        ]
        lines += ["", *columns([[kind, count, measure.replace("_", " ")], *table])]
    return lines


def number(value: Interval | None) -> str:
    """Return a number with its interval."""
    return "-" if value is None else f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"
