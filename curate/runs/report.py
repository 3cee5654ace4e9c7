"""The report of a run: `report.json` as data, and the same as a text for people.

A card travels further than a run folder. Where files lay, which server answered and which variable
held its key tell nothing about the data, and something about whoever made it: what strangers may
see of names and recipes is said here, too.
"""

from __future__ import annotations

import copy
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from curate.row import printable
from curate.runs.ledger_scores import ledger_scores

# How every row ends; a run folder has a folder of each name.
ENDINGS = ("kept", "used", "dropped", "failed")
# Columns that say nothing where every step has a zero in them.
_RARE = ("made", "rewritten", "used", "failed")
_BAR = 14
# What was asked before attempts were recorded by step.
NOT_BY_STEP = "(not recorded by step)"
_WIDTH = 100
_MOST_SHOWN = 5
# Up to this many different scores, such as a judge's, each is counted.
MOST_COUNTED = 10
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
# Of a model: where it was reached, and what is only about spending time and money there.
_PRIVATE = ("base_url", "api_key_env", "max_concurrency")
# How an error ends that shows a reply: a colon and a quoted text.
_REPLY = re.compile(r""": ('.*'|".*")$""", re.DOTALL)
# Addresses that mean the same to everybody, and the package's own example data.
_PUBLIC = ("hub://", "https://", "http://", "s3://", "gs://", "pipelines/data/")


class Failure(NamedTuple):
    """Rows that failed at one step with one error; `replied`: after a model had replied."""

    step: str
    error: str
    rows: int
    replied: bool = False


def cause_of(error: str) -> str:
    """Return an error without the reply that it shows: replies differ, what is wrong does not.

    It is for errors of rows for which a model was asked: what others quote tells them apart. So
    does what an exception without a text of its own quotes, as in `KeyError: 'a'`.
    """
    cause = _REPLY.sub("", error)
    return cause if " " in cause else error


class ScoreDistribution(NamedTuple):
    """The scores of one step: how many rows have one, and the scores at `SHARES` of these rows.

    `counts` holds how many rows have each score, where there are few different ones.
    """

    label: str
    rows: int
    quantiles: tuple[float, ...]
    counts: tuple[tuple[float, int], ...] = ()


def score_distributions(run: Path, labels: Iterable[str]) -> list[ScoreDistribution]:
    """Return the distribution of each step's scores where they differ, a step at a time."""
    import numpy as np

    found = []
    for label in labels:
        scores = ledger_scores(run, label)
        if not len(scores) or scores.min() == scores.max():
            continue
        # Of scores that rows have: a threshold between two of them says nothing else.
        quantiles = np.quantile(scores, SHARES, method="inverted_cdf").tolist()
        values, counts = np.unique(scores, return_counts=True)
        few = len(values) <= MOST_COUNTED
        counted = zip(values.tolist(), counts.tolist(), strict=True) if few else ()
        found.append(ScoreDistribution(label, len(scores), tuple(quantiles), tuple(counted)))
    return found


