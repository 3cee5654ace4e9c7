"""What the embedded model is asked to choose from is what it is about to write."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from curate import Pipeline
from curate.steps import DeitaComplexity, DeitaQuality
from tests.models.providers.test_local import NEEDS_LOCAL

ROWS = [
    {"instruction": "Name the seasons.", "output": "Spring, summer, autumn and winter."},
    {"instruction": "Why is the sky blue?", "output": "Air scatters short waves of light most."},
    {"instruction": "How do I boil an egg?", "output": "I like trains."},
]


@pytest.mark.real
@NEEDS_LOCAL
def test_the_scores_hold_most_of_the_probability(tmp_path: Path) -> None:
    """A blank between the prompt's last colon and the digit held all of it: 1 in 10,000 was left.

    The tokenizers of this family write a blank and a digit as two tokens.
    """
    steps = [cls(model="judge", **cls.for_small_models) for cls in (DeitaQuality, DeitaComplexity)]
    result = Pipeline(steps, models={"judge": "local"}).run(
        ROWS, run=tmp_path / "run", store=tmp_path / "store"
    )
    events = [e for row in result.kept for e in result.explain(row.id).events]
    for name in ("deita_quality", "deita_complexity"):
        details = [e["detail"] for e in events if e["step"] == name]
        details = [json.loads(one) if isinstance(one, str) else one for one in details]
        assert statistics.median(one["mass"][0] for one in details) > 0.5
