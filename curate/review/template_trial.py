"""Try a template on rows in a process that can be killed, with the engine of the step `template`.

The sandbox bounds rounds and sizes; the process bounds what adds up beyond them, so that the page
stays alive whatever somebody pastes into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from curate.prompts.collection import Task, TaskTemplate, TemplateFault
from curate.row import Row
from curate.steps.generate.template import Template, columns_of, left_out
from curate.system.killable import JobKilled, killable_pool

LOOK_SECONDS, COUNT_SECONDS = 5.0, 30.0
_MEMORY_MB = 2_000
# What a page shows of each part of a task.
_MOST_SHOWN = 4_000


def tried(template: TaskTemplate, rows: Sequence[Row], *, seconds: float = LOOK_SECONDS) -> Any:
    """Return what is wrong with a template, and what it makes of each row.

    Returns:
        `faults`: of each the `field`, the `line` in it (or `None`), a `message`, and `stops`: no
        row can be rendered. `rows`: for each `input`, `target` and `choices`, or why it makes no
        row (`left_out`), or an `error`. Where it had to be stopped, a fault says so.
    """
    return _called("look", template, rows, seconds)


def counted(template: TaskTemplate, rows: Sequence[Row], *, seconds: float = COUNT_SECONDS) -> Any:
    """Return what a template makes of many rows, in numbers.

    Returns:
        `rows`, `rendered`, `left_out` (rows by reason), `failed` with the first `error`, mean words
        of input and target (`input_words`, `target_words`), and how many of them differ
        (`distinct_inputs`, `distinct_targets`); `faults` as from `tried`.
    """
    return _called("count", template, rows, seconds)


def _called(function: str, template: TaskTemplate, rows: Sequence[Row], seconds: float) -> Any:
    pool = killable_pool(f"curate.review.template_trial:{function}", seconds, _MEMORY_MB)
    try:
        return pool.call(job_of(template, rows))
    except JobKilled as killed:
        said = f"the template was stopped: {killed}"
    except ValueError as error:
        said = f"the template cannot be rendered: {error}"
    fault = {"field": "jinja", "line": None, "message": said, "stops": True}
    return {"faults": [fault], "rows": []}


def job_of(template: TaskTemplate, rows: Sequence[Row]) -> dict[str, Any]:
    """Return what the child needs: the template, and of each row its columns and its draw."""
    jobs: list[dict[str, Any]] = []
    for row in rows:
        try:
            # The seed that the step would draw where it has this template alone.
            seed = row.random(Template(collection="page").title).getrandbits(64)
            jobs.append({"columns": columns_of(row), "seed": seed})
        except ValueError as error:
            jobs.append({"error": str(error)})
    return {"template": {**asdict(template), "metadata": {}}, "rows": jobs}


def look(job: Mapping[str, Any]) -> dict[str, Any]:
    """Check and render a template: the child's part of `tried`."""
    template = TaskTemplate(**job["template"])
    faults = _faults(template, job["rows"])
    if any(fault["stops"] for fault in faults):
        return {"faults": faults, "rows": []}
    return {"faults": faults, "rows": [_shown(found) for found in _tasks(template, job["rows"])]}


def count(job: Mapping[str, Any]) -> dict[str, Any]:
    """Count what a template makes of rows: the child's part of `counted`."""
    template = TaskTemplate(**job["template"])
    faults = _faults(template, job["rows"])
    if any(fault["stops"] for fault in faults):
        return {"faults": faults}
    reasons: dict[str, int] = {}
    errors, words = [], [0, 0]
    # Hashes: the texts of many rows would fill the memory.
    distinct: tuple[set[int], set[int]] = (set(), set())
    rendered = 0
    for found in _tasks(template, job["rows"]):
        if isinstance(found, str):
            errors.append(found)
        elif (reason := left_out(found, "sft")) is not None:
            reasons[reason] = reasons.get(reason, 0) + 1
        else:
            rendered += 1
            for k, text in enumerate((found.input or "", found.target)):
                words[k] += len(text.split())
                distinct[k].add(hash(text))
    return {
        "faults": faults,
        "rows": len(job["rows"]),
        "rendered": rendered,
        "left_out": reasons,
        "failed": len(errors),
        "error": errors[0] if errors else None,
        "input_words": words[0] / rendered if rendered else None,
        "target_words": words[1] / rendered if rendered else None,
        "distinct_inputs": len(distinct[0]),
        "distinct_targets": len(distinct[1]),
    }


def _tasks(template: TaskTemplate, rows: Sequence[Mapping[str, Any]]) -> Iterator[Task | str]:
    """Yield the task of each row, or what fails it."""
    for row in rows:
        if "error" in row:
            yield row["error"]
            continue
        try:
            yield template.render(row["columns"], row["seed"])
        except TemplateFault as fault:
            yield str(fault)


def _shown(found: Task | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"error": found}
    return {
        "input": _cut(found.input or ""),
        "target": _cut(found.target),
        "choices": None if found.choices is None else [_cut(one) for one in found.choices[:100]],
        "left_out": left_out(found, "sft"),
    }


def _cut(text: str) -> str:
    more = len(text) - _MOST_SHOWN
    return text if more <= 0 else f"{text[:_MOST_SHOWN]} … ({more:,} more characters)"


def _faults(template: TaskTemplate, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is wrong with a template before any row is rendered."""
    from jinja2 import TemplateSyntaxError

    from curate.prompts.sandbox import compiled, separators, variables_of

    if not template.jinja.strip():
        return [_fault("jinja", None, "the template is empty; write an input, ||| and a target")]
    fields = {"jinja": template.jinja, "answer_choices": template.answer_choices or ""}
    faults: list[dict[str, Any]] = []
    for field, source in fields.items():
        try:
            compiled(source, of_columns=True)
        except TemplateSyntaxError as error:
            faults.append(_fault(field, error.lineno, error.message or "this is not a template"))
        except (SyntaxError, ValueError, OverflowError, RecursionError) as error:
            faults.append(_fault(field, None, f"this is not a template: {error}"))
    if faults:
        return faults
    always, anywhere = separators(template.jinja)
    if always > 1 or not anywhere:
        found = f"{always} separators" if always > 1 else "no separator"
        faults.append(
            _fault("jinja", None, f"{found}: exactly one ||| stands between input and target")
        )
    columns = {name for row in rows for name in row.get("columns", ())}
    for field, source in fields.items():
        known = columns | ({"answer_choices"} if field == "jinja" and fields[_CHOICES] else set())
        for name in sorted(variables_of(source, of_columns=True) - known) if rows else ():
            listed = ", ".join(sorted(columns))
            said = f"no row here has a column '{name}'; the columns are {listed}"
            if name == _CHOICES:
                said = "there are no answer choices: write some, separated by |||"
            place = re.search(rf"\b{re.escape(name)}\b", source)
            line = source.count("\n", 0, place.start()) + 1 if place else None
            faults.append(_fault(field, line, said, stops=False))
    return faults


_CHOICES = "answer_choices"


def _fault(field: str, line: int | None, message: str, *, stops: bool = True) -> dict[str, Any]:
    return {"field": field, "line": line, "message": message, "stops": stops}
