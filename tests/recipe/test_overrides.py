"""Single values of a recipe replaced by their paths."""

from typing import Any

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.steps import Length, Near


def test_settings_replace_values_together() -> None:
    pipeline = Pipeline(
        [Length(min=1, max=3), Length(), Near()],
        inputs={"a": "x.jsonl"},
        models={"gpt-4.1": "openai:gpt-4.1"},
    )
    changed = pipeline.with_settings(
        {
            "steps.length.min": 9,
            "steps.length.max": 20,
            "steps.length_2.on": "whole",
            "steps.2.similarity": 1,
            "seed": 5,
            "name": "n",
            "inputs.a.shape": "alpaca",
            "models.gpt-4.1.temperature": 0.5,
            "models.other": "openai:y",
        }
    )
    assert changed.steps == (Length(min=9, max=20), Length(on="whole"), Near(similarity=1.0))
    assert (changed.seed, changed.name) == (5, "n")
    assert changed.inputs == {"a": {"path": "x.jsonl", "shape": "alpaca"}}
    assert changed.models == {
        "gpt-4.1": {"model": "openai:gpt-4.1", "temperature": 0.5},
        "other": "openai:y",
    }
    assert pipeline.steps[0] == Length(min=1, max=3)


WRONG_SETTINGS = [
    ({"sed": 1}, "unknown path 'sed'; did you mean 'seed'"),
    ({"seed": "x"}, "--set seed: seed must be an integer"),
    ({"seed.x": 1}, "unknown path 'seed.x'"),
    ({"steps.lenght.min": 1}, "unknown step 'lenght'; did you mean 'length'"),
    ({"steps.length.mn": 1}, "unknown field 'mn'; did you mean 'min'"),
    ({"steps.length": 1}, "unknown field ''"),
    ({"steps.length.min": "a"}, "min must be an integer"),
    ({"steps.length.min.x": 3}, "min must be|no mapping"),
    ({"steps.length.min": 9, "steps.length.max": 3}, "no text can pass"),
    ({"name.x.y": 1}, "unknown path"),
]


@pytest.mark.parametrize(("settings", "says"), WRONG_SETTINGS, ids=lambda v: str(v)[:40])
def test_settings_that_lead_nowhere(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Pipeline([Length()]).with_settings(settings)
