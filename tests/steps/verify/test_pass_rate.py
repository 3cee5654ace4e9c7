"""Which prompts teach: kept sets of models whose skill is known, and what is made of them."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import Pipeline
from curate.ask import Reply
from curate.errors import RecipeError
from curate.step import Made
from curate.steps import Pairs, PassRate
from tests.steps.verify.skilled import answers_of, run, script

OF = 8
# The prompt of each skill is asked under its number.
ROWS = [{"prompt": f"Question {n}: what is it?", "ground_truth": "7"} for n in range(OF + 1)]
SKILLS = {f"Question {n}:": answers_of(n, OF) for n in range(OF + 1)}
NUMBER = {"checker": "number"}


def rates(result: Any) -> dict[int, float]:
    kept = result.kept.to_list()
    return {int(one["prompt"].split()[1][:-1]): one["pass_rate"] for one in kept}


def test_a_window_keeps_just_the_prompts_within_it_and_another_one_asks_nothing(
    tmp_path: Path,
) -> None:
    model = script(tmp_path / "m.jsonl", SKILLS)
    sent = []
    for low, high in ((0.1, 0.7), (None, None), (0.5, 0.5), (0.0, 1.0), (0.3, None), (None, 0.0)):
        step = PassRate(model="m", samples=OF, verify=NUMBER, min=low, max=high)
        result = run([step], ROWS, tmp_path, model, f"run-{low}-{high}")
        expected = {
            n: n / OF
            for n in range(OF + 1)
            if (low or 0) <= Fraction(n, OF) <= (1 if high is None else high)
        }
        assert rates(result) == expected
        sent.append(result.summary["requests"]["sent"])
        summary = result.summary
        assert summary["in"] + summary["made"] == sum(
            summary[name] for name in ("kept", "used", "dropped", "failed")
        )
    assert sent == [OF * len(ROWS), 0, 0, 0, 0, 0]
    figures = result.summary["figures"]["pass_rate"]
    assert figures == {
        "pass rate": 0.5,
        "never verified": pytest.approx(1 / 9),
        "always verified": pytest.approx(1 / 9),
        "unreadable answers": 0,
    }


def test_rethreshold_moves_the_window(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    step = PassRate(model="m", samples=OF, verify=NUMBER, min=0.1, max=0.7)
    first = run([step], str(data), tmp_path, script(tmp_path / "m.jsonl", SKILLS))
    assert sorted(rates(first)) == [1, 2, 3, 4, 5]
    again = first.rethreshold(pass_rate={"min": 0.5, "max": 1.0})
    assert sorted(rates(again)) == [4, 5, 6, 7, 8]
    assert again.summary["requests"]["sent"] == first.summary["requests"]["sent"]
    reasons = again.summary["steps"][0]["reasons"]
    assert reasons == {"pass rate below 0.5": 4}


REPLIES = {
    "Question A:": [
        "It is 8.\n#### 8",
        "Long and right, with many words before it.\n#### 7",
        "Right.\n#### 7",
        "No number.",
        "right.  \n#### 7",
        "It is 9.\n#### 9",
        "",
        "Right.\n#### 7",
    ]
}
ONE = [{"prompt": "Question A: what is it?", "ground_truth": 7, "level": "easy"}]


@pytest.mark.parametrize(
    ("choose", "numbers"),
    [("first", [1]), ("best", [1]), ("shortest", [2]), ("all", [1, 2, 4])],
)
def test_rejection_sampling_keeps_verified_answers(
    choose: Any, numbers: list[int], tmp_path: Path
) -> None:
    step = PassRate(model="m", verify="number", to=("sft",), choose=choose)
    result = run([step], ONE, tmp_path, script(tmp_path / "m.jsonl", REPLIES))
    kept = result.kept.to_list()
    assert [row["messages"][-1]["content"] for row in kept] == [
        REPLIES["Question A:"][n] for n in numbers
    ]
    assert all(row["level"] == "easy" for row in kept)
    # The two that cannot be read failed by themselves, and are not counted as wrong.
    errors = [row["error"] for row in result.failed.to_list()]
    assert len(errors) == 2
    assert "holds no number answer" in errors[0]
    assert "the answer is empty" in errors[1]
    [row, *_] = result.kept
    assert row.scores["pass_rate"] == 4 / 6


def test_wrong_answers_stay_as_candidates_and_make_pairs(tmp_path: Path) -> None:
    step = PassRate(model="m", verify="number", to=("sft", "ranked"), unreadable="wrong")
    pairs = Pairs(rejected="every", most=None, only=("ranked",))
    result = run([step, pairs], ONE, tmp_path, script(tmp_path / "m.jsonl", REPLIES))
    by_kind = {kind: rows.to_list() for kind, rows in result.kept.by_kind().items()}
    assert len(by_kind["sft"]) == 1
    found = {
        (p["chosen"][0]["content"], p["rejected"][0]["content"]) for p in by_kind["preference"]
    }
    right = {REPLIES["Question A:"][n] for n in (1, 2, 4)}
    wrong = {REPLIES["Question A:"][n] for n in (0, 5)}
    assert {one for one, _ in found} <= right
    assert {two for _, two in found} == wrong
    assert all(pair["margin"] == 1 for pair in by_kind["preference"])
    assert result.summary["failed"] == 0
    figures = result.summary["figures"]["pass_rate"]
    assert (figures["pass rate"], figures["unreadable answers"]) == (0.5, 0.25)


def test_thoughts_are_kept_apart_and_are_not_verified(tmp_path: Path) -> None:
    replies = ["<think>\nIs it 7?\n</think>\n\n#### 8", "<think>\n8? No.\n</think>\n\n#### 7"]
    model = script(tmp_path / "m.jsonl", {"Question A:": replies})
    step = PassRate(model="m", samples=2, verify="exact", to=("sft",))
    result = run([step], ONE, tmp_path, model)
    [row] = result.kept.to_list()
    assert row["messages"][-1] == {
        "role": "assistant",
        "content": "#### 7",
        "reasoning_content": "8? No.",
    }


def test_the_answer_of_a_conversation_is_gold_where_no_column_is(tmp_path: Path) -> None:
    rows = [{"question": "Question A: ?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"}]
    step = PassRate(model="m", verify="number", min=0.1, max=0.9)
    result = run([step], rows, tmp_path, script(tmp_path / "m.jsonl", REPLIES))
    [row] = result.kept.to_list()
    assert (row["ground_truth"], row["verifier"]) == ("7", "number")
    assert row["pass_rate"] == 4 / 6


def test_a_row_without_gold_or_with_no_readable_answer_fails(tmp_path: Path) -> None:
    model = script(tmp_path / "m.jsonl", {"Question": ["none"] * OF})
    rows = [{"prompt": "Question 1"}, {"prompt": "Question 2", "ground_truth": "7"}]
    for unreadable in ("fail", "wrong"):
        step = PassRate(model="m", verify="number", unreadable=unreadable)
        result = run([step], rows, tmp_path, model, unreadable)
        errors = [row["error"] for row in result.failed.to_list()]
        assert "holds no gold answer" in errors[0]
        assert "the reply holds no number answer" in errors[1]
        assert len(errors) == 2


def test_the_estimate_names_requests_and_cost_before_anything_is_sent(tmp_path: Path) -> None:
    model = script(tmp_path / "m.jsonl", SKILLS, price={"input": 1.0, "output": 1.0})
    step = PassRate(model="m", samples=OF, verify=NUMBER, min=0.1, max=0.7)
    pipeline = Pipeline([step], models={"m": model})
    places = {"run": tmp_path / "run", "store": tmp_path / "store"}
    dry = pipeline.run(ROWS, **places, dry_run=True).summary
    result = run([step], ROWS, tmp_path, model)
    estimate = result.summary["estimate"]
    assert estimate["requests"] == estimate["actual"]["requests"] == OF * len(ROWS)
    assert estimate["cost_usd"] > 0
    assert dry["estimate"]["requests"] == OF * len(ROWS)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rights=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    window=st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted),
)
def test_a_row_is_kept_if_and_only_if_its_rate_is_in_the_window(
    rights: list[int], window: list[int], conversation: Any
) -> None:
    """The step by itself, replies in hand: no engine between rule and verdict."""
    low, high = window[0] / 5, window[1] / 5
    step = PassRate(model="m", samples=5, verify="number", min=low, max=high)
    for right in rights:
        row = conversation("What is it?", "#### 7")
        asking = step.make(row)
        asks = next(asking)
        assert [ask.sample for ask in asks] == list(range(5))
        with pytest.raises(StopIteration) as end:
            asking.send([Reply(text=text) for text in answers_of(right, 5)])
        kept = any(isinstance(one, Made) for one in end.value.value)
        assert kept == (window[0] <= right <= window[1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": 1}, "a rate needs 2 or more"),
        ({"min": 0.8, "max": 0.2}, "no rate is between"),
        ({"max": 1.5}, "a rate is from 0 to 1"),
        ({"at_least": 0.0}, "a share is above 0"),
        ({"choose": "all"}, "belongs to to: sft"),
        ({"to": ("sft", "sft")}, "each once"),
        ({"verify": "guess"}, "checker"),
        ({"verify": {"checker": "number", "min": 1}}, "but min"),
        ({"verify": {"chekcer": "number"}}, "no field"),
        ({"temperature": 0.0}, "all samples are one answer"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, RecipeError), match=message):
        Pipeline([PassRate(model="m", **fields)], models={"m": "local"})
