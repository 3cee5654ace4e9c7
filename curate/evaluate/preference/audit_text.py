"""The audit of a preference dataset as a text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.evaluate.rank_statistics import Interval
from curate.evaluate.text import columns
from curate.row import printable

# What each finding says, in the order of the report.
FINDINGS = {
    "empty_side": "an answer is empty",
    "same_answers": "both answers say the same",
    "tool_calls_differ_in_form": "only the form of tool calls differs",
    "duplicate": "repeats an earlier pair",
    "near_duplicate": "near-duplicate of an earlier row",
    "contradiction": "another pair prefers the other answer",
    "cycle": "preferences go round in a circle",
    "chosen_refuses": "the chosen answer refuses, the other does not",
    "both_refuse": "both answers refuse",
    "prompt_in_other_split": "held-out prompt is in another split",
    "near_prompt_in_other_split": "held-out prompt is close to one in another split",
    "doubtful_label": "a model of other prompts doubts the label",
}
_SHOWN = 2
_ID = 12


def audit_text(found: Mapping[str, Any], folder: str) -> str:
    """Return the measures of an audit, and the first rows of each finding.

    `folder` is that of the run, which has the file with all findings.
    """
    head = f"{found['pairs']:,} pairs ({found['ties']:,} ties) of {found['prompts']:,} prompts in "
    head += f"{found['rows']:,} rows"
    if found["failed"]:
        head += f"; {found['failed']:,} rows failed"
    lines = [head]
    if found["other_rows"]:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in found["other_rows"].items())
        lines.append(f"rows without a labelled pair: {kinds}")
    if len(found["splits"]) > 1:
        lines.append("splits: " + ", ".join(
            f"{n:,} {printable(name)}" for name, n in found["splits"].items()))  # fmt: skip
    lines += ["", "what the labels reward"]
    rows = [("the longer answer wins", _share(found["longest_wins"]))]
    if found["words_chosen"] is not None:
        chosen, rejected = found["words_chosen"], found["words_rejected"]
        rows.append(("words, chosen and rejected", f"{chosen:.1f} and {rejected:.1f}"))
    if "not_measured" in found:
        rows.append(("cross-validated models", f"not measured: {found['not_measured']}"))
    else:
        rows += [
            ("predicted from length alone", _share(found["accuracy_length"])),
            ("predicted from style", _share(found["accuracy_style"])),
            ("predicted from words and style", _share(found["accuracy_words"])),
        ]
    size = max(len(name) for name, _ in rows)
    lines += [f"  {name:<{size}}  {value}" for name, value in rows]
    if "features" in found:
        order = sorted(found["features"].items(), key=lambda item: -abs(item[1]["weight"]))
        table = [
            [f"  {name.replace('_', ' ')}",
             *("-" if one[k] is None else f"{one[k]:.2f}" for k in ("chosen", "rejected")),
             "-" if one["chosen_has_more"] is None else f"{one['chosen_has_more']:.1%}",
             f"{one['weight']:+.2f}"]
            for name, one in order
        ]  # fmt: skip
        head_row = ["style", "chosen", "rejected", "chosen has more", "weight"]
        lines += ["", *columns([head_row, *table])]
    lines += ["", *columns(_findings(found))]
    noise = found.get("label_noise")
    if noise is not None and not noise["informative"]:
        lines += ["", "the model of words and style predicts no label better than chance: what it "
                      "doubts says nothing"]  # fmt: skip
    for kind, groups in found["groups"].items():
        lines += ["", *columns(_group_table(kind, groups))]
    return "\n".join([*lines, "", f"all findings  {folder}"])


def _findings(found: Mapping[str, Any]) -> list[list[str]]:
    rows = [["finding", "pairs", "share", "rows"]]
    for name, text in FINDINGS.items():
        one = found["findings"][name]
        if not one["pairs"]:
            continue
        shown = [
            line["row"][:_ID] + (f" ({line['partner'][:_ID]})" if "partner" in line else "")
            for line in one["rows"][:_SHOWN]
        ]
        more = ", ..." if one["pairs"] > _SHOWN else ""
        share = one["pairs"] / found["pairs"]
        rows.append([f"  {text}", f"{one['pairs']:,}", f"{share:.1%}", ", ".join(shown) + more])
    none = [text for name, text in FINDINGS.items() if not found["findings"][name]["pairs"]]
    return rows if len(none) < len(FINDINGS) else [["no finding"]]


def _group_table(kind: str, groups: Mapping[str, Any]) -> list[list[str]]:
    names = ("agrees", "longest_wins", "accuracy_style", "chosen_refuses", "doubtful")
    rows = [[kind, "pairs", "agrees", "longer wins", "style", "refuses", "doubtful"]]
    for name, one in groups.items():
        cells = [_share(one[key]) if key in one else "-" for key in names]
        rows.append([f"  {printable(name)}", f"{one['pairs']:,}", *cells])
    return rows


def _share(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Interval):
        return f"{value.value:.1%} ({value.low:.1%} to {value.high:.1%})"
    return f"{value:.1%}"
