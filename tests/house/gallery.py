"""The gallery of ready recipes: `python -m tests.house.gallery [RUN ...]` writes docs/gallery.md.

Runs that are named (`RUN`, or `RUN,PATH=VALUE,...` with what was `--set`) are recorded first, if
they are runs of a ready recipe as it is. The page is made of what is recorded, in
docs/material/gallery.json; a test fails where a recipe is missing there, or has changed since.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from curate.pipeline import Pipeline
from curate.runs.report import render
from curate.system.package_data import recipes
from tests.house.places import ROOT

RECORD = ROOT / "docs" / "material" / "gallery.json"
PAGE = ROOT / "docs" / "gallery.md"
_KEPT = ("in", "made", "kept", "used", "dropped", "failed", "requests", "tokens", "cost_usd")
# No figures, remarks or estimates: the recipe's own page speaks of those.
_STEP = ("label", "name", "in", "made", "kept", "used", "dropped", "failed", "reasons", "rewritten")
HEAD = """<!-- Written by `python -m tests.house.gallery`; do not edit. -->

# Gallery

Every ready recipe, with the funnel of a real run on the data that ships with the project. `curate
run NAME` runs one, from a checkout or an installed wheel. Recipes with a model were run on the
embedded one (`local`), which is far too small to judge or to write well: the funnels show how a
recipe works, not what a real model would keep.
"""


def digest(name: str) -> str:
    """Return a digest of what a ready recipe does, whatever its comments say."""
    text = Pipeline.from_yaml(recipes()[name]).to_yaml()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded() -> dict[str, Any]:
    """Return the record of every recipe that has one, by name."""
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def record_of(run: Path, changes: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Return the name of the recipe that a folder is a run of, and what is kept of the run.

    Raises:
        ValueError: it is not a run of a ready recipe as it is now, but for these `changes`.
    """
    pipeline = Pipeline.from_yaml(run / "run.yaml")
    name, changes = pipeline.name or "", changes or {}
    same = name in recipes() and pipeline.resolved() == (
        Pipeline.from_yaml(recipes()[name]).with_settings(changes).resolved()
    )
    if not same:
        raise ValueError(f"{run} is not a run of a ready recipe as it is")
    summary = json.loads((run / "report.json").read_text(encoding="utf-8"))
    limit = re.search(r"(?m)^  limit: (\d+)$", (run / "run.yaml").read_text(encoding="utf-8"))
    steps = [{key: s[key] for key in _STEP if key in s} for s in summary["steps"]]
    kept = {key: summary[key] for key in _KEPT}
    first: dict[str, Any] = {"recipe": digest(name), "limit": int(limit[1]) if limit else None}
    first["set"] = changes
    return name, {**first, **kept, "steps": steps}


def page(record: dict[str, Any]) -> str:
    """Return the page that shows what is recorded."""
    lines = [HEAD]
    names = sorted(record)
    lines.append("| recipe | rows | kept | requests | what it does |\n|---|--:|--:|--:|---|")
    for name in names:
        one, link = record[name], f"[{name}](#{name})"
        sent = one["requests"]["sent"] + one["requests"]["replayed"]
        cells = [link, f"{one['in']:,}", f"{one['kept']:,}", f"{sent:,}" if sent else "none"]
        lines.append("| " + " | ".join([*cells, next(_summary(name))]) + " |")
    for name in names:
        lines += ["", f"## {name}", "", *_summary(name), "", *_entry(name, record[name])]
    return "\n".join(lines) + "\n"


def _summary(name: str) -> Iterator[str]:
    """Yield the first sentence of a recipe's comment."""
    text = recipes()[name].read_text(encoding="utf-8")
    comment = re.match(r"(?:#.*\n)+", text)
    assert comment is not None, f"{name} begins with no comment"
    words = " ".join(line.lstrip("# ") for line in comment[0].split("\n#\n")[0].splitlines())
    yield words.strip()


def _entry(name: str, one: dict[str, Any]) -> Iterator[str]:
    """Yield what a recipe is run with, its funnel, and where more is said of it."""
    limit = "".join(f" --set {key}={value}" for key, value in one["set"].items())
    limit += f" --limit {one['limit']}" if one["limit"] else ""
    steps = [{**step, "seconds": 0.0} for step in one["steps"]]
    summary = {**one, "steps": steps, "unreadable": [], "seconds": 0.0, "peak_memory_mb": 0.0}
    # Times are another machine's.
    shown = render(summary).rpartition("\n\n")[0]
    shown = re.sub(r"(?m)[ ]+(?:seconds|0\.00)$", "", shown)
    yield from (f"    curate run {name}{limit} -o runs/{name}", "", "```text", shown, "```")
    pages = [
        path.relative_to(ROOT / "docs")
        for path in sorted((ROOT / "docs" / "how-to").glob("*.md"))
        if re.search(rf"curate run {name}\b|`(?:pipelines/)?{name}\.yaml`", path.read_text("utf-8"))
    ]
    source = f"`pipelines/{name}.yaml`"
    links = ", ".join(f"[{p.stem.replace('-', ' ')}]({p})" for p in pages)
    yield from ("", f"{source}{f'; more: {links}' if links else ''}")


def main(runs: list[str]) -> None:
    """Record runs, and write the page."""
    record = recorded() if RECORD.exists() else {}
    for run in runs:
        folder, *changes = run.split(",")
        said = dict(change.split("=", 1) for change in changes)
        name, found = record_of(Path(folder), {k: yaml.safe_load(v) for k, v in said.items()})
        record[name] = found
    text = json.dumps(dict(sorted(record.items())), indent=1, ensure_ascii=False)
    RECORD.write_text(text + "\n", encoding="utf-8")
    PAGE.write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
