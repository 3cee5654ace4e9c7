"""The recipes whose answers are verified: as they are, with scripted replies for the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline
from curate.prompts.replies.thought_tags import thought_of
from curate.steps import Reason
from curate.system.package_data import folder
from tests.pipelines.test_asking import check_that_no_row_is_lost, run, script

pytestmark = pytest.mark.slow


def lines(name: str) -> list[dict[str, Any]]:
    text = (folder("pipelines") / "data" / f"{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_math_rejection_keeps_what_is_answered_rightly_sometimes(tmp_path: Path) -> None:
    """Question n is answered rightly n % 5 times of 4."""
    replies = []
    for number, one in enumerate(lines("sums")):
        gold = one["answer"].rpartition(" ")[2]
        right = number % 5
        said = [f"It is {gold}."] * right + ["I do not know.", "It is 1000.", "It is 2000.", "No."]
        replies.append({"when": {"contains": one["question"]}, "reply": said[:4]})
    result = run("math_rejection", tmp_path, models={"writer": script(tmp_path, replies)})
    counts = check_that_no_row_is_lost(result)
    assert counts["requests"]["sent"] == 4 * 24
    numbers = {one["question"]: number for number, one in enumerate(lines("sums"))}
    kinds = {kind: list(rows) for kind, rows in result.kept.by_kind().items()}
    kept = [numbers[row.instruction] for row in kinds["sft"]]
    assert {number % 5 for number in kept} == {1, 2, 3}
    reasons = counts["steps"][1]["reasons"]
    assert set(reasons) == {"pass rate below 0.1", "pass rate above 0.9"}
    assert len(kept) + sum(reasons.values()) == 24
    # "I do not know." holds no number: it is wrong for the rate, and no side of a pair.
    pairs = kinds["preference"]
    assert len(pairs) == sum(number % 5 < 3 for number in kept)
    assert all("000" in pair.rejected[0].content for pair in pairs)


def test_reasoning_keeps_the_gold_answers_and_thoughts_apart(tmp_path: Path) -> None:
    replies = []
    for number, one in enumerate(lines("sums")):
        gold = one["answer"].rpartition(" ")[2]
        good = f"<think>\nCount them.\n</think>\n\n#### {gold}"
        said = [good, "#### 1000", good] if number % 2 else ["#### 1000", good, "#### 1000"]
        replies.append({"when": {"contains": one["question"]}, "reply": said})
    result = run("reasoning", tmp_path, models={"writer": script(tmp_path, replies)})
    counts = check_that_no_row_is_lost(result)
    assert counts["requests"]["sent"] == 3 * 12
    kept = list(result.kept)
    kwargs = [json.loads(row.extra or "{}")["chat_template_kwargs"] for row in kept]
    assert kwargs == [{"enable_thinking": True}, {"enable_thinking": False}] * (len(kept) // 2)
    assert len(kept) // 2 + counts["steps"][1]["reasons"]["not the gold answer"] == 12
    thoughts = [thought_of(row.messages[-1]) for row in kept]
    assert thoughts == ["Count them.", None] * (len(kept) // 2)


def test_tool_use_makes_calls_that_fit_their_schemas(tmp_path: Path) -> None:
    values = {"string": "x", "integer": 1, "number": 1.5, "boolean": True, "array": ["x"]}
    replies: list[dict[str, Any]] = []
    for one in lines("tools"):
        schema = one["parameters"]
        given = {name: values[schema["properties"][name]["type"]] for name in schema["required"]}
        if one["name"] == "play_music":
            given["volume"] = 200
        asked = f" Please {one['name']}.\nArguments: {json.dumps(given)}"
        replies.append({"when": {"contains": f"Tool: {json.dumps(one)}"}, "reply": asked})
    replies += [
        {"when": {"contains": "Tools: "}, "reply": " I cannot do that."},
        {"when": {"contains": "Call: "}, "reply": ' {"ok": true}'},
        {"when": {}, "reply": " Done."},
    ]
    result = run("tool_use", tmp_path, models={"writer": script(tmp_path, replies)})
    counts = check_that_no_row_is_lost(result)
    kept = result.kept.to_list()
    # What does not fit its schema failed before it was a row; the filter finds nothing.
    errors = [row["error"] for row in result.failed.to_list()]
    assert all("200 is greater than the maximum of 100" in error for error in errors)
    assert len(kept) + len(errors) == 12
    assert counts["dropped"] == 0
    expected = {row["expect"] for row in kept}
    assert expected == {"call", "none"}


def test_rows_that_think_leave_in_a_form_that_holds_thoughts(tmp_path: Path) -> None:
    """Whatever form they came in: a question and its answer have no place for thoughts."""
    source, out = tmp_path / "gsm.jsonl", tmp_path / "out.jsonl"
    rows = [{"question": f"What is {n}?", "answer": f"#### {n}"} for n in (1, 2)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    replies = [
        {"when": {"contains": "What is 1?"}, "reply": "#### 1"},
        {"when": {"contains": "What is 2?"}, "reply": "<think>\n2\n</think>\n\n#### 2"},
    ]
    pipeline = Pipeline(
        [Reason(model="m", verify="number")], models={"m": script(tmp_path, replies)}
    )
    pipeline.run(source, run=tmp_path / "run", store=tmp_path / "store", output=out)
    found = [json.loads(line)["messages"][-1] for line in out.read_text().splitlines()]
    assert found == [
        {"role": "assistant", "content": "#### 1"},
        {"role": "assistant", "content": "#### 2", "reasoning_content": "2"},
    ]
