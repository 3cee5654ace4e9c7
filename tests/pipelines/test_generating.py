"""The recipes that make rows of rows: as they are, with scripted replies in the model's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.test_asking import check_that_no_row_is_lost, run, script

pytestmark = pytest.mark.slow
FIRST_LINE = {"when": {}, "reply": " A reply of one line that says something of its own."}


@pytest.mark.parametrize(
    ("name", "replies", "asked", "kept"),
    [
        (
            "document_qa",
            [
                # It is in the first passage of one document, and in no other.
                {"when": {"contains": "2,000 eggs"}, "reply": " Who lays?\nAnswer: The queen."},
                {
                    "when": {"contains": "24 computers"},
                    "reply": " How many?\nAnswer: 99 in the reading room.",
                },
                {"when": {}, "reply": "no pair"},
            ],
            31,
            1,
        ),
        ("self_chat", [{"when": {}, "reply": " Why?\n[AI] Because."}], 48, 48),
        ("backtranslate", [FIRST_LINE], 30, 30),
        ("evolve", [FIRST_LINE], 36, 36),
        (
            "sdf",
            [{"when": {"contains": "Ranks of"}, "reply": " 2, 1, 3"}, FIRST_LINE],
            160,
            40,
        ),
    ],
)
def test_a_recipe_asks_what_it_says_and_keeps_what_can_be_kept(
    name: str, replies: list[dict[str, object]], asked: int, kept: int, tmp_path: Path
) -> None:
    path = script(tmp_path, replies)
    models = dict.fromkeys(("writer", "judge") if name == "sdf" else ("writer",), path)
    counts = check_that_no_row_is_lost(run(name, tmp_path, models=models))
    assert counts["requests"]["sent"] == asked
    assert counts["kept"] == kept
    if name == "document_qa":
        assert counts["steps"][1]["reasons"] == {"a number that is not in its passage": 1}
        assert counts["figures"]["groundedness"]["unsupported_share"] == 0.5
        assert counts["failed"] == 29