def render(
    summary: Mapping[str, Any],
    failures: Sequence[Failure] = (),
    scores: Sequence[ScoreDistribution] = (),
    *,
    by_step: bool = False,
) -> str:
    """Return the funnel, the reasons and the spending of a run, or `by_step`, as plain text."""
    steps, unreadable = summary["steps"], summary["unreadable"]
    counts = [f"{summary[name]:,} {name}" for name in ("in", "made", *ENDINGS)]
    lines = [" + ".join(counts[:2]) + " = " + " + ".join(counts[2:])]
    if rewritten := sum(step.get("rewritten", 0) for step in steps):
        lines.append(f"{rewritten:,} rewritten: each counts as used, and as made in its new form")
    whole, lines = funnel(summary)[1], [*lines, "", *_funnel(summary)]
    dropped = [(step["label"], *reason) for step in steps for reason in step["reasons"].items()]
    if dropped:
        lines += ["", "dropped because", *_counted(dropped, whole)]
    lines += _scores(scores)
    remarks = [(step["label"], remark) for step in steps for remark in step.get("remarks", ())]
    if remarks:
        lines += ["", "remarks"]
        lines += [f"  {printable(label)}: {printable(remark)}" for label, remark in remarks]
    lines += _figures(summary.get("figures", {}))
    alike: dict[tuple[str, str], list[Failure]] = {}
    for one in failures:
        cause = cause_of(one.error) if one.replied else one.error
        alike.setdefault((one.step, cause), []).append(one)
    errors = []
    for (label, _), same in alike.items():
        others = f" and {len(same) - 1:,} other {'replies' if same[2:] else 'reply'}"
        text = same[0].error + (others if same[1:] else "")
        errors.append((label, text, sum(one.rows for one in same)))
    if errors:
        errors.sort(key=lambda error: -error[2])
        lines += ["", "failed because", *_counted(errors[:_MOST_SHOWN], whole)]
    if len(errors) > _MOST_SHOWN:
        lines.append(f"  ... and {len(errors) - _MOST_SHOWN:,} other errors (in failed/)")
    if unreadable:
        shown = (f"  {e['file']}:{e['line']}: {e['error']}" for e in unreadable[:_MOST_SHOWN])
        lines += ["", f"unreadable lines: {len(unreadable):,}", *map(printable, shown)]
    if len(unreadable) > _MOST_SHOWN:
        lines.append(f"  ... and {len(unreadable) - _MOST_SHOWN:,} more (in failed/)")
    for file, assumed in summary.get("assumed", {}).items():
        lines += ["", printable(f"assumed: {assumed} ({file})")]
    if any(summary["requests"].values()):
        requests, tokens = summary["requests"], summary["tokens"]
        lines += [
            "",
            f"requests   {requests['sent']:,} sent, {requests['replayed']:,} replayed, "
            f"{requests['failed']:,} failed, {requests['retried']:,} retried",
            f"tokens     {tokens['input']:,} in, {tokens['output']:,} out",
            f"cost       ${summary['cost_usd']:.4f}",
        ]
        own, estimate = summary.get("this_time"), summary.get("estimate")
        if own is not None and any(own[name] != requests[name] for name in ("sent", "replayed")):
            lines.append(
                f"this time  {own['sent']:,} sent, {own['replayed']:,} replayed, "
                f"${own['cost_usd']:.4f}; the lines above count all executions of this folder"
            )
        if estimate and estimate["actual"]["requests"]:
            off, cost = estimate["off"], estimate["cost_usd"]
            expected = f"{estimate['requests']:,} requests ({_percent(off['requests'])})"
            if cost is not None and (cost or estimate["actual"]["cost_usd"]):
                expected += f", ${cost:.4f} ({_percent(off['cost_usd'])})"
            lines.append(f"estimate   {expected}")
        lines += _spending(summary.get("spending", ())) if by_step else []
    lines += ["", f"{summary['seconds']:.1f} s, {summary['peak_memory_mb']:,.0f} MB at most"]
    return "\n".join(lines)


