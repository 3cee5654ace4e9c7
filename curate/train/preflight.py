"""The check before training: everything about data, tokens and memory that would go wrong quietly.

It runs before any weight is loaded. TRL itself names few of these defects, drops rows silently at
some and trains on the others, so each finding says what TRL alone would have done. What is found,
how grave it is and what helps stands in `findings.yaml`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.models.inprocess.chat import Chat, TemplateRefused
from curate.system import plain_yaml
from curate.train.data import TrainingData
from curate.train.defects import Seen, inspect_row, inspect_table
from curate.train.examples import Example, example_of, interleaved
from curate.train.memory_estimate import Memory, gigabytes
from curate.train.settings import Method, TrainingSettings

_SHOWN = 3
_GRAVITY = ("error", "warning", "note")


class Finding(NamedTuple):
    """One kind of defect: how grave, how often, where first, and what TRL alone would do."""

    code: str
    severity: str
    times: int
    rows: tuple[str, ...]
    detail: str
    what: str
    trl: str
    fix: str


class Checked(NamedTuple):
    """What the check found, and the examples that it made on the way."""

    findings: list[Finding]
    examples: list[Example]
    held_out: list[Example]
    figures: dict[str, float]
    memory: Memory | None = None

    def stops(self, *, strict: bool) -> bool:
        """Tell whether training must not begin."""
        grave = ("error", "warning") if strict else ("error",)
        return any(finding.severity in grave for finding in self.findings)


@functools.cache
def kinds_of_finding() -> Mapping[str, Mapping[str, str]]:
    """Return every kind of finding by its code."""
    text = Path(__file__).with_name("findings.yaml").read_text(encoding="utf-8")
    return dict(plain_yaml.load(text))


class Findings:
    """Collect what is wrong, by code: the number of times, the first rows, the first detail."""

    def __init__(self, method: Method) -> None:
        self._method, self._counts = method, Counter[str]()
        self._rows: dict[str, list[str]] = {}
        self._details: dict[str, str] = {}

    def add(self, code: str, row: str | None = None, detail: str = "", count: int = 1) -> None:
        """Note a defect of `row`, or of the data as a whole."""
        self._counts[code] += count
        rows = self._rows.setdefault(code, [])
        if row is not None and row not in rows and len(rows) < _SHOWN:
            rows.append(row)
        if detail:
            self._details.setdefault(code, detail)

    def all(self) -> list[Finding]:
        """Return what was found, the gravest first."""
        found = []
        for code, entry in kinds_of_finding().items():
            if self._counts[code]:
                # What becomes of a row that is too long differs by trainer.
                trl = entry["trl"] or self._method.trl_too_long
                rows, detail = tuple(self._rows[code]), self._details.get(code, "")
                count, severity = self._counts[code], entry["severity"]
                found.append(
                    Finding(code, severity, count, rows, detail, entry["what"], trl, entry["fix"])
                )
        return sorted(found, key=lambda finding: _GRAVITY.index(finding.severity))


def check(data: TrainingData, chat: Chat, method: Method, settings: TrainingSettings) -> Checked:
    """Return what would go wrong in training `method` on `data`, and its rows as examples."""
    findings = Findings(method)
    if chat.template is None:
        findings.add("template_missing")
        return Checked(findings.all(), [], [], {})
    try:
        if not chat.end_of_turn:
            findings.add("end_of_turn")
    except TemplateRefused as refused:
        findings.add("template_refuses", detail=str(refused))
    if "{% generation" not in chat.template and "{%- generation" not in chat.template:
        findings.add("own_mask")
    seen = Seen()
    sides: list[list[Example]] = []
    for rows in (data.rows, data.held_out):
        made = []
        for row in rows:
            example, problems = example_of(row, chat, method, settings)
            for code, detail in (*problems, *inspect_row(row, chat, method, seen)):
                findings.add(code, row.id, detail)
            made += [example] if example is not None else []
        sides.append(made)
        seen.begin_held_out()
    for code, name, detail, count in inspect_table(data, sides[0], method):
        findings.add(code, name, detail, count)
    figures = figures_of(sides[0])
    if sides[0] and not method.online and figures["supervised_share"] < 0.01:
        findings.add("few_supervised", detail=f"{figures['supervised_share']:.2%}")
    if method.name == "kto":
        # Read in order, batches of a file sorted by label would hold one class.
        sides[0] = interleaved(sides[0], settings.seed)
    return Checked(findings.all(), sides[0], sides[1], figures)


def figures_of(examples: Iterable[Example]) -> dict[str, float]:
    """Return the number of rows and tokens, the longest answer, and the share that is learnt."""
    rows = tokens = supervised = longest = most = 0
    for example in examples:
        rows += 1
        most = max(most, len(example.answers))
        lengths = [len(answer.ids) for answer in example.answers] or [example.prompt_length]
        tokens += sum(lengths)
        longest = max(longest, *lengths)
        supervised += sum(answer.supervised for answer in example.answers)
    share = supervised / tokens if tokens else 0.0
    return {
        "rows": rows,
        "tokens": tokens,
        "longest": longest,
        "most_answers": most,
        "supervised_share": share,
    }


def with_memory(checked: Checked, memory: Memory, method: Method) -> Checked:
    """Return the check with its estimate of memory, and a finding where that does not fit."""
    if memory.fits:
        return checked._replace(memory=memory)
    findings = Findings(method)
    findings.add("memory_short", detail=memory_text(memory))
    return checked._replace(memory=memory, findings=[*checked.findings, *findings.all()])


def memory_text(memory: Memory) -> str:
    """Return an estimate in a line, its largest term first."""
    terms = sorted(memory.terms.items(), key=lambda item: -item[1])
    parts = ", ".join(f"{name} {gigabytes(size)}" for name, size in terms)
    has = f" of {gigabytes(memory.available)}" if memory.available else ""
    return f"about {gigabytes(memory.total)}{has}, mostly {memory.largest} ({parts})"


def finding_record(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON data."""
    return {**finding._asdict(), "rows": list(finding.rows)}


def described(findings: Sequence[Finding]) -> str:
    """Return findings as text: what and how often, the first rows, TRL's way, and what helps."""
    paragraphs = []
    for finding in findings:
        lines = [f"{finding.severity}: {finding.times:,} x {finding.code}: {finding.what}"]
        lines += [f"  {finding.detail}"] if finding.detail else []
        lines += [f"  rows: {', '.join(finding.rows)}"] if finding.rows else []
        lines.append(f"  TRL alone: {finding.trl}")
        if finding.severity != "note":
            lines.append(f"  next: {finding.fix}")
        paragraphs.append("\n".join(lines))
    return "\n".join(paragraphs)
