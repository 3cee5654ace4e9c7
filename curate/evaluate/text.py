"""Measures as a text for people: each share with its interval, a table for what is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curate.evaluate.rank_statistics import Interval
from curate.row import printable

# What is shown of a judge of pairs, and of one that scores, in this order.
_PAIRS = {
    "accuracy": "accuracy",
    "accuracy_longest": "  the longest answer's",
    "accuracy_given": "  in the given order",
    "accuracy_swapped": "  swapped",
    "accuracy_mean_of_orders": "  mean of both orders",
    "both_orders_right": "right in both orders",
    "consistency": "same verdict in both orders",
    "kappa_of_orders": "  Cohen's kappa",
    "agreement": "agreement, ties included",
    "kappa": "  Cohen's kappa",
    "ties": "ties",
    "mean_mass": "probability on the options",
}
_SCORES = {
    "spearman": "rank correlation with labels",
    "spearman_longest": "  of the answer's length",
    "kendall": "Kendall's tau-b",
    "auc": "AUC, good over bad",
    "auc_longest": "  of the answer's length",
    "at_least": "good from",
    "accuracy": "accuracy",
    "accuracy_commonest": "  of the commonest label",
    "kappa": "  Cohen's kappa",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "spearman_score_length": "rank correlation with length",
    "mean": "mean score",
    "ties": "pairs of rows with one score",
}
_BAR = 30
_NUMBERS = ("kappa", "kappa_of_orders", "spearman", "spearman_longest", "kendall", "auc",
            "auc_longest", "at_least", "spearman_score_length", "spearman_length",
            "mean")  # fmt: skip


def pairs_text(found: Mapping[str, Any]) -> str:
    """Return the measures of a judge of pairs."""
    head = f"{found['pairs']:,} labelled pairs, {found['labelled_ties']:,} of them ties"
    failed = found.get("failed")
    lines = [head + (f"; {failed:,} rows failed" if failed else ""), ""]
    lines += _named(_PAIRS, found)
    biases = {**found.get("position", {}), **found.get("length", {})}
    lines += ["", f"bias of {'place and length' if found.get('position') else 'length'}"]
    lines += _named(
        {
            "shown_first_wins": "  the answer shown first wins",
            "same_place_wins": "  one place wins in both orders",
            "longer_wins_judge": "  the longer answer wins, judge",
            "longer_wins_labels": "  the longer answer wins, labels",
        },
        biases,
    )
    if "lists" in found:
        places = found["lists"]["places"]
        rows = [
            [f"  place {place}", f"{one['lists']:,}", f"{one['judge']:.1%}", f"{one['labels']:.1%}",
             f"{one['chance']:.1%}"]
            for place, one in places.items()
        ]  # fmt: skip
        titles = ["ranked first at", "lists", "judge", "labels", "by chance"]
        lines += ["", *columns([titles, *rows])]
        agree = {"orders_agree": "pairs that both orders of a list rank alike"}
        lines += _named(agree, found["lists"])
    if "scores" in found:
        own = found["scores"]
        lines += ["", f"scores of {own['answers']:,} answers"]
        lines += _named(
            {
                "mean": "  mean score",
                "ties": "  pairs of answers with one score",
                "spearman_length": "  rank correlation with length",
            },
            own,
        )
    if found.get("models"):
        rows = [
            [f"  {name}", f"{one['pairs']:,}", *(f"{one[k]:.1%}" for k in ("judge", "labels")),
             f"{one['bias']:+.1%}"]
            for name, one in found["models"].items()
        ]  # fmt: skip
        lines += ["", *columns([["wins of", "pairs", "judge", "labels", "bias"], *rows])]
    if "calibration" in found:
        lines += ["", "of the pairs with a verdict"]
        lines += _named(
            {
                "sensitivity": "  the first is better, and is said to be",
                "specificity": "  the second is better, and is said to be",
            },
            found["calibration"],
        )
    if "scores" in found:
        rest = _rest({**found, "histogram": found["scores"]["histogram"]}, "score")
    else:
        rest = _rest(found, "P(first is better)")
    if "remark" in found:
        lines += ["", f"remark: {found['remark']}"]
    return "\n".join([*lines, *rest])


def scores_text(found: Mapping[str, Any]) -> str:
    """Return the measures of a judge that gives scores."""
    lines = []
    if "rows" in found:
        lines.append(f"{found['rows']:,} labelled rows")
        if found.get("without_score"):
            lines[0] += f", {found['without_score']:,} of them without a score"
        # Scores that do not vary have no correlation; that of the length stands below it.
        lines += ["", *_named(_SCORES, {"spearman": None, **found})]
    if "corrected" in found:
        one = found["corrected"]
        lines += ["", f"share of good rows in {printable(one['run'])} ({one['rows']:,} rows)"]
        names = {"reported": "  as the judge reports it", "corrected": "  corrected (Rogan-Gladen)"}
        lines += _named(names, one)
    return "\n".join([*lines, *_rest(found, "score")])


def recorded_text(found: Mapping[str, Any]) -> str:
    """Return the measures of recorded scores or annotators, and their correlations."""
    lines: list[str] = []
    if "annotators" in found:
        rows = [
            [
                printable(name),
                f"{one['rows']:,}",
                *(_value(k, one[k]) for k in ("agreement", "kappa")),
            ]
            for name, one in found["annotators"].items()
        ]
        lines += columns([["annotators", "rows", "agreement", "kappa"], *rows])
    every = found.get("scores", {})
    if every:
        names = [
            n for n in ("mean", "ties", "spearman", "auc") if any(n in v for v in every.values())
        ]
        rows = [
            [printable(path), f"{one['rows']:,}", *(_value(n, one.get(n)) for n in names)]
            for path, one in every.items()
        ]
        lines += columns([["scores", "rows", *names], *rows])
    if found.get("correlations"):
        numbers = {path: str(number) for number, path in enumerate(every, 1)}
        known = found["correlations"]
        rows = []
        for place, one in enumerate(list(every)[1:], 1):
            values = (_value("spearman", known[f"{other}, {one}"]) for other in list(every)[:place])
            rows.append([f"  {numbers[one]} {one}", *values, *[""] * (len(every) - place - 1)])
        lines += ["", *columns([["rank correlations", *list(numbers.values())[:-1]], *rows])]
    warnings = [one["warning"] for one in every.values() if "warning" in one]
    return "\n".join([*lines, *(f"\nwarning: {printable(text)}" for text in warnings)])


def _rest(found: Mapping[str, Any], what: str) -> Iterator[str]:
    """Yield what both kinds of judges have: groups, the histogram, a warning."""
    groups = found.get("groups", {})
    if groups:
        names = [n for n in ("pairs", "rows", "accuracy", "accuracy_longest", "spearman",
                             "consistency", "kappa", "ties")
                 if any(n in one for one in groups.values())]  # fmt: skip
        rows = [
            [printable(g), *(_value(n, one.get(n)) for n in names)] for g, one in groups.items()
        ]
        yield from ("", *columns([["group", *(n.replace("_", " ") for n in names)], *rows]))
    if "grouped" in found and (groups or found["grouped"].startswith("not ")):
        yield f"\ngroups: {printable(found['grouped'])}"
    bins = found.get("histogram", [])
    if bins:
        most = max(count for _, count in bins)
        rows = [[f"  {k}", f"{n:,}", "█" * round(n / most * _BAR)] for k, n in bins]
        yield from ("", *columns([[what, "", ""], *rows]))
    if "warning" in found:
        yield f"\nwarning: {printable(found['warning'])}"


def _named(names: Mapping[str, str], found: Mapping[str, Any]) -> list[str]:
    rows = [[text, _value(name, found[name])] for name, text in names.items() if name in found]
    size = max((len(text) for text, _ in rows), default=0)
    return [f"{text:<{size}}  {value}" for text, value in rows]


def _value(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Interval):
        return f"{value.value:.1%} ({value.low:.1%} to {value.high:.1%})"
    if isinstance(value, float):
        return f"{value:.3f}" if name in _NUMBERS else f"{value:.1%}"
    return f"{value:,}"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as left-aligned columns, whatever their cells hold."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
