"""What strangers may see of a run: names, and no paths or addresses."""

import pytest

from curate.runs.public import public_name, public_recipe


@pytest.mark.parametrize(
    ("where", "seen"),
    [
        ("/srv/a/rows.jsonl", "rows.jsonl"),
        ("../rows.jsonl", "rows.jsonl"),
        ("a/b.jsonl", "b.jsonl"),
        ("hub://org/name@train", "hub://org/name@train"),
        ("s3://bucket/rows.jsonl", "s3://bucket/rows.jsonl"),
        ("pipelines/data/math.jsonl.gz", "pipelines/data/math.jsonl.gz"),
        ("-", "-"),
    ],
)
def test_a_name_without_folders(where: str, seen: str) -> None:
    assert public_name(where) == seen


def test_a_recipe_without_paths_and_addresses() -> None:
    recipe = {
        "inputs": {"a": "deep/a.jsonl", "b": {"path": "/x/b.jsonl", "shape": "alpaca"}},
        "models": {
            "m": {"model": "openai:m", "base_url": "http://10.0.0.1/v1", "api_key_env": "KEY"},
            "s": "scripted:/x/replies.jsonl",
        },
        "steps": [
            "exact",
            {"contamination": {"against": ["gsm8k=/x/gsm8k.jsonl", "math=data/math.jsonl"]}},
            {"rubric": {"prompt": "./prompts/mine.md", "at_least": 4}},
            {"keywords": {"phrases": ["and/or", "/ slash", "a=b"], "pattern": "https?://"}},
        ],
        "outputs": {"sft": "/x/out.jsonl"},
    }
    assert public_recipe(recipe) == {
        "inputs": {"a": "a.jsonl", "b": {"path": "b.jsonl", "shape": "alpaca"}},
        "models": {"m": {"model": "openai:m"}, "s": "scripted:replies.jsonl"},
        "steps": [
            "exact",
            {"contamination": {"against": ["gsm8k=gsm8k.jsonl", "math=math.jsonl"]}},
            {"rubric": {"prompt": "mine.md", "at_least": 4}},
            {"keywords": {"phrases": ["and/or", "/ slash", "a=b"], "pattern": "https?://"}},
        ],
    }
    assert "outputs" in recipe, "the recipe itself is left alone"
