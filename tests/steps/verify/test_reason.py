"""Chains of thought: who wins the vote, what gold says, where thoughts go."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.ask import Reply
from curate.errors import RecipeError
from curate.row import Message
from curate.step import Drop, Made
from curate.steps import Reason
from tests.steps.conftest import row_of
from tests.steps.verify.skilled import run, script

ROWS = [{"prompt": "What is it?", "ground_truth": "7", "n": 1}]
FIVE = ["a\n#### 8", "b b b\n#### 7", "none", "c\n#### 7.0", "d\n#### 8.5"]


def model(path: Path, replies: list[str]) -> dict[str, Any]:
    return script(path / "m.jsonl", {"What is it?": replies})


@pytest.mark.parametrize(
    ("fields", "contents"),
    [({}, [1]), ({"choose": "shortest"}, [3]), ({"choose": "all"}, [1, 3])],
)
def test_the_largest_group_of_equal_answers_wins(
    fields: dict[str, Any], contents: list[int], tmp_path: Path
) -> None:
    step = Reason(model="m", samples=5, verify="number", gold="none", **fields)
    result = run([step], ROWS, tmp_path, model(tmp_path, FIVE))
    kept = result.kept.to_list()
    assert [row["messages"][-1]["content"] for row in kept] == [FIVE[n] for n in contents]
    # The row keeps the question, not how it was put.
    assert kept[0]["messages"][0]["content"] == "What is it?"
    assert kept[0]["n"] == 1
    assert [row.scores["reason"] for row in result.kept] == [0.5] * len(contents)
    assert result.summary["failed"] == 1
    assert result.summary["figures"]["reason"] == {"agreement": 0.5}


def test_a_model_is_asked_to_think_and_small_changes_of_rules_ask_nothing(tmp_path: Path) -> None:
    asked = Reason(model="m", samples=5, verify="number").make(
        row_of("prompt", {"prompt": (Message("system", "s"), Message("user", "What is it?"))})
    )
    messages = next(asked)[0].messages
    assert messages[0] == Message("system", "s")
    assert messages[1].content.startswith("What is it?\n\nThink step by step.")
    bare = Reason(model="m", prompt=None).make(
        row_of("prompt", {"prompt": (Message("user", "What is it?"),)})
    )
    assert next(bare)[0].messages == (Message("user", "What is it?"),)
    sent = []
    for agreement, kept in ((None, 1), (0.5, 1), (0.6, 0)):
        step = Reason(model="m", samples=5, verify="number", agreement=agreement)
        result = run([step], ROWS, tmp_path, model(tmp_path, FIVE), f"run-{agreement}")
        sent.append(result.summary["requests"]["sent"])
        assert result.summary["kept"] == kept
    assert sent == [5, 0, 0]
    assert result.summary["steps"][0]["reasons"] == {"agreement below 0.6": 1}


def test_a_winner_that_is_not_gold_is_dropped(tmp_path: Path) -> None:
    replies = ["#### 8", "#### 8", "#### 7"]
    step = Reason(model="m", samples=3, verify="number")
    result = run([step], ROWS, tmp_path, model(tmp_path, replies))
    assert result.summary["steps"][0]["reasons"] == {"not the gold answer": 1}
    assert result.summary["figures"]["reason"] == {"agreement": pytest.approx(2 / 3), "right": 0}
    free = Reason(model="m", samples=3, verify="number", gold="none")
    assert run([free], ROWS, tmp_path, model(tmp_path, replies), "free").summary["kept"] == 1


@pytest.mark.parametrize(
    ("thoughts", "turn"),
    [
        ("apart", {"content": "#### 7", "reasoning_content": "Six? No."}),
        ("inline", {"content": "<think>\nSix? No.\n</think>\n\n#### 7"}),
        ("none", {"content": "#### 7"}),
    ],
)
def test_thoughts_go_where_they_are_wanted(
    thoughts: Any, turn: dict[str, str], tmp_path: Path
) -> None:
    step = Reason(model="m", prompt="reason_apart", verify="number", thoughts=thoughts)
    replies = ["<think>\nSix? No.\n</think>\n\n#### 7"]
    [row] = run([step], ROWS, tmp_path, model(tmp_path, replies)).kept.to_list()
    assert row["messages"][-1] == {"role": "assistant", **turn}


def test_all_answers_stay_as_candidates_with_the_share_of_their_group(tmp_path: Path) -> None:
    step = Reason(model="m", samples=5, verify="number", to="ranked")
    [row] = run([step], ROWS, tmp_path, model(tmp_path, FIVE)).kept
    found = [(c.messages[0].content, c.score) for c in row.candidates]
    assert found == [(FIVE[0], 0.25), (FIVE[1], 0.5), (FIVE[3], 0.5), (FIVE[4], 0.25)]


def test_one_answer_without_a_verifier_is_taken_as_it_is(tmp_path: Path) -> None:
    [row] = run([Reason(model="m")], ROWS, tmp_path, model(tmp_path, FIVE)).kept
    assert row.response == FIVE[0]


# Equal by value in several forms, a wrong one, and one that holds no expression.
HALVES = [
    r"So we get \boxed{\frac{1}{2}}",
    "We add, and go on to add.\nThe answer is 0.5.",
    "#### 3",
    "Three halves less one: so what is left of it makes 1/2",
    "I do not know",
]
WORKED = "Three halves.\nLess 1, so $\\frac{3}{2}-1=\\frac12$.\n#### 1/2"
THOUGHT = "<think>\nIs it \\boxed{3}? No.\n</think>\n\nThe answer is 0.5."


@pytest.mark.parametrize(
    ("gold", "right"), [(0.5, 1), ("1/2", 1), (WORKED, 1), (["7", r"\frac12"], 1), (3, 0)]
)
def test_mathematical_answers_vote_by_value_and_meet_their_gold(
    gold: Any, right: int, tmp_path: Path
) -> None:
    step = Reason(model="m", samples=5, verify="math")
    rows = [{"prompt": "What is it?", "ground_truth": gold}]
    result = run([step], rows, tmp_path, model(tmp_path, HALVES))
    assert result.summary["figures"]["reason"] == {"agreement": 0.75, "right": right}
    assert [row.response for row in result.kept] == HALVES[:1] * right
    dropped = {} if right else {"not the gold answer": 1}
    assert result.summary["steps"][0]["reasons"] == dropped
    errors = [row["error"] for row in result.failed.to_list()]
    assert len(errors) == right
    assert all("the reply holds no mathematical answer" in error for error in errors)


@pytest.mark.parametrize("own", ["0.5", WORKED, THOUGHT])
def test_the_own_answer_of_a_conversation_is_gold_without_its_thoughts(
    own: str, tmp_path: Path
) -> None:
    turns = [
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": own},
    ]
    step = Reason(model="m", samples=4, verify="math")
    result = run([step], [{"messages": turns}], tmp_path, model(tmp_path, HALVES[:4]))
    assert result.summary["figures"]["reason"] == {"agreement": 0.75, "right": 1}
    [row] = result.kept
    assert row.response == HALVES[0]


def test_a_row_none_of_whose_answers_can_be_read_fails(tmp_path: Path) -> None:
    step = Reason(model="m", samples=2, verify="number", gold="none")
    for replies, said in ((["none", "no"], "no number answer"), (["<think>", "<think>"], "end")):
        path = tmp_path / said.split()[0]
        path.mkdir()
        result = run([step], ROWS, path, model(path, replies))
        assert (result.summary["kept"], result.summary["failed"]) == (0, 1)
        assert said in result.failed.to_list()[0]["error"]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.randoms(use_true_random=False))
def test_the_vote_is_that_of_a_count(numbers: list[int], dice: Any) -> None:
    """An oracle of three lines; and the order of replies changes the winner only among equals."""
    row = row_of("prompt", {"prompt": (Message("user", "?"),)})

    def winner(order: list[int]) -> Any:
        step = Reason(model="m", samples=len(order), verify="number", gold="none")
        asking = step.make(row)
        next(asking)
        with pytest.raises(StopIteration) as end:
            asking.send([Reply(text=f"It is {n}.") for n in order])
        [made] = [one for one in end.value.value if isinstance(one, Made)]
        return made.record.fields["messages"][-1].content, made.score

    most = max(numbers.count(n) for n in numbers)
    first = next(n for n in numbers if numbers.count(n) == most)
    assert winner(numbers) == (f"It is {first}.", most / len(numbers))
    shuffled = numbers[:]
    dice.shuffle(shuffled)
    assert winner(shuffled)[1] == most / len(numbers)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"samples": 3}, "several samples need verify"),
        ({"samples": 3, "verify": "json"}, "cannot agree"),
        ({"agreement": 0.5}, "agreement is of several"),
        ({"verify": "number", "agreement": 1.5}, "a share is above 0"),
        ({"prompt": "grounded"}, "takes"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, RecipeError), match=message):
        step = Reason(model="m", **fields)
        Pipeline([step], models={"m": "local"})
        step.prepare()


def test_a_prompt_that_is_more_than_text_cannot_be_put_into_a_prompt_file() -> None:
    parts = json.dumps({"content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]})
    row = row_of("prompt", {"prompt": (Message("user", "", parts),)})
    with pytest.raises(ValueError, match="prompt: null"):
        next(Reason(model="m").make(row))
    assert not isinstance(row, Drop)
