"""What a search for test items finds, measured: known items are hidden in one's own rows.

A count of contaminated rows means little without its recall. So items of the test sets are hidden
in rows in six ways, and the same step looks for them; beside the shares that it finds stands how
often it calls out on rows that nothing was hidden in. The texts around an item are those of the
user's rows, because what hides an item is what stands around it.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from curate.errors import UsageError
from curate.evaluate.evaluation_file import write_evaluation
from curate.evaluate.model.stages import Stages
from curate.evaluate.rank_statistics import Interval, share
from curate.evaluate.text import columns
from curate.kernels.sets.benchmarks import ItemText
from curate.kernels.text.words import compared_words
from curate.pipeline import Result
from curate.row import Row, seed_of
from curate.steps.filters.contamination import Contamination

# Items that are hidden in each way, unless another number is given.
PLANTED = 200
# Words of a short line, and how many flagged rows are named.
LINE_WORDS = 6
MOST_NAMED = 20
WAYS = (
    "verbatim", "short lines", "embedded", "in the answer", "case and punctuation",
    "changed numbers",
)  # fmt: skip
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_NUMBER = re.compile(r"\d+")
_PUNCTUATION = re.compile(r"[^\w\s]")


class HiddenItem(NamedTuple):
    """A row that holds an item, and how it is hidden there."""

    way: str
    item: ItemText
    instruction: str
    response: str


def hidden_items(
    hosts: Sequence[tuple[str, str]], items: Sequence[ItemText], count: int, seed: int = 0
) -> Iterator[HiddenItem]:
    """Yield `count` items hidden in each way, in rows that are drawn anew.

    Args:
        hosts: instruction and response of rows that hold no item; where no row has a response the
            answer is not a place to hide in.
        items: the test items.
        count: how many are hidden in each way; those that repeat meet another row.
        seed: of the draws.
    """
    answered = [host for host in hosts if host[1].strip()]
    for way in WAYS:
        dice = random.Random(seed_of(seed, way))
        there = [item for item in items if way != "changed numbers" or _NUMBER.search(item.text)]
        rows = answered if way == "in the answer" else answered or list(hosts)
        if not there or not rows:
            continue
        there, rows = dice.sample(there, len(there)), dice.sample(rows, len(rows))
        for number in range(count):
            item = there[number % len(there)]
            yield HiddenItem(way, item, *_hide(way, item.text, *rows[number % len(rows)], dice))


def _hide(
    way: str, item: str, instruction: str, response: str, dice: random.Random
) -> tuple[str, str]:
    """Return the instruction and response of a row in which an item is hidden in this way."""
    if way == "embedded":
        return _inside(f"{instruction}\n{response}", item), response
    if way == "in the answer":
        return instruction, _inside(response, item)
    if way == "short lines":
        words = item.split()
        lines = [words[start : start + LINE_WORDS] for start in range(0, len(words), LINE_WORDS)]
        return "\n".join(map(" ".join, lines)), response
    if way == "case and punctuation":
        # A space behind each mark, or two words would become one.
        told = _PUNCTUATION.sub(lambda found: dice.choice(("", ",", ";", " -", "!")) + " ", item)
        return " ".join(dice.choice((w.upper(), w.lower())) for w in told.split()), response
    if way == "changed numbers":
        return _NUMBER.sub(lambda found: _another(found[0], dice), item), response
    return item, response


def _inside(text: str, item: str) -> str:
    """Return a text with an item between two of its sentences, as one or as a paragraph."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    middle = min(ends, key=lambda end: abs(end - len(text) / 2), default=len(text))
    before, after = text[:middle].rstrip(), text[middle:].lstrip()
    between = " " if item.rstrip().endswith((".", "?", "!")) and "\n" not in item else "\n\n"
    return between.join(filter(None, (before, item.strip(), after)))


def _another(number: str, dice: random.Random) -> str:
    """Return another number of as many digits."""
    first = str(dice.randint(1, 9)) if number[0] != "0" else "0"
    changed = first + "".join(str(dice.randint(0, 9)) for _ in number[1:])
    return changed if changed != number else changed[:-1] + str((int(changed[-1]) + 1) % 10)


def by_mode(step: Contamination) -> dict[str, Contamination]:
    """Return the step as it is in each of its modes alone, by their names."""
    found: dict[str, Contamination] = {}
    if step.by_words:
        found["ngrams"] = dataclasses.replace(
            step, mode="ngrams", on="turns", windows=True, encoder=None, label="ngrams"
        )
    if step.by_meaning:
        found["semantic"] = dataclasses.replace(step, mode="semantic", label="semantic")
    return found


