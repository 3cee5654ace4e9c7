"""The gold of reasoning-gym's families scores 1, wrong answers less, and none runs as a program."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.kernels.verifiers.checkers import verify_reply
from curate.kernels.verifiers.verification import UnreadableAnswer, VerifyOptions
from curate.steps import Verify
from tests.confinement import confined

pytestmark = [
    confined(),
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("reasoning_gym") is None, reason="needs the extra 'verify'"
    ),
]
FAMILIES = (
    *("ab", "base_conversion", "binary_matrix", "calendar_arithmetic", "chain_sum", "countdown"),
    *("family_relationships", "gcd", "knights_knaves", "leg_counting", "letter_counting", "maze"),
    *("mini_sudoku", "number_sorting", "polynomial_equations", "products", "spell_backward"),
    *("syllogism", "tower_of_hanoi", "word_ladder"),
)


def entry_of(family: str, seed: int = 5) -> dict[str, Any]:
    """Return an entry as a dataset holds it: as JSON."""
    import reasoning_gym

    entry = reasoning_gym.create_dataset(family, size=1, seed=seed)[0]
    return dict(json.loads(json.dumps(entry)))


def score(reply: str, gold: Any) -> float:
    return verify_reply("task", reply, gold).share


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_scores_one_and_wrong_less(family: str) -> None:
    entry = entry_of(family)
    for reply in (entry["answer"], f"So I think.\n<answer>\n{entry['answer']}\n</answer>"):
        assert score(reply, entry) == 1
    other = next(
        found
        for seed in range(6, 99)
        if (found := entry_of(family, seed))["answer"] != entry["answer"]
    )
    assert score(f"<answer>{other['answer']}</answer>", entry) < 1
    assert score("<answer>no answer of any kind</answer>", entry) < 1


def test_there_are_twenty_families() -> None:
    assert len(set(FAMILIES)) == 20


def test_the_evidence_names_the_family() -> None:
    entry = entry_of("leg_counting")
    found = verify_reply("task", "The answer is 1.", json.dumps(entry))
    assert found.evidence == {
        "checker": "task",
        "family": "leg_counting",
        "found": "1",
        "score": found.share,
    }


def test_an_answer_that_is_a_program_reaches_nothing(tmp_path: Path) -> None:
    entry = entry_of("countdown")
    mark = tmp_path / "mark"
    program = f"__import__('pathlib').Path('{mark}').write_text('x')"
    assert score(f"<answer>{program}</answer>", entry) < 1
    assert not mark.exists()


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (3, "the gold is int, not an object"),
        ("{", "the gold is not JSON"),
        ({"answer": "1"}, "metadata is NoneType, not an object"),
        ({"answer": "1", "metadata": {}}, "metadata names no source_dataset"),
        ({"metadata": {"source_dataset": "gcd"}}, "it has no answer"),
        (
            {"answer": "1", "metadata": {"source_dataset": "gdc"}},
            "unknown family 'gdc'; did you mean 'gcd'?",
        ),
        (
            {"answer": "1", "metadata": {"source_dataset": "game_of_life_halting"}},
            "accepts any answer",
        ),
    ],
)
def test_gold_without_a_task_says_why(gold: Any, message: str) -> None:
    with pytest.raises(UnreadableAnswer, match="the gold holds no task") as caught:
        score("1", gold)
    assert message in str(caught.value)


def test_a_family_that_refuses_its_own_answer_cannot_judge() -> None:
    with pytest.raises(UnreadableAnswer, match=r"gives the entry's own answer 0\.05"):
        score("1", entry_of("rearc"))


def test_an_answer_that_cannot_be_read_fails() -> None:
    entry = entry_of("prime_factorization")
    with pytest.raises(ValueError, match="invalid literal"):
        score("nothing", entry)
    with pytest.raises(UnreadableAnswer, match="the reply holds no answer"):
        score("<answer> </answer>", entry)
    with pytest.raises(ValueError, match="could not be scored"):
        options = VerifyOptions(seconds=0.3, memory_mb=1024)
        verify_reply("task", "<answer>9**9**9</answer>", entry_of("countdown"), options)


def test_a_run_reads_the_columns_of_an_entry(tmp_path: Path) -> None:
    entry = entry_of("gcd")
    rows = [
        {"instruction": entry.pop("question", "?"), "output": output, **entry}
        for output in (entry["answer"], "0", "")
    ]
    result = Pipeline([Verify(checker="task")]).run(rows, run=tmp_path / "run", allow_failed=1.0)
    step = result.summary["steps"][0]
    assert (len(result.kept), step["dropped"], step["failed"]) == (1, 1, 1)