def funnel(summary: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Return the steps with how many rows came, ended and went on, and the number that is 100 %.

    Rows that a step rewrote (masked, translated) are neither made nor used to whoever reads this.
    """
    steps = [
        {**step, "rewritten": count, "made": step["made"] - count, "used": step["used"] - count}
        for step in summary["steps"]
        for count in (step.get("rewritten", 0),)
    ]
    # Where rows are made of nothing, or more than were read, the fullest step is the whole.
    return steps, max([summary["in"], *(step["kept"] for step in steps)])


def _funnel(summary: Mapping[str, Any]) -> list[str]:
    """Return one line per step: how many came, ended and went on, and what share is left."""
    steps, whole = funnel(summary)
    rare = [name for name in _RARE if any(step[name] for step in steps)]
    names = ["in", *(n for n in ("made", "rewritten", "used") if n in rare), "dropped"]
    names += ["failed", "kept"] if "failed" in rare else ["kept"]
    cells = [["step", *names, "left", "", "seconds"]]
    for step in steps:
        share = step["kept"] / whole if whole else 0.0
        counts = [f"{step[name]:,}" if step[name] or name not in rare else "-" for name in names]
        # What is left is never drawn as nothing.
        bar = "█" * (max(1, round(share * _BAR)) if share > 0 else 0)
        cells.append([step["label"], *counts, f"{share:.1%}", bar, f"{step['seconds']:.2f}"])
    return _columns(cells, left=(0, len(names) + 2))


def _spending(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per step that has asked: its requests, tokens and cost."""
    if not parts:
        return []
    names = ("sent", "replayed", "failed", "retried")
    cells = [["step", *names, "tokens in", "tokens out", "cost"]]
    for part in parts:
        requests, tokens = part["requests"], part["tokens"]
        counts = [*(requests[name] for name in names), tokens["input"], tokens["output"]]
        label = NOT_BY_STEP if part["step"] is None else part["step"]
        cells.append([label, *(f"{count:,}" for count in counts), f"${part['cost_usd']:.4f}"])
    return ["", "spent by step", *(f"  {line}" for line in _columns(cells, left=(0,)))]


def _scores(scores: Sequence[ScoreDistribution]) -> list[str]:
    """Return the distribution of each step's scores: counts of a few, quantiles of many."""
    many = [one for one in scores if not one.counts]
    few = [one for one in scores if one.counts]
    heads = ["least", *(f"{share:.0%}" for share in SHARES[1:-1]), "most"]
    cells = [
        [f"  {one.label}", f"{one.rows:,}", *(_number(value) for value in one.quantiles)]
        for one in many
    ]
    size = max((len(one.label) for one in few), default=0)
    counts = [
        f"  {printable(one.label):<{size}}  "
        + ", ".join(f"{count:,} of {_number(value)}" for value, count in one.counts)
        for one in few
    ]
    lines = ["", *_columns([["scores", "rows", *heads], *cells], left=(0,))] if many else []
    return lines + (["", "rows of each score", *counts] if few else [])


def _figures(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return each step's figures in a line; what has several in common shares a table.

    Several steps do, and the groups of one step whose figures are called `GROUP: NAME`. A long line
    becomes one for each group.
    """
    lines: list[str] = []
    tables = _sharing(found)
    alone = {k: v for k, v in found.items() if not any(k in labels for labels in tables)}
    for label, figures in alone.items():
        groups: dict[str, dict[str, float]] = {}
        for name, value in figures.items():
            head, _, rest = name.partition(": ")
            groups.setdefault(head if rest else "", {})[rest or name] = value
        own = _sharing({head: values for head, values in groups.items() if head})
        inside = {head for heads in own for head in heads}
        texts = {
            printable(name): f"{value:.6g}"
            for name, value in figures.items()
            if name.partition(": ")[0] not in inside
        }
        line = f"{printable(label)}: " + ", ".join(f"{k} {v}" for k, v in texts.items())
        if len(line) > _WIDTH:
            lines += ["", printable(label), *_families(texts)]
        elif texts:
            lines += ["", line]
        for heads in own:
            lines += ["", *_figure_table(label, {head: groups[head] for head in heads})]
    for labels in tables:
        lines += ["", *_figure_table("figures", {label: found[label] for label in labels})]
    return lines


def _sharing(found: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return the names whose figures have several in common, those together that do."""
    clusters: list[list[str]] = []
    for name, figures in found.items():
        near = [c for c in clusters if any(len(figures.keys() & found[o].keys()) > 1 for o in c)]
        if near:
            near[0].append(name)
        else:
            clusters.append([name])
    return [cluster for cluster in clusters if len(cluster) > 1]


def _figure_table(title: str, columns: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a table with a column for each mapping and a row for each name."""
    cells = [[title, *columns]]
    for name in dict.fromkeys(name for figures in columns.values() for name in figures):
        values = [figures.get(name) for figures in columns.values()]
        cells.append([f"  {name}", *("-" if v is None else f"{v:.6g}" for v in values)])
    return _columns(cells, left=(0,))


def _families(figures: Mapping[str, str]) -> list[str]:
    """Return figures in lines of their own for each family."""
    families: dict[str, list[str]] = {}
    for name, value in figures.items():
        family, _, rest = name.rpartition(": ")
        families.setdefault(family, []).append(f"{rest} {value}")
    return [
        line
        for family, texts in families.items()
        for line in textwrap.wrap(
            (f"{family}: " if family else "") + ", ".join(texts),
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
        )
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _counted(found: Sequence[tuple[str, str, int]], whole: int) -> list[str]:
    """Return lines of a count, its share of what the funnel counts as 100 %, step and reason."""
    cells = [
        [f"{count:,}", f"{count / whole:.1%}" if whole else "", label, reason]
        for label, reason, count in found
    ]
    return [f"  {line}" for line in _columns(cells, left=(2, 3))]


def _columns(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Return rows as columns, numbers at the right of theirs and those of `left` at the left."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = ["<" if k in left else ">" for k in range(len(widths))]
    return [
        "  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, sides, widths, strict=True)).rstrip()
        for row in cells
    ]


def _percent(off: float | None) -> str:
    return "nothing was expected" if off is None else f"off by {off:+.0%}"


def public_name(where: str) -> str:
    """Return a file's name as strangers may see it: an address as it is, else without folders."""
    return where if where.startswith(_PUBLIC) else PurePath(where).name or where


def public_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe, as `run.yaml` holds it, without local paths, addresses and outputs."""
    found = copy.deepcopy(dict(recipe))
    found.pop("outputs", None)
    for section in ("models", "encoders"):
        for spec in (found.get(section) or {}).values():
            if isinstance(spec, dict):
                for name in _PRIVATE:
                    spec.pop(name, None)
    return {name: _public(value, name == "inputs") for name, value in found.items()}


def _public(value: Any, is_input: bool) -> Any:
    """Return a value with every path in it reduced to its name."""
    if isinstance(value, Mapping):
        # Below `inputs` whatever is called `path`, or stands for a source, is one.
        return {k: _public(v, is_input and k in ("path", *value)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_public(one, is_input) for one in value]
    if not isinstance(value, str):
        return value
    prefix, colon, rest = value.partition(":")
    if colon and prefix in ("scripted", "record", "hf", "vllm") and _is_path(rest):
        return f"{prefix}:{PurePath(rest).name}"
    # `name=path`, as steps name the sets that they compare with.
    name, equals, path = value.partition("=")
    if equals and name.isidentifier() and ("/" in path or _is_path(path)):
        return f"{name}={public_name(path)}"
    if _is_path(value) or (is_input and "://" not in value):
        return public_name(value)
    return value


def _is_path(text: str) -> bool:
    """Tell whether a text is the path of a file here, and not a name with a slash in it."""
    begins = text.startswith(("/", "~", "./", "../")) and " " not in text and "\n" not in text
    return begins and len(text) > 1
