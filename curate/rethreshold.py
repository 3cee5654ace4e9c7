"""Decide again with other rules: the same recipe, inputs and replies, in a sibling folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import UsageError
from curate.step import Step

if TYPE_CHECKING:
    from curate.result import Result


def rethreshold(result: Result, rules: Mapping[str, Any], inputs: Any) -> Result:
    """Run `result`'s pipeline with some rules replaced; nothing scored before is asked again."""
    from curate.engine.folder import RunFolder
    from curate.engine.options import RunOptions
    from curate.engine.run import execute

    pipeline = result.pipeline.resolved()
    if inputs is None and pipeline.inputs is None:
        raise UsageError(
            f"{result.folder} was made of rows in memory; run the pipeline again with those rows"
        )
    labels = [step.title for step in pipeline.steps]
    for label in rules:
        if label not in labels:
            raise UsageError(f"no step is labelled '{label}'; this run has {', '.join(labels)}")
    steps = [
        _changed(step, rules[step.title]) if step.title in rules else step
        for step in pipeline.steps
    ]
    text = json.dumps(rules, sort_keys=True, default=str)
    name = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    folder = RunFolder(result.folder.with_name(f"{result.folder.name}-{name}"))
    folder.share_spending(RunFolder(result.folder))
    kept = result.recipe.get("options", {})
    options = RunOptions(
        run=folder.path,
        limit=kept.get("limit"),
        max_cost=kept.get("max_cost"),
        max_requests=kept.get("max_requests"),
        store=Path(kept["store"]) if kept.get("store") else None,
        shape=kept.get("shape"),
    )
    return execute(dataclasses.replace(pipeline, steps=tuple(steps)), inputs, options)


def _changed(step: Step, change: Any) -> Step:
    """Return `step` with other rules; `None` as a rule drops nothing."""
    rules = step.rules()
    if not isinstance(change, Mapping):
        set_rules = [name for name in rules if getattr(step, name) is not None]
        names = set_rules if len(set_rules) == 1 else list(rules)
        if len(names) != 1:
            raise UsageError(
                f"step '{step.title}' has several rules ({', '.join(rules)}); name the one you "
                f"mean: {step.title}={{'{(names or ['rule'])[0]}': {change!r}}}"
            )
        change = {names[0]: change}
    for name in change:
        if name not in rules:
            raise UsageError(
                f"'{name}' is no rule of step '{step.title}'; its rules: "
                f"{', '.join(rules) or 'none'}; another field changes its scores: make a new run"
            )
    changed: Step = dataclasses.replace(step, **change)
    return changed