def measure_hidden_items(
    stages: Stages,
    data: str,
    step: Contamination,
    *,
    count: int = PLANTED,
    clean: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Look for test items in rows, and in rows in which items were hidden; return what was found.

    Args:
        stages: where the runs go: `rows`, `hidden` and `clean`.
        data: a path to the rows.
        step: what looks for items: modes, `against` and limits are its own.
        count: how many items are hidden in each way.
        clean: a path to rows that are known to hold no item, for false alarms.
        seed: of the draws.

    Returns:
        The measures as JSON data, which also stand in `evaluation.json` of the first run.

    Raises:
        UsageError: no row is left to hide an item in.
    """
    modes = by_mode(step)
    # Nothing is dropped by one that another is to look at.
    looking = [dataclasses.replace(one, max=None, similarity=None) for one in modes.values()]
    rows = stages.run("rows", looking, data)
    flags = {row.id: _flagged(row, modes) for row in rows.kept}
    found: dict[str, Any] = {"rows": _counts(list(flags.values()), modes, rows)}
    found["rows"]["named"] = [row for row, own in flags.items() if any(own.values())][:MOST_NAMED]
    hosts = [(r.instruction, r.response) for r in rows.kept if not any(flags[r.id].values())]
    hosts = [host for host in hosts if any(map(compared_words, host))]
    if not hosts:
        raise UsageError(
            f"{rows.folder} has no row to hide an item in (rows read: {len(flags):,}, failed: "
            f"{rows.summary['failed']:,}); give rows with a text that hold no item"
        )
    records = (
        {"prompt": one.instruction, "completion": one.response, "label": True, "way": one.way,
         "test_set": one.item.test_set, "item": one.item.place}
        for one in hidden_items(hosts, step.items(), count, seed)
    )  # fmt: skip
    # Neither the shape nor the limit of the user's rows is that of these.
    own: dict[str, Any] = {"shape": None, "limit": None}
    hidden = stages.run("hidden", looking, stages.write("hidden", records), **own)
    ways: dict[str, list[dict[str, bool]]] = {way: [] for way in WAYS}
    for row in hidden.kept:
        ways[json.loads(row.extra or "{}")["way"]].append(_flagged(row, modes))
    found["ways"] = {
        way: {
            "hidden": len(flagged),
            **{name: share(hits, len(flagged)) for name, hits in _hits(flagged, modes).items()},
        }
        for way, flagged in ways.items()
        if flagged
    }
    found["without"] = [way for way in WAYS if not ways[way]]
    if clean is not None:
        other = stages.run("clean", looking, clean, **own)
        found["clean"] = _counts([_flagged(row, modes) for row in other.kept], modes, other)
    write_evaluation(rows, found)
    return found


def _flagged(row: Row, modes: Mapping[str, Contamination]) -> dict[str, bool]:
    """Tell for each mode whether it would drop a row."""
    return {name: one.keep(row.scores.get(name)) is not None for name, one in modes.items()}


def _counts(
    flags: Sequence[Mapping[str, bool]], modes: Iterable[str], result: Result
) -> dict[str, Any]:
    """Return how many rows each mode flags, and how many any does."""
    failed = result.summary["failed"]
    return {"rows": len(flags), "failed": failed, **_hits(flags, modes)}


def _hits(flags: Sequence[Mapping[str, bool]], modes: Iterable[str]) -> dict[str, int]:
    found = {name: sum(own[name] for own in flags) for name in modes}
    return found | {"any": sum(any(own.values()) for own in flags)}


def hidden_items_text(found: Mapping[str, Any], step: Contamination) -> str:
    """Return the measures for people."""
    names = [name for name in ("ngrams", "semantic") if name in next(iter(found["ways"].values()))]
    titles = {"ngrams": f"{step.n}-grams", "semantic": f"cosine {step.similarity or 1:g}"}
    head = [titles[name] for name in names]
    if len(names) > 1:
        names, head = [*names, "any"], [*head, "both modes"]
    table = [["items found, hidden as", "hidden", *head]]
    for way, own in found["ways"].items():
        shares: list[Interval] = [own[name] for name in names]
        told = [f"{s.value:.1%} ({s.low:.1%} to {s.high:.1%})" for s in shares]
        table.append([f"  {way}", f"{own['hidden']:,}", *told])
    table.append(["rows flagged", "rows", *head])
    for title, group in (("  your rows", "rows"), ("  clean rows: false alarms", "clean")):
        if own := found.get(group):
            told = [f"{own[name]:,} ({own[name] / max(own['rows'], 1):.2%})" for name in names]
            table.append([title, f"{own['rows']:,}", *told])
    lines = columns(table)
    lines.insert(len(found["ways"]) + 1, "")
    if found["without"]:
        lines.append(f"nothing to hide in, or no item for: {', '.join(found['without'])}")
    for group in ("rows", "clean"):
        if failed := found.get(group, {}).get("failed"):
            lines.append(f"{failed:,} {'of your' if group == 'rows' else 'clean'} rows failed")
    if "clean" not in found:
        lines += [
            "",
            "A flagged row of yours holds an item, or is a false alarm; look at them with `curate",
            "explain`. --clean DATA counts false alarms on rows that are known to hold no item.",
        ]
    return "\n".join(lines)
