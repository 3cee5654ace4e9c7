"""What a dry run tells people."""

from __future__ import annotations

from typing import Any

import pytest

from curate.cli.running import plan

ESTIMATE = {
    "requests": 12_000,
    "replayed": 3_000,
    "input_tokens": 2_400_000,
    "output_tokens": 96_000,
    "cost_usd": 0.41760,
    "sampled_rows": 256,
    "ends_at": None,
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "2,400,000 + 96,000 tokens, for about $0.4176; from a sample of 256 rows"),
        ({"cost_usd": None}, "96,000 tokens, for a price that is not known; from"),
        ({"ends_at": "pairs"}, "for about $0.4176, as far as step 'pairs'; from"),
    ],
)
def test_the_plan_says_what_would_be_asked(changed: dict[str, Any], told: str) -> None:
    summary = {
        "inputs": [],
        "kinds": ["sft"],
        "steps": [{"label": "judge", "name": "rubric", "asks": True}],
        "estimate": {**ESTIMATE, **changed},
    }
    text = plan(summary)
    assert "would ask about 12,000 requests (the store has 3,000 more)" in text
    assert told in text and text.endswith("nothing was sent")
