"""Prompts with gold: what becomes of a solution, a column, a list, and of gold that is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.row import Message
from curate.steps import Verifiable
from curate.write import write_rows
from tests.write.rows import row as made_row

ASKED = (Message("user", "What is 3 + 4?"),)
GSM = [
    {"question": "What is 3 + 4?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"},
    {"question": "How many?", "answer": "It is 1,234.50.\n#### 1,234.50"},
    {"question": "How much?", "answer": "A third.\n#### 1/3"},
    {"question": "Why?", "answer": "Because."},
]


def test_verifiable_makes_prompts_with_plain_gold(tmp_path: Path) -> None:
    result = Pipeline([Verifiable(verify="number")]).run(GSM, run=tmp_path / "run", allow_failed=1)
    kept = result.kept.to_list()
    assert [row["ground_truth"] for row in kept] == ["7", "1234.5", "1/3"]
    assert {row["verifier"] for row in kept} == {"number"}
    [failed] = result.failed.to_list()
    assert "no number answer" in failed["error"]
    path = tmp_path / "out.jsonl"
    assert write_rows(result.kept.tables(), path, "open_instruct") == 3
    assert json.loads(path.read_text().splitlines()[0])["dataset"] == "gsm8k"


@pytest.mark.parametrize(
    ("extra", "verify", "columns"),
    [
        (
            {"answer": "a\n#### 18", "n": 1},
            {"checker": "number", "gold": "answer", "tolerance": 0.01},
            {
                "answer": "a\n#### 18",
                "n": 1,
                "ground_truth": "18",
                "verifier": '{"checker": "number", "tolerance": 0.01}',
            },
        ),
        (
            {"label": "B"},
            {"checker": "choice", "gold": "label"},
            {"ground_truth": "B", "verifier": "choice"},
        ),
        (
            {"ground_truth": ["7", "8"]},
            "number",
            {"ground_truth": ["7", "8"], "verifier": "number"},
        ),
        (
            {"ground_truth": {"type": "object"}},
            "json",
            {"ground_truth": {"type": "object"}, "verifier": "json"},
        ),
    ],
)
def test_gold_may_stand_in_a_column(extra: Any, verify: Any, columns: Any) -> None:
    row = made_row("prompt", 0, json.dumps(extra), prompt=ASKED)
    made = Verifiable(verify=verify).make(row)
    assert json.loads(made.extra or "") == columns
