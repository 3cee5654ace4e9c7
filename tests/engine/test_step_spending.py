"""What each step has spent: in the report as JSON, as text and on the page, and over executions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from curate.ask import Ask
from curate.cli.main import app
from curate.models.model import Price
from curate.steps import Exact
from curate.store.budget import PICO, cost, prompt_bound

from .conftest import run
from .contract_steps import Judge, TwoReplies, write_script

PRICE = {"input": 1.0, "output": 10.0}
USAGE = {"input_tokens": 7, "output_tokens": 4}
ROWS = [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(6)]


def models(folder: Path) -> dict[str, Any]:
    """A judge that refuses one row and times out on another, and a writer."""
    late = {"fault": "timeout", "times": 1}
    judge = [
        {"when": {"contains": "answer 1"}, "fault": "permanent"},
        {"when": {"contains": "answer 2"}, "reply": "7", "usage": USAGE, **late},
        {"when": {}, "reply": "7", "usage": USAGE},
    ]
    writer = [{"when": {}, "reply": ["one", "two"], "usage": USAGE}]
    return {
        "judge": {"model": f"scripted:{write_script(folder / 'j.jsonl', judge)}", "price": PRICE},
        "writer": {"model": f"scripted:{write_script(folder / 'w.jsonl', writer)}", "price": PRICE},
    }


def counts(part: dict[str, Any]) -> list[int]:
    return [*part["requests"].values(), *part["tokens"].values()]


def test_the_parts_of_steps_are_what_the_run_spent(tmp_path: Path) -> None:
    steps = [Judge(label="first"), Judge(label="second"), TwoReplies(label="write")]
    asking = models(tmp_path)
    options: dict[str, Any] = {"models": asking, "allow_failed": 1.0}
    summary = run(steps, ROWS, tmp_path, **options).summary
    parts = {part["step"]: part for part in summary["spending"]}
    assert list(parts) == ["first", "second", "write"]
    # One row is refused, one is asked twice; the second judge asks what the first one did.
    assert counts(parts["first"]) == [7, 0, 1, 1, 5 * 7, 5 * 4]
    assert counts(parts["second"]) == [0, 5, 0, 0, 0, 0]
    assert counts(parts["write"]) == [10, 0, 0, 0, 10 * 7, 10 * 4]
    price = Price(**PRICE)
    late = cost(price, prompt_bound(Ask.text("Rate this: answer 2")), 8)
    paid = [5 * cost(price, 7, 4) + late, 0, 10 * cost(price, 7, 4)]
    assert [round(part["cost_usd"] * PICO) for part in parts.values()] == paid
    assert round(summary["cost_usd"] * PICO) == sum(paid)
    assert [sum(column) for column in zip(*map(counts, parts.values()), strict=True)] == counts(
        summary
    )
    # A second execution pays for one row more; another label asks what "first" paid for.
    steps = [Judge(label="again"), TwoReplies(label="write")]
    more = [*ROWS, {"instruction": "question 9", "output": "answer 9"}]
    summary = run(steps, more, tmp_path, replace=True, **options).summary
    parts = {part["step"]: part for part in summary["spending"]}
    assert list(parts) == ["again", "write", "first", "second"]
    assert counts(parts["again"]) == [2, 5, 1, 0, 7, 4]
    assert [sum(column) for column in zip(*map(counts, parts.values()), strict=True)] == counts(
        summary
    )
    shown(tmp_path, summary)


def shown(folder: Path, summary: dict[str, Any]) -> None:
    """Hold that the command says the same in all three forms."""
    runner, given = CliRunner(), ["report", str(folder / "run")]
    done = runner.invoke(app, [*given, "--json"])
    assert json.loads(done.stdout)["spending"] == summary["spending"]
    text = runner.invoke(app, given).stdout
    lines = text[text.index("spent by step") :].splitlines()[2:6]
    assert [line.split()[0] for line in lines] == ["again", "write", "first", "second"]
    assert lines[0].split() == ["again", "2", "5", "1", "0", "7", "4", "$0.0000"]
    page = folder / "page.html"
    assert runner.invoke(app, [*given, "--html", str(page)]).exit_code == 0
    html = page.read_text()
    table = html[html.index("What each step has spent") :].split("</table>")[0]
    cells = ">again</th>" + "".join(f'<td class="n">{n}</td>' for n in (2, 5, 1, 0, 7, 4))
    assert cells in table and ">all</th>" in table


def test_a_run_that_asks_nothing_has_no_such_table(tmp_path: Path) -> None:
    summary = run([Exact()], ROWS, tmp_path).summary
    assert "spending" not in summary
